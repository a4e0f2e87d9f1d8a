//! A lease under which nothing is stored is given back: other replicas wait for whoever holds it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tenant_service::cache::{ByPhone, Document, L1, LoadError, Tiered, Ttl, clock};
use tenant_service::coherence::Deadline;
use tokio_util::task::TaskTracker;

use super::fleet::{DEADLINE, by_phone, connected, insert_tenants, phone};
use super::gate::Gate;
use super::tier::{tier, trusts};
use crate::harness::{Postgres, Redis, Replica, eventually};

const HOUR: Duration = Duration::from_hours(1);

async fn cache(redis: &Redis) -> Arc<Tiered> {
    let l2 = tier(redis, "database");
    trusts(&l2, "database").await;
    let ttl = Ttl { present: HOUR, absent: HOUR };
    let cache = Tiered::new(L1::new(1 << 20), Some(l2), ttl, Duration::ZERO, TaskTracker::new());
    cache.serving().set_deadline(Deadline::at(clock::now().plus(HOUR)));
    Arc::new(cache)
}

/// Loads a phone; afterwards nothing may stand under its key.
async fn leaves_nothing<L>(load: impl Fn() -> L) -> Result<(), LoadError>
where
    L: Future<Output = Result<Option<Document>, LoadError>> + Send + 'static,
{
    let redis = Redis::start().await;
    let cache = cache(&redis).await;
    let answer = cache.get(ByPhone("1".parse().unwrap()), load).await;
    let mut connection = redis.connection().await;
    // Far sooner than a lease ends by itself.
    eventually(Duration::from_secs(1), "the lease is given back", async || {
        let exists = ::redis::cmd("EXISTS").arg("phone:1").to_owned();
        let there: bool = exists.query_async(&mut connection).await.unwrap();
        !there
    })
    .await;
    assert!(redis.command_count("set").await >= 1, "a lease was taken");
    answer.map(|_| ())
}

#[tokio::test]
async fn of_a_load_that_fails() {
    let away = LoadError::Unavailable("away".into());
    assert_eq!(leaves_nothing(|| std::future::ready(Err(away.clone()))).await, Err(away));
}

#[tokio::test]
async fn of_a_load_that_panics() {
    let failed = leaves_nothing(|| async { panic!("a defect") }).await;
    assert!(matches!(failed, Err(LoadError::Failed(_))), "{failed:?}");
}

#[tokio::test]
async fn of_a_document_that_redis_can_not_hold() {
    let document = Document::new(b"no object".to_vec(), 1);
    assert_eq!(leaves_nothing(|| std::future::ready(Ok(Some(document.clone())))).await, Ok(()));
}

/// The lease of a load whose client has gone, on a replica that ends.
#[tokio::test]
async fn at_the_end_of_the_process() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let gate = Gate::before(&database.url).await;
    let builder = Replica::builder().database(&database).redis(&redis);
    let replica = builder.env("DATABASE_URL", gate.url()).start().await;
    connected(&replica, "redis", true).await;
    gate.hold_next(&phone(1));
    let request = tokio::spawn(replica.get(&by_phone(1)).attempt());
    gate.held().await;
    let under_the_key = async |redis: &Redis| -> Option<String> {
        let get = ::redis::cmd("GET").arg(format!("phone:{}", phone(1))).to_owned();
        get.query_async(&mut redis.connection().await).await.unwrap()
    };
    assert!(under_the_key(&redis).await.unwrap().starts_with("{\"_lease\""));
    request.abort();
    // Without a notice, which would outlast the lease.
    assert!(replica.process.signal("INT"));
    // No request and no write is in flight any more, only the load.
    eventually(DEADLINE, "the replica listens no more", async || {
        replica.get("/livez").attempt().await.is_err()
    })
    .await;
    gate.release();
    eventually(DEADLINE, "the replica ends", async || replica.process.exit_status().is_some())
        .await;
    assert!(under_the_key(&redis).await.unwrap().contains("\"id\":\"t1\""));
}
