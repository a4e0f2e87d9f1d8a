//! The stale-refill race, forced: a load reads the old value, a write evicts it, and only then does
//! the load end. Each guard against it has a test that fails without it.

use serde_json::json;

use super::fleet::{DEADLINE, by_phone, connected, insert_tenants, phone, sees};
use super::gate::Gate;
use crate::harness::{Answer, Database, Metrics, Postgres, Redis, Replica, eventually};

/// A reader behind a gate, a writer and a bystander, with one tenant and nothing cached.
struct Race {
    gate: Gate,
    reader: Replica,
    writer: Replica,
    bystander: Replica,
    /// The source by which the reader learns of the write.
    source: &'static str,
    _database: Database,
    _redis: Option<Redis>,
}

impl Race {
    async fn start(redis: Option<Redis>) -> Self {
        let database = Postgres::database().await;
        insert_tenants(&database, 1).await;
        let gate = Gate::before(&database).await;
        let mut builder = Replica::builder().database(&database);
        if let Some(redis) = &redis {
            builder = builder.redis(redis);
        }
        let reader = builder.clone().env("DATABASE_URL", gate.url()).start().await;
        let [writer, bystander]: [Replica; 2] =
            builder.start_many(2).await.try_into().expect("two were asked for");
        let source = if redis.is_some() { "redis" } else { "notify" };
        connected(&reader, source, true).await;
        connected(&writer, source, true).await;
        Self { gate, reader, writer, bystander, source, _database: database, _redis: redis }
    }

    /// Begins a load on the reader that reads the old name, and has the writer change it. Returns
    /// the request that waits for that load, once the reader has evicted the key.
    async fn overtake(&self) -> tokio::task::JoinHandle<Answer> {
        self.gate.hold_next(&phone(1));
        let request = tokio::spawn(self.reader.get(&by_phone(1)).into_future());
        self.gate.held().await;
        let applied = |metrics: &Metrics| {
            let name = "tenant_change_propagation_seconds_count";
            metrics.value(name, &[("source", self.source)])
        };
        let before = applied(&self.reader.metrics().await);
        let patch = json!({"name": "New"});
        self.writer.patch_json("/api/tenants/t1", &patch).await.expecting(200);
        eventually(DEADLINE, "the reader applies the change", async || {
            applied(&self.reader.metrics().await) > before
        })
        .await;
        request
    }
}

async fn name_at(replica: &Replica) -> (String, String) {
    let answer = replica.get(&by_phone(1)).await.expecting(200);
    (answer.json()["name"].as_str().unwrap().to_owned(), answer.cache_status().to_owned())
}

async fn refused(replica: &Replica, tier: &str) -> f64 {
    let labels = [("tier", tier), ("outcome", "refused")];
    replica.metrics().await.value("tenant_cache_fills_total", &labels)
}

/// Guard: L1 stores only if the epoch that the load noted is still current.
#[tokio::test]
async fn an_overtaken_load_is_not_stored_in_l1() {
    let race = Race::start(None).await;
    let request = race.overtake().await;
    race.gate.release();
    // It was asked before the write, and may answer the old name.
    assert_eq!(request.await.unwrap().expecting(200).json()["name"], "Tenant 1");
    assert!((refused(&race.reader, "l1").await - 1.0).abs() < 0.5);
    assert_eq!(name_at(&race.reader).await, ("New".into(), "tenant-service; fwd=miss".into()));
    assert_eq!(name_at(&race.reader).await.1, "tenant-service; hit; detail=l1");
}

/// Guard: a request that comes after the eviction begins a load of its own.
#[tokio::test]
async fn an_overtaken_load_is_not_joined() {
    let race = Race::start(None).await;
    let request = race.overtake().await;
    // The old load is still held; whoever joined it would wait, and then get the old name.
    assert_eq!(name_at(&race.reader).await, ("New".into(), "tenant-service; fwd=miss".into()));
    assert!(!request.is_finished());
    race.gate.release();
    request.await.unwrap().expecting(200);
    assert_eq!(
        name_at(&race.reader).await,
        ("New".into(), "tenant-service; hit; detail=l1".into())
    );
}

/// Guard: L2 stores only if the very lease is still there.
#[tokio::test]
async fn an_overtaken_load_is_not_stored_in_l2() {
    let race = Race::start(Some(Redis::start().await)).await;
    let request = race.overtake().await;
    race.gate.release();
    request.await.unwrap().expecting(200);
    eventually(DEADLINE, "the fill of L2 is refused", async || {
        (refused(&race.reader, "l2").await - 1.0).abs() < 0.5
    })
    .await;
    // One that has nothing in memory asks L2.
    assert_eq!(name_at(&race.bystander).await, ("New".into(), "tenant-service; fwd=miss".into()));
    sees(&race.reader, &by_phone(1), "a hit of L2", |answer| {
        assert_eq!(answer.json()["name"], "New");
        answer.cache_status().contains("detail").then_some(())
    })
    .await;
}

/// Guard: a lease that was taken anew does not admit what the revoked one has read.
#[tokio::test]
async fn an_overtaken_load_does_not_use_the_lease_of_another() {
    let race = Race::start(Some(Redis::start().await)).await;
    let request = race.overtake().await;
    // The bystander takes the key's next lease, and fills it.
    assert_eq!(name_at(&race.bystander).await, ("New".into(), "tenant-service; fwd=miss".into()));
    race.gate.release();
    request.await.unwrap().expecting(200);
    eventually(DEADLINE, "the fill of L2 is refused", async || {
        (refused(&race.reader, "l2").await - 1.0).abs() < 0.5
    })
    .await;
    let from_l2 = name_at(&race.writer).await;
    assert_eq!(from_l2, ("New".into(), "tenant-service; hit; detail=l2".into()));
}
