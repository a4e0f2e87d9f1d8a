//! Credentials whose end comes near, where several replicas look for them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::fleet::{DEADLINE, Fleet, connected, full, insert_tenants, masked, put_token, tenant};
use crate::harness::{Database, Postgres, Redis, Replica, eventually};

const TOLD: &str = "SELECT count(*) FROM tenant_changes WHERE kind = 'credentials.expiring'";
/// Of how many tenants it is told.
const TENANTS: usize = 200;

async fn told(database: &Database) -> usize {
    usize::try_from(database.scalar::<i64>(TOLD).await).unwrap()
}

/// Time goes by: the same end, nearer.
async fn wait_until_ends_in(database: &Database, days: u32) {
    let end = format!("now() + interval '{days} days' - interval '1 hour'");
    let both = format!("expires_at = {end}, announced_expires_at = {end}");
    database.execute(&format!("UPDATE tenant_credentials SET {both}")).await;
}

/// Waits until it is told of all of them once more.
async fn all_told(database: &Database, times: usize) {
    eventually(Duration::from_mins(2), "all is told", async || {
        let found = told(database).await;
        if found >= times * TENANTS { Ok(()) } else { Err(found) }
    })
    .await;
    let most = "SELECT max(n) FROM (SELECT count(*) n FROM tenant_changes \
                WHERE kind = 'credentials.expiring' GROUP BY tenant_id) AS counted";
    assert_eq!(usize::try_from(database.scalar::<i64>(most).await).unwrap(), times);
    assert_eq!(told(database).await, times * TENANTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_once_whoever_is_killed() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, TENANTS).await;
    let builder = Replica::builder().database(&database).redis(&redis);
    for (round, days) in [30, 7, 1].into_iter().enumerate() {
        wait_until_ends_in(&database, days).await;
        // They look at once, all of them.
        let mut replicas: Vec<Replica> = (0..3).map(|_| builder.spawn()).collect();
        let before = round * TENANTS;
        eventually(DEADLINE, "it has begun", async || told(&database).await > before).await;
        replicas.remove(0).kill();
        // What that one has left is told by the others, or by one that starts.
        replicas.push(builder.start().await);
        all_told(&database, round + 1).await;
    }
    let replica = builder.start().await;
    let ends_again = "SELECT count(*) FROM tenant_credentials WHERE announced_days = 1";
    assert_eq!(usize::try_from(database.scalar::<i64>(ends_again).await).unwrap(), TENANTS);
    // One that has nothing to tell has looked all the same.
    counts(&replica, [200.0, 200.0, 200.0, 0.0]).await;
    all_told(&database, 3).await;
}

async fn counts(replica: &Replica, expected: [f64; 4]) {
    let expected: BTreeMap<String, f64> =
        ["30d", "7d", "1d", "expired"].map(str::to_owned).into_iter().zip(expected).collect();
    eventually(DEADLINE, "the metric is that of the database", async || {
        let found = replica.metrics().await.by_label("tenant_credentials_expiring", "within");
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn every_replica_shows_how_many_end() {
    let database = Postgres::database().await;
    insert_tenants(&database, 5).await;
    for (tenant, hours) in [("t1", 20 * 24), ("t2", 5 * 24), ("t3", 12), ("t4", -1)] {
        let end = format!("now() + interval '{hours} hours'");
        let by_hand = format!("expires_at = {end} WHERE tenant_id = '{tenant}'");
        database.execute(&format!("UPDATE tenant_credentials SET {by_hand}")).await;
    }
    let fleet = Fleet::on(database).await;
    for replica in &fleet.replicas {
        counts(replica, [3.0, 2.0, 1.0, 1.0]).await;
    }
}

#[tokio::test]
async fn what_is_told_evicts_nothing() {
    let fleet = Fleet::start().await;
    let (replicas, database) = (&fleet.replicas, &fleet.database);
    let [writer, ..] = replicas;
    for n in [1, 2] {
        writer.post_json("/api/tenants", &tenant(n)).await.expecting(201);
    }
    put_token(writer, 1, "made-up-token").await;
    let paths = ["/api/tenants/by-phone/10001".to_owned(), masked(1), full(1)];
    let mut before = Vec::new();
    for replica in replicas {
        for path in paths.iter().chain(&paths) {
            replica.get(path).await.expecting(200);
        }
        before.push(replica.metrics().await);
    }
    // The one by hand, which no replica learns of; the other by a write, upon which one looks.
    let by_hand = "UPDATE tenant_credentials SET expires_at = now() + interval '3 days'";
    database.execute(by_hand).await;
    let end: String = database
        .scalar("SELECT to_char(now() + interval '40 hours', 'YYYY-MM-DD\"T\"HH24:MI:SSOF:00')")
        .await;
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "made-up-token-2"}, "expires_at": end});
    writer.put_json("/api/tenants/t2/credentials", &body).await.expecting(200);
    let both = "both are told";
    eventually(DEADLINE, both, async || told(database).await == 2).await;
    let days = |line: &Value| (line["tenant_id"].clone(), line["days"].clone());
    for expected in [(json!("t1"), json!(7)), (json!("t2"), json!(7))] {
        writer
            .wait_for_log(|line| {
                line["message"] == "credentials expire soon" && days(line) == expected
            })
            .await;
    }

    for (replica, before) in replicas.iter().zip(&before) {
        // The write and both announcements, by their own delivery and by the poll.
        eventually(DEADLINE, "the poll has read all of it", async || {
            let now = replica.metrics().await;
            now.delta(before, "tenant_changes_received_total", &[("source", "poll")]) >= 3.0
        })
        .await;
        let after = replica.metrics().await;
        for path in &paths {
            let answer = replica.get(path).await.expecting(200);
            assert_eq!(answer.cache_status(), "tenant-service; hit; detail=l1", "{path}");
        }
        // Of the tenant that was written nothing was cached.
        let evicted = after.delta(before, "tenant_cache_evictions_total", &[]);
        assert!(evicted.abs() < f64::EPSILON, "{evicted} evictions");
        connected(replica, "redis", true).await;
        // To revoke nothing is no failure. (That Redis is late, on a busy machine, is none of ours.)
        let failed = |line: &Value| {
            line["reason"].as_str().is_some_and(|reason| reason.starts_with("Redis failed"))
        };
        assert_eq!(replica.logs().into_iter().find(failed), None);
    }
}
