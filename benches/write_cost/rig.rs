//! Two replicas with a Redis that holds so many phones.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::common::replicas;
use crate::common::run::progress;
use crate::common::tenants::{by_phone, insert, phone, reads};
use crate::common::wire::Connection;
use crate::harness::{Database, Postgres, Redis, Replica, eventually};
use crate::server_stats::Stats;

const DEADLINE: Duration = Duration::from_secs(20);
/// Until what follows a write has come to its end on both replicas.
const QUIET: Duration = Duration::from_millis(8);
/// Entries that are sent together.
const BATCH: u64 = 5_000;
/// The life of the entries: longer than the benchmark.
const LIFE_MS: u64 = 3_600_000;

/// See the module.
pub struct Rig {
    /// Phones in Redis beside those of the tenants that are written to.
    pub size: u64,
    /// To the replica that is written to.
    pub writer: Connection,
    other: Connection,
    redis_connection: MultiplexedConnection,
    ticks: Interval,
    _replicas: Vec<Replica>,
    redis: Redis,
    _database: Database,
}

impl Rig {
    pub async fn start(size: u64, tenants: u32) -> Self {
        let database = Postgres::database().await;
        insert(&database, tenants).await;
        let redis = Redis::start().await;
        let replicas = replicas::start(2, &database, Some(&redis)).await;
        let mut ticks = interval(QUIET);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rig = Self {
            size,
            writer: Connection::open(replicas[0].address()).await,
            other: Connection::open(replicas[1].address()).await,
            redis_connection: redis.connection().await,
            ticks,
            _replicas: replicas,
            redis,
            _database: database,
        };
        rig.fill().await;
        rig
    }

    /// Copies an entry that the service itself has made, for phones that no tenant has: one that is
    /// answered can have come from nowhere else.
    async fn fill(&mut self) {
        let entry = self.entry_of_tenant_zero().await;
        let before = self.redis_keys().await;
        let mut next = 0;
        while next < self.size {
            let mut pipeline = redis::pipe();
            for n in next..self.size.min(next + BATCH) {
                let text = entry.replace(&phone(0), &filled_phone(n));
                let key = format!("phone:{}", filled_phone(n));
                pipeline.cmd("SET").arg(key).arg(text).arg("PX").arg(LIFE_MS).ignore();
            }
            let filled: redis::RedisResult<()> =
                pipeline.query_async(&mut self.redis_connection).await;
            filled.expect("Redis takes entries");
            next += BATCH;
            if next.is_multiple_of(250_000) {
                progress(format!("  {next} of {} phones", self.size));
            }
        }
        assert_eq!(self.redis_keys().await, before + self.size, "DBSIZE");
        for n in [0, self.size / 2, self.size - 1] {
            let answer = self.other.ask(&by_phone(&filled_phone(n))).await.expecting(200);
            assert_eq!(answer.cache(), "l2", "an entry as the service makes it");
        }
    }

    async fn entry_of_tenant_zero(&mut self) -> String {
        self.writer.ask(&by_phone(&phone(0))).await.expecting(200);
        let redis = &self.redis_connection;
        eventually(DEADLINE, "the answer is stored in Redis", async || {
            let mut connection = redis.clone();
            let key = format!("phone:{}", phone(0));
            let text: Option<String> = redis::cmd("GET")
                .arg(key)
                .query_async(&mut connection)
                .await
                .expect("Redis answers");
            // First its lease stands there.
            text.filter(|text| !text.contains("_lease"))
        })
        .await
    }

    /// Has everything cached, on both replicas, that a write of this tenant's credentials evicts.
    pub async fn warm(&mut self, tenant: u32) {
        for request in reads(tenant) {
            self.writer.ask(&request).await.expecting(200);
            self.other.ask(&request).await.expecting(200);
        }
        self.quiet().await;
    }

    /// Lets what is under way come to its end.
    pub async fn quiet(&mut self) {
        self.ticks.reset();
        self.ticks.tick().await;
    }

    /// What Redis has done for writes so far.
    pub async fn stats(&mut self) -> Stats {
        Stats::of_writes(&mut self.redis_connection).await
    }

    /// DBSIZE.
    pub async fn redis_keys(&mut self) -> u64 {
        let size = redis::cmd("DBSIZE").query_async(&mut self.redis_connection).await;
        size.expect("Redis answers")
    }

    /// For how long `KEYS phone:*` keeps Redis from everything else. The service, until now, has
    /// not given this command or one like it.
    pub async fn what_keys_would_take(&mut self) -> Duration {
        for command in ["keys", "scan", "flushdb", "flushall"] {
            assert_eq!(self.redis.command_count(command).await, 0, "{command}");
        }
        let keys = redis::cmd("KEYS").arg("phone:*").query_async(&mut self.redis_connection).await;
        let keys: Vec<String> = keys.expect("Redis answers");
        assert!(keys.len() as u64 >= self.size, "{} keys", keys.len());
        Stats::of(&mut self.redis_connection, "keys").await.busy
    }
}

/// Beyond those of the tenants.
fn filled_phone(n: u64) -> String {
    (20_000_000 + n).to_string()
}
