//! Postgres goes and comes back.

use std::time::Duration;

use serde_json::json;

use crate::coherence::fleet::{by_phone, full, insert_tenants, put_token, resolves};
use crate::harness::{Postgres, Redis, Replica, eventually};

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn without_postgres_cached_answers_go_on_and_writes_are_refused() {
    let server = Postgres::own_cluster().await;
    let (database, redis) = (server.database().await, Redis::start().await);
    insert_tenants(&database, 2).await;
    let replica = Replica::builder().database(&database).redis(&redis).start().await;
    resolves(&replica, &by_phone(1), Some("t1")).await;

    server.stop().await;
    let cached = replica.get(&by_phone(1)).await.expecting(200);
    assert_eq!(cached.cache_status(), "tenant-service; hit; detail=l1");
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "a-made-up-token"}});
    for answer in [
        replica.get(&by_phone(2)).await,
        replica.get(&full(2)).await,
        replica.put_json("/api/tenants/t1/credentials", &body).await,
    ] {
        let answer = answer.expecting(503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["code"], "unavailable");
        let id = answer.header("x-request-id").unwrap();
        let line = replica.wait_for_log(|line| line["request_id"] == id).await;
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains("the database is out of reach: "), "{cause}");
    }
    assert_eq!(replica.get("/health").await.expecting(503).json()["database"], "disconnected");
    replica.get("/livez").await.expecting(200);

    server.start().await;
    eventually(DEADLINE, "writes are taken again", async || {
        replica.put_json("/api/tenants/t1/credentials", &body).await.status == 200
    })
    .await;
    resolves(&replica, &by_phone(2), Some("t2")).await;
    // Changes are followed again, those of others too.
    let other = Replica::builder().database(&database).redis(&redis).start().await;
    put_token(&other, 1, "from-the-other-replica").await;
    eventually(DEADLINE, "the other replica's write is seen", async || {
        replica.get_json(&full(1)).await["access_token"] == "from-the-other-replica"
    })
    .await;
}

/// A server that restarts kills every connection; not one request may fail for that once it is back.
#[tokio::test]
async fn a_restart_of_postgres_leaves_no_dead_connections() {
    let server = Postgres::own_cluster().await;
    let database = server.database().await;
    insert_tenants(&database, 40).await;
    let replica = Replica::builder().database(&database).start().await;
    let reads = (1..=20).map(|n| replica.get(&by_phone(n)).into_future());
    for answer in futures_util::future::join_all(reads).await {
        answer.expecting(200);
    }
    server.crash().await;
    server.start().await;
    let reads = (21..=40).map(|n| replica.get(&by_phone(n)).into_future());
    for answer in futures_util::future::join_all(reads).await {
        answer.expecting(200);
    }
}
