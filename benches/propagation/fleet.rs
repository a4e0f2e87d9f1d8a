//! Three replicas as in production, each with a connection to it.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::records::{Committed, Evicted, Records};
use crate::common::wire::{self, Connection};
use crate::common::{replicas, tenants};
use crate::harness::postgres::Server;
use crate::harness::{Database, Metrics, Postgres, Redis, Replica, Watch};

/// Long beside any propagation that is not by poll.
const QUIET: Duration = Duration::from_millis(10);
const DEADLINE: Duration = Duration::from_secs(20);

/// A cluster that notes the time of each commit.
pub async fn cluster() -> Server {
    let cluster = Postgres::own_cluster().await;
    let database = cluster.empty_database().await;
    database.execute_as_admin("ALTER SYSTEM SET track_commit_timestamp = on").await;
    cluster.stop().await;
    cluster.start().await;
    cluster
}

/// Three replicas. The first one is written to.
pub struct Fleet {
    pub connections: Vec<Connection>,
    ticks: Interval,
    _replicas: Vec<Replica>,
    database: Database,
    _redis: Option<Redis>,
}

impl Fleet {
    pub async fn start(cluster: &Server, with_redis: bool, tenants: u32) -> Self {
        let database = cluster.database().await;
        tenants::insert(&database, tenants).await;
        let redis = if with_redis { Some(Redis::start().await) } else { None };
        let replicas = replicas::start(3, &database, redis.as_ref()).await;
        let mut connections = Vec::new();
        for replica in &replicas {
            connections.push(Connection::open(replica.address()).await);
        }
        let mut ticks = interval(QUIET);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { connections, ticks, _replicas: replicas, database, _redis: redis }
    }

    /// Has everything cached, on all replicas, that a write of this tenant's credentials evicts.
    pub async fn warm(&mut self, tenant: u32) {
        for request in tenants::reads(tenant) {
            for connection in &mut self.connections {
                connection.ask(&request).await.expecting(200);
            }
        }
    }

    /// Lets what is under way come to its end.
    pub async fn quiet(&mut self) {
        self.ticks.reset();
        self.ticks.tick().await;
    }

    async fn metrics(&mut self) -> Vec<Metrics> {
        let mut all = Vec::new();
        for connection in &mut self.connections {
            let answer = connection.ask(&wire::get("/metrics", &[])).await.expecting(200);
            all.push(Metrics::parse(&String::from_utf8_lossy(&answer.body)));
        }
        all
    }

    /// What each replica has noted so far.
    pub async fn records(&mut self) -> Vec<Records> {
        self.metrics().await.iter().map(Records::of).collect()
    }

    /// Waits in silence, then asks each replica about the eviction of one more change.
    pub async fn evicted_since(&mut self, before: &[Records]) -> (Vec<Records>, Vec<Evicted>) {
        let mut watch = Watch::new(DEADLINE, "every replica has evicted");
        loop {
            self.quiet().await;
            let after = self.records().await;
            let evicted = after.iter().zip(before).map(|(after, before)| after.first_since(before));
            let evicted: Option<Vec<Evicted>> = evicted.collect();
            if let Some(evicted) = watch.look(async { evicted }).await {
                return (after, evicted);
            }
        }
    }

    /// The last change there is.
    pub async fn log_end(&self) -> i64 {
        self.database.scalar("SELECT coalesce(max(seq), 0) FROM tenant_changes").await
    }

    /// The changes since, in their order.
    pub async fn committed_since(&self, start: i64) -> Vec<Committed> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT (extract(epoch FROM occurred_at) * 1000000)::bigint,
                    (extract(epoch FROM pg_xact_commit_timestamp(xid::xid)) * 1000000)::bigint
             FROM tenant_changes WHERE seq > $1 ORDER BY seq",
        )
        .bind(start)
        .fetch_all(self.database.pool().await)
        .await
        .expect("the log can be read");
        rows.into_iter().map(|(written, committed)| Committed::new(written, committed)).collect()
    }
}
