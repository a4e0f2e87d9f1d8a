//! Three replicas, each behind a network of its own, and servers that can be broken.

use std::time::Duration;

use ::redis::Cmd;
use serde_json::json;
use tokio::time::timeout;

use super::database::Database;
use super::eventually::eventually;
use super::metrics::Metrics;
use super::ports::free_port;
use super::postgres::{Postgres, Server};
use super::proxy::Proxy;
use super::redis::Redis;
use super::replica::{Builder, Replica};

/// Whatever is broken is felt, and whatever is whole is found so, in a fraction of this.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// The bound of the replicas here.
pub const BOUND: Duration = Duration::from_secs(1);
/// So long a look at a replica may take.
const LOOK: Duration = Duration::from_secs(3);

/// A replica and its links.
pub struct Node {
    pub replica: Replica,
    pub redis: Proxy,
    pub postgres: Proxy,
    builder: Builder,
}

/// See the module.
pub struct Bed {
    /// Before the servers: they go first.
    pub nodes: Vec<Node>,
    pub database: Database,
    pub postgres: Server,
    /// Where the replicas are led to.
    pub redis: Redis,
    /// A replica of that one, asynchronous as all replicas of Redis.
    pub standby: Redis,
    /// Between the two.
    pub replication: Proxy,
}

impl Bed {
    pub async fn start() -> Self {
        let postgres = Postgres::own_cluster().await;
        let database = postgres.database().await;
        // Otherwise a server waits five seconds for further replicas before it copies itself.
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let (redis, standby) =
            tokio::join!(Redis::start_with(&at_once), Redis::start_with(&at_once));
        let replication = Proxy::before(&redis.url()).await;
        follow(&standby, &replication).await;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Node::spawn(&redis, &database).await);
        }
        for node in &nodes {
            node.replica.ready().await;
        }
        let bed = Self { nodes, database, postgres, redis, standby, replication };
        let probe = json!({"id": "probe", "name": "Probe"});
        bed.nodes[0].replica.post_json("/api/tenants", &probe).await.expecting(201);
        bed.is_whole().await;
        bed
    }

    pub fn addresses(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.replica.address()).collect()
    }

    /// Waits until everything is as without a fault: every source of changes is connected, a write
    /// is acknowledged, all replicas answer it from memory, and Redis holds it. Returns the epoch
    /// of what is held there.
    pub async fn is_whole(&self) -> String {
        let what = "every source of changes is connected";
        eventually(DEADLINE, what, async || self.are_all_fed().await).await;
        eventually(DEADLINE, "a write is seen everywhere", async || self.probe().await).await
    }

    async fn are_all_fed(&self) -> Result<(), String> {
        for node in &self.nodes {
            for source in ["redis", "notify", "poll"] {
                if node.is_fed_by(source).await != Some(true) {
                    return Err(format!("{:?} without {source}", node.replica));
                }
            }
        }
        Ok(())
    }

    async fn probe(&self) -> Result<String, String> {
        const PATH: &str = "/api/tenants/probe";
        let name = format!("Probe {}", fastrand::u64(..));
        let write = self.nodes[0].replica.patch_json(PATH, &json!({"name": name}));
        let written = write.timeout(LOOK).attempt().await.map_err(|error| error.to_string())?;
        let tag = written.header("etag").ok_or("the write fails")?;
        for node in &self.nodes {
            for is_last in [false, true] {
                let read = node.replica.get(PATH).timeout(LOOK).attempt().await;
                let answer = read.map_err(|error| error.to_string())?;
                let is_cached = answer.cache_status().ends_with("detail=l1");
                if answer.header("etag") != Some(tag) || (is_last && !is_cached) {
                    return Err(format!("{:?}: {answer:?}", node.replica));
                }
            }
        }
        self.epoch_of(tag.trim_matches('"')).await.ok_or_else(|| "Redis does not hold it".into())
    }

    /// The epoch of the probe's entry in Redis, if it is this revision.
    async fn epoch_of(&self, revision: &str) -> Option<String> {
        let get = ::redis::cmd("GET").arg("tenant:probe").to_owned();
        let entry: Option<String> = ask(&self.redis, &get).await;
        let entry = entry.filter(|text| text.contains(&format!("\"_revision\":{revision},")))?;
        let (_, rest) = entry.split_once(r#""_epoch":""#)?;
        rest.split_once('"').map(|(epoch, _)| epoch.to_owned())
    }

    /// How often a replica has dropped everything that it had in memory.
    pub fn drops(&self) -> usize {
        const DROPPED: &str = "everything was dropped from memory";
        let lines = self.nodes.iter().flat_map(|node| node.replica.logs());
        lines.filter(|line| line["message"] == DROPPED).count()
    }
}

impl Node {
    async fn spawn(redis: &Redis, database: &Database) -> Self {
        let redis = Proxy::before(&redis.url()).await;
        let postgres = Proxy::before(&database.url).await;
        let builder = Replica::builder()
            .env("DATABASE_URL", postgres.url())
            .env("REDIS_URL", redis.url())
            // One that starts again is found where it was.
            .env("PORT", &free_port().to_string())
            .env("RUST_LOG", "info")
            .env("STALENESS_BOUND_MS", &BOUND.as_millis().to_string())
            .env("POLL_INTERVAL_MS", "100");
        Self { replica: builder.spawn(), redis, postgres, builder }
    }

    /// Kills the replica and starts another one in its place; back once it listens.
    pub async fn restart(&mut self) {
        self.replica.kill();
        self.replica = self.builder.spawn();
        self.replica.listening().await;
    }

    /// Whether the replica says that this source of changes is connected; nothing if it does not
    /// answer.
    pub async fn is_fed_by(&self, source: &str) -> Option<bool> {
        let metrics = self.replica.get("/metrics").timeout(LOOK).attempt().await.ok()?;
        let metrics = Metrics::parse(&metrics.text());
        Some(metrics.value("tenant_feed_connected", &[("source", source)]) > 0.5)
    }
}

/// Has this server copy the one behind the proxy, now and from now on.
pub async fn follow(standby: &Redis, replication: &Proxy) {
    let port = replication.url().rsplit(':').next().unwrap_or_default().trim_end_matches('/');
    let command = ::redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).to_owned();
    let _: ::redis::Value = ask(standby, &command).await;
    eventually(DEADLINE, "the standby follows", async || {
        let info: String = ask(standby, ::redis::cmd("INFO").arg("replication")).await;
        info.contains("master_link_status:up")
    })
    .await;
}

/// A command on a connection of its own.
pub async fn ask<T: ::redis::FromRedisValue>(redis: &Redis, command: &Cmd) -> T {
    let mut connection = redis.connection().await;
    let asked = timeout(DEADLINE, command.query_async(&mut connection)).await;
    let asked = asked.unwrap_or_else(|late| panic!("{}: {late}", redis.url()));
    asked.unwrap_or_else(|error| panic!("{}: {error}", redis.url()))
}
