//! The auditor finds what is wrong, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::fleet::{
    DEADLINE, by_integration, by_phone, full, insert_tenants, phone, put_token, resolves, sees,
};
use crate::harness::keyring::token_assignment;
use crate::harness::replica::Builder;
use crate::harness::{Postgres, Redis, Replica, eventually};

const SUSPECTED: &str = "a cached entry is out of date; to be looked at again";

/// Replicas that read the log so seldom that what `psql` writes stays unknown for a while.
fn builder() -> Builder {
    Replica::builder().env("STALENESS_BOUND_MS", "600").env("POLL_INTERVAL_MS", "300")
}

async fn violations(replica: &Replica) -> f64 {
    replica.metrics().await.value("tenant_coherence_violations_total", &[])
}

/// Under writes that it learns of late, the auditor suspects many entries, and none of them wrongly.
#[tokio::test]
async fn a_storm_of_writes_is_no_violation() {
    // Few: what is evicted has to be read again before it is looked at again.
    const TENANTS: usize = 5;
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, TENANTS).await;
    let builder = builder().database(&database).redis(&redis);
    let builder = builder.env("AUDIT_CHECKS_PER_SECOND", "1000");
    // Where many tests run at once, a shorter bound would have the replicas fenced all the time.
    let builder = builder.env("STALENESS_BOUND_MS", "2000").env("POLL_INTERVAL_MS", "800");
    let replicas = builder.start_many(2).await;
    let over = AtomicBool::new(false);
    let goes_on = || !over.load(Ordering::Relaxed);

    let by_hand = async {
        // Every name changes, and numbers come and go: absences are wrong for a while too.
        for round in 0.. {
            if !goes_on() {
                break;
            }
            let gone = 1 + round % TENANTS;
            database
                .execute(&format!(
                    "UPDATE tenants SET name = 'Round {round}',
                         phone_number_id = CASE WHEN id <> 't{gone}' THEN '1000' || substr(id, 2) END"
                ))
                .await;
        }
    };
    let by_service = async {
        for n in 0.. {
            if !goes_on() {
                break;
            }
            put_token(&replicas[n % 2], 1, &format!("a-made-up-token-{n}")).await;
        }
    };
    let reads = async |replica: &Replica| {
        for n in (1..=TENANTS).cycle() {
            if !goes_on() {
                break;
            }
            let paths = [by_phone(n), by_integration(n), full(n)];
            join_all(paths.map(|path| replica.get(&path).into_future())).await;
        }
    };
    let watch = async {
        for replica in &replicas {
            eventually(3 * DEADLINE, "it has looked at enough of them again", async || {
                let again = |line: &Value| line["message"] == "it was replaced in time";
                let again = replica.logs().into_iter().filter(again).count();
                if again > 15 { Ok(()) } else { Err(again) }
            })
            .await;
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(by_hand, by_service, reads(&replicas[0]), reads(&replicas[1]), watch);
    for replica in &replicas {
        assert!(violations(replica).await < 0.5, "{}", replica.process.name);
    }
}

/// A replica that can't prove that it is current serves nothing as current: what is in its memory may
/// be as old as it likes.
#[tokio::test]
async fn what_a_fenced_replica_has_is_no_violation() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let builder = builder().database(&database).env("AUDIT_CHECKS_PER_SECOND", "200");
    // Long enough that it is suspected before the fence closes.
    let replica = builder.env("STALENESS_BOUND_MS", "1500").start().await;
    resolves(&replica, &by_phone(1), Some("t1")).await;
    let mut poll = database.pool().await.begin().await.unwrap();
    // It reads, and can't renew its row.
    sqlx::query("LOCK TABLE tenant_replicas IN EXCLUSIVE MODE").execute(&mut *poll).await.unwrap();
    eventually(DEADLINE, "a round waits for the lock, and has not read the log", async || {
        let waiting = "SELECT count(*) FROM pg_locks
            WHERE relation = 'tenant_replicas'::regclass AND NOT granted";
        database.scalar::<i64>(waiting).await > 0
    })
    .await;
    database.execute("UPDATE tenants SET name = 'Unseen'").await;
    replica.wait_for_log(|line| line["message"] == SUSPECTED).await;
    let since = Instant::now();
    eventually(DEADLINE, "that is due", async || since.elapsed() > Duration::from_secs(2)).await;
    assert!(replica.metrics().await.value("tenant_fenced_total", &[]) > 0.5);
    assert!(violations(&replica).await < 0.5);
    poll.commit().await.unwrap();
    sees(&replica, &by_phone(1), "the name, out of memory", |answer| {
        let is_cached = answer.cache_status() == "tenant-service; hit; detail=l1";
        (is_cached && answer.json()["name"] == "Unseen").then_some(())
    })
    .await;
    assert!(violations(&replica).await < 0.5);
}

/// Writes that the log has missed: memory and Redis are out of date, and nothing tells.
#[tokio::test]
async fn what_stays_wrong_is_counted_and_evicted() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 2).await;
    let builder = builder().database(&database).redis(&redis);
    let audited = builder.clone().env("AUDIT_CHECKS_PER_SECOND", "200").start().await;
    let unaudited = builder.start().await;
    let nobodys = format!("/api/tenants/by-phone/{}", phone(999));
    for replica in [&audited, &unaudited] {
        resolves(replica, &by_phone(1), Some("t1")).await;
        resolves(replica, &by_integration(2), Some("t2")).await;
        resolves(replica, &nobodys, None).await;
        replica.get(&full(1)).await.expecting(200);
    }
    let behind = token_assignment(&database, "t1", 1, "behind-the-log").await;
    database
        .execute(&format!(
            "ALTER TABLE tenants DISABLE TRIGGER USER;
             ALTER TABLE tenant_credentials DISABLE TRIGGER USER;
             UPDATE tenants SET name = 'Behind the log' WHERE id = 't1';
             UPDATE tenants SET phone_number_id = '1000999', genesys_integration_id = NULL WHERE id = 't2';
             UPDATE tenant_credentials SET {behind}
             WHERE tenant_id = 't1'"
        ))
        .await;

    eventually(DEADLINE, "each is found", async || {
        let found = violations(&audited).await;
        if found > 3.5 { Ok(()) } else { Err(found) }
    })
    .await;
    sees(&audited, &by_phone(1), "the name", |answer| {
        (answer.json()["name"] == "Behind the log").then_some(())
    })
    .await;
    resolves(&audited, &by_integration(2), None).await;
    resolves(&audited, &nobodys, Some("t2")).await;
    let token = audited.get(&full(1)).await.expecting(200).json();
    assert_eq!(token, json!({"access_token": "behind-the-log"}));
    assert!((violations(&audited).await - 4.0).abs() < 0.5, "each once");
    let mut kinds: Vec<_> = audited
        .logs()
        .into_iter()
        .filter(|line| line["level"] == "ERROR" && line["served"].is_string())
        .map(|mut line| {
            // Which it is, nobody is told: neither whose, nor what.
            line["timestamp"].take();
            let text = line.to_string();
            assert!(!["t1", "1000", "i2", "token"].iter().any(|id| text.contains(id)), "{text}");
            line["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["credentials", "integration", "phone", "phone"]);

    // Of itself it would not have found out, and one that does not look does not count.
    let memory = "tenant-service; hit; detail=l1";
    let name = sees(&unaudited, &by_phone(1), "what it has in memory", |answer| {
        (answer.cache_status() == memory).then(|| answer.json()["name"].clone())
    })
    .await;
    assert_eq!(name, "Tenant 1");
    assert!(!unaudited.metrics().await.has("tenant_coherence_checks_total", &[]));
}
