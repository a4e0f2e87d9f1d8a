//! A fenced replica: from what it answers, and what it says of itself.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::fleet::{
    DEADLINE, by_phone, full, insert_tenants, put_token, resolves, serves_from_memory, stands,
};
use crate::harness::proxy::{Bytes, Link, Proxy};
use crate::harness::replica::Builder;
use crate::harness::{Answer, Database, Postgres, Redis, Replica, eventually};

fn builder(database: &Database) -> Builder {
    Replica::builder()
        .database(database)
        .env("STALENESS_BOUND_MS", "1000")
        .env("POLL_INTERVAL_MS", "100")
}

pub fn is_stale(answer: &Answer) -> bool {
    answer.cache_status() == "tenant-service; hit; detail=stale"
}

/// Look-ups go on, labelled, for as long as the budget lasts; secrets do not.
#[tokio::test]
async fn without_postgres_look_ups_are_stale_and_secrets_are_refused() {
    let server = Postgres::own_cluster().await;
    let (database, redis) = (server.database().await, Redis::start().await);
    insert_tenants(&database, 2).await;
    let builder = builder(&database).redis(&redis);
    let (patient, hasty) = (
        builder.clone().env("STALE_BUDGET_SECONDS", "300").start().await,
        builder.env("STALE_BUDGET_SECONDS", "0").start().await,
    );
    for replica in [&patient, &hasty] {
        resolves(replica, &by_phone(1), Some("t1")).await;
        replica.get(&by_phone(999)).await.expecting(404);
        replica.get(&full(1)).await.expecting(200);
        stands(replica, 200, "ready").await;
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
    stands(&patient, 200, "stale").await;
    stands(&hasty, 503, "unavailable").await;
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "a-made-up-token"}});
    for answer in [
        patient.get(&by_phone(2)).await,
        patient.get(&full(1)).await,
        patient.put_json("/api/tenants/t1/credentials", &body).await,
        patient.get("/api/tenants").await,
        hasty.get(&by_phone(1)).await,
    ] {
        let answer = answer.expecting(503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }

    server.start().await;
    for replica in [&patient, &hasty] {
        for path in [by_phone(1), full(1)] {
            serves_from_memory(replica, &path).await;
        }
        stands(replica, 200, "ready").await;
    }
    patient.put_json("/api/tenants/t1/credentials", &body).await.expecting(200);
}

/// A network that swallows everything makes each query wait for seconds, and many of them all the
/// connections. Once the replica knows, only one goes on asking, and sees the end of it.
#[tokio::test]
async fn a_database_that_is_known_to_be_away_is_not_asked() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let link = Proxy::before(&database.url).await;
    let replica = builder(&database).env("DATABASE_URL", link.url()).start().await;
    serves_from_memory(&replica, &by_phone(1)).await;
    serves_from_memory(&replica, &full(1)).await;

    link.set(Link::Stall(Bytes::Kept));
    stands(&replica, 200, "stale").await;
    assert!(is_stale(&replica.get(&by_phone(1)).await.expecting(200)));
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "a-made-up-token"}});
    for call in [
        replica.get(&full(1)),
        replica.get(&by_phone(2)),
        replica.put_json("/api/tenants/t1/credentials", &body),
        replica.get("/api/tenants"),
    ] {
        let answer = call.await.expecting(503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        let id = answer.header("x-request-id").unwrap();
        let logged = replica.wait_for_log(|line| line["request_id"] == id).await;
        let cause = logged["cause"].as_str().unwrap();
        assert!(cause.contains("it did not answer the last ping"), "{cause}");
    }

    link.set(Link::Pass);
    stands(&replica, 200, "ready").await;
    put_token(&replica, 1, "written-after-the-outage").await;
    assert_eq!(replica.get_json(&full(1)).await["access_token"], "written-after-the-outage");
}

/// The poll alone fails, for somebody has locked its table: the database is asked for every read, and
/// takes writes.
#[tokio::test]
async fn a_replica_that_cannot_poll_reads_the_database() {
    let database = Postgres::database().await;
    insert_tenants(&database, 2).await;
    // Soon given up, so that the poll fails again and again instead of waiting.
    let limit = format!("ALTER DATABASE {} SET lock_timeout = '50ms'", database.name);
    database.execute(&limit).await;
    let replica = builder(&database).start().await;
    serves_from_memory(&replica, &by_phone(1)).await;

    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE tenant_replicas IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    stands(&replica, 200, "fenced").await;
    let failures = |line: &Value| line["message"] == "the change log can't be read";
    replica.wait_for_log(failures).await;
    for n in [1, 2] {
        database.execute(&format!("UPDATE tenants SET name = 'Renamed' WHERE id = 't{n}'")).await;
        for path in [by_phone(n), full(n)] {
            let answer = replica.get(&path).await.expecting(200);
            assert_eq!(answer.cache_status(), "tenant-service; fwd=bypass; detail=fenced");
        }
        assert_eq!(replica.get_json(&by_phone(n)).await["name"], "Renamed");
    }
    put_token(&replica, 1, "written-while-it-was-fenced").await;
    assert_eq!(replica.get_json(&full(1)).await["access_token"], "written-while-it-was-fenced");

    lock.rollback().await.unwrap();
    stands(&replica, 200, "ready").await;
    serves_from_memory(&replica, &by_phone(1)).await;
}

/// What is stale is so for a while only.
#[tokio::test]
async fn a_spent_budget_ends_what_is_stale() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let link = Proxy::before(&database.url).await;
    let replica = builder(&database)
        .env("DATABASE_URL", link.url())
        .env("STALE_BUDGET_SECONDS", "5")
        .start()
        .await;
    serves_from_memory(&replica, &by_phone(1)).await;
    link.set(Link::Refuse);
    link.cut();
    stands(&replica, 200, "stale").await;
    stands(&replica, 503, "unavailable").await;
    assert!(!is_stale(&replica.get(&by_phone(1)).await.expecting(503)));
    link.set(Link::Pass);
    stands(&replica, 200, "ready").await;
    serves_from_memory(&replica, &by_phone(1)).await;
}
