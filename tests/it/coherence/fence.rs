//! A replica whose proof is too old serves nothing from its cache as current.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fleet::{DEADLINE, by_phone, full, insert_tenants, put_token, resolves};
use crate::harness::{Answer, Postgres, Redis, Replica, eventually};

const BOUND: Duration = Duration::from_secs(1);

fn builder() -> crate::harness::replica::Builder {
    Replica::builder().env("STALENESS_BOUND_MS", "1000").env("POLL_INTERVAL_MS", "100")
}

fn is_stale(answer: &Answer) -> bool {
    answer.cache_status() == "tenant-service; hit; detail=stale"
}

/// It stood still through a write and longer than its deadline; what it is asked first when it goes
/// on comes from the database.
#[tokio::test]
async fn a_frozen_replica_answers_with_nothing_from_before() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let replicas = builder().database(&database).redis(&redis).start_many(2).await;
    let (writer, frozen) = (&replicas[0], &replicas[1]);
    resolves(frozen, &by_phone(1), Some("t1")).await;
    frozen.get(&full(1)).await.expecting(200);

    frozen.freeze().await;
    let since = Instant::now();
    put_token(writer, 1, "written-while-it-stood-still").await;
    eventually(DEADLINE, "its deadline has passed", async || since.elapsed() > BOUND).await;
    // Sent before it goes on, so that this is what it finds first.
    let asked = frozen.get(&full(1)).into_future();
    let asked = tokio::spawn(asked);
    frozen.thaw();
    let answer = asked.await.unwrap().expecting(200);
    assert_eq!(answer.json()["access_token"], "written-while-it-stood-still");
    assert!(answer.cache_status().contains("fwd="), "{}", answer.cache_status());
    eventually(DEADLINE, "it serves from its cache again", async || {
        frozen.get(&full(1)).await.cache_status() == "tenant-service; hit; detail=l1"
    })
    .await;
    eventually(DEADLINE, "it has counted that", async || {
        frozen.metrics().await.value("tenant_fenced_total", &[]) >= 1.0
    })
    .await;
}

/// Look-ups go on, labelled, for as long as the budget lasts; secrets do not.
#[tokio::test]
async fn without_postgres_look_ups_are_stale_and_secrets_are_refused() {
    let server = Postgres::own_cluster().await;
    let (database, redis) = (server.database().await, Redis::start().await);
    insert_tenants(&database, 2).await;
    let builder = builder().database(&database).redis(&redis);
    let (patient, hasty) = (
        builder.clone().env("STALE_BUDGET_SECONDS", "300").start().await,
        builder.env("STALE_BUDGET_SECONDS", "0").start().await,
    );
    for replica in [&patient, &hasty] {
        resolves(replica, &by_phone(1), Some("t1")).await;
        replica.get(&by_phone(999)).await.expecting(404);
        replica.get(&full(1)).await.expecting(200);
    }

    server.stop().await;
    eventually(DEADLINE, "answers are labelled", async || {
        is_stale(&patient.get(&by_phone(1)).await)
    })
    .await;
    let stale = patient.get(&by_phone(1)).await.expecting(200);
    assert!(is_stale(&stale) && stale.header("age").is_some());
    assert_eq!(stale.json()["id"], "t1");
    // An absence may be old as well, and what is not in memory is not known.
    assert!(is_stale(&patient.get(&by_phone(999)).await.expecting(404)));
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "a-made-up-token"}});
    for answer in [
        patient.get(&by_phone(2)).await,
        patient.get(&full(1)).await,
        patient.put_json("/api/tenants/t1/credentials", &body).await,
        hasty.get(&by_phone(1)).await,
    ] {
        let answer = answer.expecting(503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }

    server.start().await;
    for path in [by_phone(1), full(1)] {
        eventually(DEADLINE, "it serves from its cache again", async || {
            patient.get(&path).await.cache_status() == "tenant-service; hit; detail=l1"
        })
        .await;
    }
}

/// Taken for dead, a replica goes on where it was, for its cursor did not go with its row; one that
/// ends is not taken for anything.
#[tokio::test]
async fn a_replica_has_a_row_for_as_long_as_it_serves() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replica = builder().database(&database).start().await;
    resolves(&replica, &by_phone(1), Some("t1")).await;
    let rows = "SELECT count(*) FROM tenant_replicas";
    assert_eq!(database.scalar::<i64>(rows).await, 1);

    database.execute("DELETE FROM tenant_replicas").await;
    eventually(DEADLINE, "it is back", async || database.scalar::<i64>(rows).await == 1).await;
    eventually(DEADLINE, "it serves from its cache again", async || {
        replica.get(&by_phone(1)).await.cache_status() == "tenant-service; hit; detail=l1"
    })
    .await;

    assert!(replica.logs().iter().all(|line| line["message"] != "starting over"));
    assert_eq!(replica.terminate().await, 0);
    assert_eq!(database.scalar::<i64>(rows).await, 0);
}
