//! Replicas as in production.

use std::time::Duration;

use crate::harness::replica::Builder;
use crate::harness::{Database, Redis, Replica, eventually};

const DEADLINE: Duration = Duration::from_secs(20);

/// A builder with production's intervals and log; the tests' are others.
pub fn builder(database: &Database, redis: Option<&Redis>) -> Builder {
    let builder = Replica::builder()
        .database(database)
        .env("RUST_LOG", "info")
        .without_env("STALENESS_BOUND_MS")
        .without_env("POLL_INTERVAL_MS");
    match redis {
        Some(redis) => builder.redis(redis),
        None => builder,
    }
}

/// So many replicas, each connected to every source of changes.
pub async fn start(count: usize, database: &Database, redis: Option<&Redis>) -> Vec<Replica> {
    let replicas = builder(database, redis).start_many(count).await;
    let sources = if redis.is_some() { &["redis", "notify"][..] } else { &["notify"] };
    for replica in &replicas {
        eventually(DEADLINE, "every source of changes is connected", async || {
            let connected = replica.metrics().await.by_label("tenant_feed_connected", "source");
            sources.iter().all(|source| connected.get(*source).is_some_and(|&on| on > 0.5))
        })
        .await;
    }
    replicas
}
