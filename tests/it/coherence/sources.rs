//! Each source of changes alone suffices, and is named by what it evicted.

use std::time::Duration;

use super::fleet::{
    DEADLINE, Fleet, by_phone, connected, evicted, full, insert_tenants, put_token, reads, sees,
};
use crate::harness::keyring::token_assignment;
use crate::harness::{Cluster, Database, Postgres, Redis, Replica, eventually};

/// Polls so seldom that only a push can be meant.
const SELDOM: &str = "60000";

async fn replicas(database: &Database, redis: Option<&Redis>, poll_ms: &str) -> [Replica; 3] {
    let mut builder = Replica::builder()
        .database(database)
        .env("POLL_INTERVAL_MS", poll_ms)
        .env("STALENESS_BOUND_MS", "600000");
    if let Some(redis) = redis {
        builder = builder.redis(redis);
    }
    builder.start_many(3).await.try_into().expect("three were asked for")
}

/// Writes on the first replica; on the others exactly `source` evicts.
async fn write_is_seen_by(replicas: &[Replica; 3], source: &str) {
    let [writer, others @ ..] = replicas;
    for replica in others {
        replica.get(&by_phone(1)).await.expecting(200);
        replica.get(&full(1)).await.expecting(200);
    }
    let mut before = Vec::new();
    for replica in others {
        before.push(replica.metrics().await);
    }
    put_token(writer, 1, "second-made-up-token").await;
    for (replica, before) in others.iter().zip(&before) {
        sees(replica, &full(1), "the new token", |answer| {
            (answer.json()["access_token"] == "second-made-up-token").then_some(())
        })
        .await;
        let after = replica.metrics().await;
        for kind in ["phone", "credentials"] {
            for other in ["redis", "notify", "poll"] {
                let delta = evicted(&after, kind, other) - evicted(before, kind, other);
                let wanted = if other == source { 1.0 } else { 0.0 };
                assert!((delta - wanted).abs() < 0.5, "{kind} by {other}: {delta}");
            }
        }
    }
}

/// Has every replica open several connections, for a test that refuses new ones: a pool that needs
/// one more would wait for it.
async fn fill_pools(replicas: &[Replica; 3], database: &Database) {
    eventually(DEADLINE, "every pool has several connections", async || {
        let mut writes = Vec::new();
        for n in 0..48 {
            writes.push(put_token(&replicas[n % 3], n + 1, "zeroth-made-up-token"));
        }
        futures_util::future::join_all(writes).await;
        let open: i64 = database
            .scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'tenant-service'",
            )
            .await;
        // Two of each replica are the poll's.
        if open >= 3 * (2 + 4) { Ok(()) } else { Err(open) }
    })
    .await;
}

/// A replica has polled after it connected: no poll is due for a minute.
async fn quiet(replicas: &[Replica; 3]) {
    for replica in replicas {
        let mut last = -1.0;
        let mut same = 0;
        eventually(DEADLINE, "polls of the start are over", async || {
            let now = reads(&replica.metrics().await, "poll");
            same = if (now - last).abs() < 0.5 { same + 1 } else { 0 };
            last = now;
            same >= 30
        })
        .await;
    }
}

#[tokio::test]
async fn notify_alone() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replicas = replicas(&database, None, SELDOM).await;
    for replica in &replicas {
        connected(replica, "notify", true).await;
    }
    quiet(&replicas).await;
    write_is_seen_by(&replicas, "notify").await;
}

#[tokio::test]
async fn redis_alone() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 48).await;
    let replicas = replicas(&database, Some(&redis), SELDOM).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
        connected(replica, "notify", true).await;
    }
    fill_pools(&replicas, &database).await;
    database.refuse_new_connections(true).await;
    assert_eq!(database.terminate_listeners().await, 3);
    for replica in &replicas {
        connected(replica, "notify", false).await;
    }
    quiet(&replicas).await;
    write_is_seen_by(&replicas, "redis").await;
}

#[tokio::test]
async fn the_poll_alone() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 48).await;
    let replicas = replicas(&database, Some(&redis), "200").await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
        connected(replica, "notify", true).await;
    }
    fill_pools(&replicas, &database).await;
    redis.kill();
    database.refuse_new_connections(true).await;
    assert_eq!(database.terminate_listeners().await, 3);
    for replica in &replicas {
        connected(replica, "redis", false).await;
        connected(replica, "notify", false).await;
    }
    write_is_seen_by(&replicas, "poll").await;
}

#[tokio::test]
async fn what_psql_changes_is_seen_everywhere() {
    let fleet = Fleet::start().await;
    let (replicas, database) = (&fleet.replicas, &fleet.database);
    insert_tenants(database, 2).await;
    for replica in replicas {
        for n in [1, 2] {
            sees(replica, &by_phone(n), "the tenants", |a| (a.status == 200).then_some(())).await;
        }
        replica.get(&full(1)).await.expecting(200);
    }
    database.execute("UPDATE tenants SET phone_number_id = NULL WHERE id = 't1'").await;
    let by_psql = token_assignment(database, "t1", 2, "by-psql").await;
    let update = format!("UPDATE tenant_credentials SET {by_psql} WHERE tenant_id = 't1'");
    database.execute(&update).await;
    let everywhere = async {
        for replica in replicas {
            sees(replica, &by_phone(1), "psql's change", |a| (a.status == 404).then_some(())).await;
            sees(replica, &full(1), "psql's credentials", |answer| {
                (answer.json()["access_token"] == "by-psql").then_some(())
            })
            .await;
        }
    };
    let bound = Duration::from_secs(10);
    tokio::time::timeout(bound, everywhere)
        .await
        .expect("within STALENESS_BOUND_MS of the harness");

    // A truncation names no keys: everything goes.
    database.execute("TRUNCATE tenants CASCADE").await;
    for replica in replicas {
        for path in [by_phone(2), full(1)] {
            sees(replica, &path, "nothing is left", |a| (a.status == 404).then_some(())).await;
        }
    }
}

#[tokio::test]
async fn a_killed_listener_comes_back_and_misses_nothing() {
    let Fleet { replicas, database, redis } = Fleet::start().await;
    insert_tenants(&database, 1).await;
    for replica in &replicas {
        sees(replica, &full(1), "the token", |a| (a.status == 200).then_some(())).await;
    }
    redis.kill();
    database.terminate_listeners().await;
    put_token(&replicas[0], 1, "while-nobody-listened").await;
    for replica in &replicas {
        sees(replica, &full(1), "the new token", |answer| {
            (answer.json()["access_token"] == "while-nobody-listened").then_some(())
        })
        .await;
        connected(replica, "notify", true).await;
    }
    redis.restart().await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
    }
    eventually(Duration::from_secs(20), "three listen again", async || {
        database.listeners().await == 3
    })
    .await;
}

/// More changes than one page of the poll holds.
#[tokio::test]
async fn a_large_change_is_followed_to_its_end() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let [a, b]: [Replica; 2] =
        Cluster::start(2, &database, Some(&redis)).await.try_into().expect("two");
    insert_tenants(&database, 3000).await;
    for replica in [&a, &b] {
        for n in [1, 1500, 3000] {
            sees(replica, &by_phone(n), "the tenants", |a| (a.status == 200).then_some(())).await;
        }
    }
    database.execute("UPDATE tenants SET name = 'Renamed'").await;
    for replica in [&a, &b] {
        for n in [1, 1500, 3000] {
            sees(replica, &by_phone(n), "the new name", |answer| {
                (answer.json()["name"] == "Renamed").then_some(())
            })
            .await;
        }
    }
}
