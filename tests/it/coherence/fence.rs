//! A replica whose proof is too old serves nothing from its cache as current.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fleet::{
    DEADLINE, by_integration, by_phone, full, insert_tenants, put_token, resolves,
    serves_from_memory,
};
use super::outage::is_stale;
use crate::harness::bed::{self, Bed};
use crate::harness::fault::Fault;
use crate::harness::{Postgres, Redis, Replica, eventually};

const BOUND: Duration = Duration::from_secs(1);

fn builder() -> crate::harness::replica::Builder {
    Replica::builder().env("STALENESS_BOUND_MS", "1000").env("POLL_INTERVAL_MS", "100")
}

/// It stands still through writes and longer than its deadline, again and again; whatever it is asked
/// while it does, and finds when it goes on, it answers with what was written meanwhile.
#[tokio::test]
async fn a_frozen_replica_answers_with_nothing_from_before() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let replicas = builder().database(&database).redis(&redis).start_many(2).await;
    let (writer, frozen) = (&replicas[0], &replicas[1]);
    let tenant = "/api/tenants/t1".to_owned();
    let paths = [by_phone(1), by_integration(1), tenant.clone(), full(1)];
    for round in 1..=3 {
        for path in &paths {
            serves_from_memory(frozen, path).await;
        }
        frozen.freeze().await;
        let since = Instant::now();
        let name = json!({"name": format!("Renamed {round}")});
        writer.patch_json(&tenant, &name).await.expecting(200);
        let token = format!("written-in-round-{round}");
        put_token(writer, 1, &token).await;
        eventually(DEADLINE, "its deadline has passed", async || since.elapsed() > BOUND).await;
        // Sent before it goes on, so that these are what it finds first.
        let asked = paths.iter().flat_map(|path| [path; 4]);
        let asked: Vec<_> =
            asked.map(|path| tokio::spawn(frozen.get(path).into_future())).collect();
        frozen.thaw();
        for answer in asked {
            let answer = answer.await.unwrap().expecting(200);
            let found = answer.json();
            let is_new = found["name"] == name["name"] || found["access_token"] == token;
            // Where the database takes its time, what may be old says so.
            assert!(is_new || is_stale(&answer), "round {round}: {answer:?}");
        }
    }
    eventually(DEADLINE, "it has counted that", async || {
        frozen.metrics().await.value("tenant_fenced_total", &[]) >= 3.0
    })
    .await;
}

/// With Redis and LISTEN dead, what `psql` or another replica writes is found by the polls, and
/// whoever could not poll does not answer from before.
#[tokio::test]
async fn with_both_buses_dead_a_change_is_seen_everywhere_within_the_bound() {
    let mut bed = Bed::start().await;
    insert_tenants(&bed.database, 1).await;
    Fault::BothBusesDead.cause(&mut bed).await;
    Fault::BothBusesDead.is_felt(&bed).await;
    for round in 1..=3 {
        for node in &bed.nodes {
            serves_from_memory(&node.replica, &by_phone(1)).await;
            serves_from_memory(&node.replica, &full(1)).await;
        }
        let (name, token) = (format!("Renamed {round}"), format!("written-in-round-{round}"));
        bed.database.execute(&format!("UPDATE tenants SET name = '{name}' WHERE id = 't1'")).await;
        put_token(&bed.nodes[0].replica, 1, &token).await;
        let since = Instant::now();
        eventually(DEADLINE, "the bound has passed", async || since.elapsed() > bed::BOUND).await;
        for node in &bed.nodes {
            let found = node.replica.get(&by_phone(1)).await.expecting(200);
            assert_eq!(found.json()["name"], name.as_str(), "round {round}: {found:?}");
            let found = node.replica.get(&full(1)).await.expecting(200);
            assert_eq!(found.json()["access_token"], token.as_str(), "round {round}: {found:?}");
        }
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
    serves_from_memory(&replica, &by_phone(1)).await;

    assert!(replica.logs().iter().all(|line| line["message"] != "starting over"));
    assert_eq!(replica.terminate().await, 0);
    assert_eq!(database.scalar::<i64>(rows).await, 0);
}
