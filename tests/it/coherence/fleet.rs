//! What these tests share: replicas on one database, and what to ask them.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Transaction;

use crate::harness::keyring::insert_tokens;
use crate::harness::{Answer, Cluster, Database, Metrics, Postgres, Redis, Replica, eventually};

/// Long enough for any machine; a test that needs it has failed already.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Three replicas on a database and a Redis server of their own.
pub struct Fleet {
    pub replicas: [Replica; 3],
    pub database: Database,
    pub redis: Redis,
}

impl Fleet {
    pub async fn start() -> Self {
        Self::on(Postgres::database().await).await
    }

    /// On a database with tenants in it: what was written before the start is no change to follow.
    pub async fn on(database: Database) -> Self {
        let redis = Redis::start().await;
        let replicas = Cluster::start(3, &database, Some(&redis)).await;
        let replicas: [Replica; 3] = replicas.try_into().expect("three were asked for");
        for replica in &replicas {
            connected(replica, "redis", true).await;
            connected(replica, "notify", true).await;
        }
        Self { replicas, database, redis }
    }
}

/// Waits until a replica says that this source of changes is connected, or is not.
pub async fn connected(replica: &Replica, source: &str, wanted: bool) {
    let wanted = if wanted { 1.0 } else { 0.0 };
    eventually(DEADLINE, "a source of changes connects or disconnects", async || {
        let found = replica.metrics().await.value("tenant_feed_connected", &[("source", source)]);
        if (found - wanted).abs() < f64::EPSILON { Ok(()) } else { Err((source, found)) }
    })
    .await;
}

/// A tenant `t{n}` with phone `1000{n}` and integration `i{n}`.
pub fn tenant(n: usize) -> Value {
    json!({
        "id": format!("t{n}"),
        "name": format!("Tenant {n}"),
        "phone_number_id": phone(n),
        "genesys_integration_id": format!("i{n}"),
    })
}

pub fn phone(n: usize) -> String {
    format!("1000{n}")
}

pub fn by_phone(n: usize) -> String {
    format!("/api/tenants/by-phone/{}", phone(n))
}

pub fn by_integration(n: usize) -> String {
    format!("/api/tenants/by-integration/i{n}")
}

pub fn masked(n: usize) -> String {
    format!("/api/tenants/t{n}/credentials?type=whatsapp")
}

pub fn full(n: usize) -> String {
    format!("/api/tenants/t{n}/credentials/whatsapp")
}

/// Inserts tenants `t1` to `t{count}` as `psql` would, with whatsapp credentials.
pub async fn insert_tenants(database: &Database, count: usize) {
    database
        .execute(&format!(
            "INSERT INTO tenants (id, name, phone_number_id, genesys_integration_id)
             SELECT 't' || n, 'Tenant ' || n, '1000' || n, 'i' || n FROM generate_series(1, {count}) n"
        ))
        .await;
    let tenants = (1..=count).map(|n| format!("t{n}"));
    insert_tokens(database, tenants, "first-made-up-token").await;
}

/// Nobody can take this replica out of the table before the transaction ends. (Others do, once its row has stood
/// still for longer than it may serve. A write that has waited for it until then waits no more, which is a
/// moment before or after the write's own bound.)
pub async fn keeps_its_row(
    database: &Database,
    replica: &Replica,
) -> Transaction<'static, sqlx::Postgres> {
    let mut transaction = database.pool().await.begin().await.expect("a connection of the test's");
    // It keeps nobody from renewing it.
    let row = "SELECT 1 FROM tenant_replicas WHERE instance LIKE $1 || '/%' FOR KEY SHARE";
    let row = sqlx::query(row).bind(&replica.process.name).execute(&mut *transaction).await;
    assert_eq!(row.expect("the table can be read").rows_affected(), 1, "{}", replica.process.name);
    transaction
}

/// Writes whatsapp credentials through this replica.
pub async fn put_token(replica: &Replica, n: usize, token: &str) -> Answer {
    let body = json!({"type": "whatsapp", "credentials": {"access_token": token}});
    replica.put_json(&format!("/api/tenants/t{n}/credentials"), &body).await.expecting(200)
}

/// Waits until `/readyz` has this status and says this of the replica.
pub async fn stands(replica: &Replica, code: u16, status: &str) {
    eventually(DEADLINE, "what a replica says of itself", async || {
        let answer = replica.get("/readyz").await;
        let is_it = answer.status == code && answer.json()["status"] == status;
        if is_it { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

/// Waits until an answer of this replica is as wanted.
pub async fn sees<T>(
    replica: &Replica,
    path: &str,
    what: &str,
    wanted: impl Fn(&Answer) -> Option<T>,
) -> T {
    eventually(DEADLINE, what, async || {
        let answer = replica.get(path).await;
        wanted(&answer).ok_or_else(|| (answer.status, answer.text()))
    })
    .await
}

/// Waits until this replica resolves a path to this tenant, or (`None`) to nobody.
pub async fn resolves(replica: &Replica, path: &str, to: Option<&str>) {
    sees(replica, path, "a lookup is right", |answer| match to {
        Some(id) => (answer.status == 200 && answer.json()["id"] == id).then_some(()),
        None => (answer.status == 404).then_some(()),
    })
    .await;
}

/// Waits until this replica has the answer in memory, and serves it from there.
pub async fn serves_from_memory(replica: &Replica, path: &str) {
    sees(replica, path, "it is served from memory", |answer| {
        (answer.cache_status() == "tenant-service; hit; detail=l1").then_some(())
    })
    .await;
}

/// How many entries of L1 this delivery has removed.
pub fn evicted(metrics: &Metrics, kind: &str, source: &str) -> f64 {
    let labels = [("tier", "l1"), ("kind", kind), ("source", source)];
    metrics.value("tenant_cache_evictions_total", &labels)
}

/// How many reads of the database this statement stands for.
pub fn reads(metrics: &Metrics, query: &str) -> f64 {
    metrics.value("tenant_store_query_seconds_count", &[("query", query)])
}
