//! Many changes at once, while each round trip to Redis takes its time.

use std::time::Duration;

use tokio::task::JoinSet;

use super::fleet::{DEADLINE, by_phone, connected, evicted, insert_tenants, resolves, sees};
use crate::harness::{Database, Postgres, Redis, Replica, eventually};

/// Tells of every renaming in the log, as another replica would that has no Redis.
const NOTIFY: &str = "
    SELECT pg_notify('tenant_changes', json_build_object(
        'changes', json_build_array(json_build_object(
            'seq', seq, 'xid', xid::text::bigint, 'tenant_id', tenant_id, 'kind', kind,
            'version', version, 'keys', keys,
            'occurred_at', to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))),
        'origin', 'another', 'redis', 'elsewhere', 'hears', true, 'after', NULL,
        'database', (SELECT system_identifier FROM pg_control_system())::text || '/' ||
            (SELECT oid FROM pg_database WHERE datname = current_database())::text)::text)
    FROM (SELECT * FROM tenant_changes WHERE kind = 'tenant.updated' ORDER BY seq) AS renamings";

struct Burst {
    warm: &'static [usize],
    replica: Replica,
    database: Database,
    _slow: JoinSet<()>,
    _redis: Redis,
}

impl Burst {
    /// A replica that polls only when it has a reason to, and answers by these phones from memory.
    async fn of(tenants: u16, warm: &'static [usize]) -> Self {
        let redis = Redis::start_with(&["--enable-debug-command", "local"]).await;
        let database = Postgres::database().await;
        let replica = Replica::builder()
            .database(&database)
            .redis(&redis)
            .env("POLL_INTERVAL_MS", "60000")
            .env("STALENESS_BOUND_MS", "600000")
            .start()
            .await;
        connected(&replica, "redis", true).await;
        connected(&replica, "notify", true).await;
        insert_tenants(&database, tenants.into()).await;
        // The replica has seen all that is in the log: what follows on it shows no gap.
        database.execute("NOTIFY tenant_changes, 'poll'").await;
        eventually(DEADLINE, "the tenants' changes are applied", async || {
            let applied = [("source", "poll")];
            let metrics = replica.metrics().await;
            metrics.value("tenant_changes_received_total", &applied) >= 2.0 * f64::from(tenants)
        })
        .await;
        for n in warm {
            resolves(&replica, &by_phone(*n), Some(&format!("t{n}"))).await;
        }
        Self { warm, replica, database, _slow: slow(&redis).await, _redis: redis }
    }

    /// Renames every tenant, and tells of it all at once.
    async fn rename(&self) {
        self.database.execute("UPDATE tenants SET name = 'Renamed'").await;
        self.database.execute_as_admin(NOTIFY).await;
    }

    async fn is_seen_soon(&self) {
        let everywhere = async {
            for n in self.warm {
                sees(&self.replica, &by_phone(*n), "the new name", |answer| {
                    (answer.status == 200 && answer.json()["name"] == "Renamed").then_some(())
                })
                .await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), everywhere)
            .await
            .expect("everything is evicted soon");
    }
}

/// Has every command wait for some 15 ms.
async fn slow(redis: &Redis) -> JoinSet<()> {
    let mut connection = redis.connection().await;
    let mut task = JoinSet::new();
    task.spawn(async move {
        let sleep = ::redis::cmd("DEBUG").arg("SLEEP").arg("0.015").to_owned();
        // Until the server goes.
        while sleep.query_async::<()>(&mut connection).await.is_ok() {}
    });
    task
}

#[tokio::test]
async fn messages_are_applied_together_when_redis_is_slow() {
    let burst = Burst::of(1000, &[1, 500, 1000]).await;
    let before = burst.replica.metrics().await;
    burst.rename().await;
    // One by one they take 30 s: each is revoked, and acknowledged.
    burst.is_seen_soon().await;
    let after = burst.replica.metrics().await;
    let evicted_by = |source| evicted(&after, "phone", source) - evicted(&before, "phone", source);
    // One that was read again in the middle of it counts twice.
    assert!(evicted_by("notify") > 2.5 && evicted_by("poll") < 0.5);
}

#[tokio::test]
async fn more_messages_than_may_wait_are_left_to_the_log() {
    let burst = Burst::of(5000, &[1, 2500, 5000]).await;
    burst.rename().await;
    // Long before a poll is due.
    burst.is_seen_soon().await;
}
