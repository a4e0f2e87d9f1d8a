//! The URL leads to another history than before.

use std::time::{Duration, Instant};

use super::fleet::{DEADLINE, by_phone, full, insert_tenants, put_token, resolves, sees};
use crate::harness::proxy::{Bytes, Link};
use crate::harness::{Postgres, Proxy, Replica, eventually};

/// Longer than it takes to notice.
const BOUND: Duration = Duration::from_secs(3);

async fn replicas(url: &str) -> Vec<Replica> {
    let builder = Replica::builder().env("DATABASE_URL", url);
    let builder = builder.env("POLL_INTERVAL_MS", "100").env("STALENESS_BOUND_MS", "3000");
    builder.start_many(2).await
}

/// Waits until a replica has dropped what it had, and said why.
async fn starts_over(replica: &Replica, why: &str) {
    let line = replica.wait_for_log(|line| line["message"] == "starting over").await;
    assert_eq!(line["level"], "ERROR");
    assert!(line["reason"].as_str().unwrap().contains(why), "{line}");
}

/// Serves the name that the tenant has now, at last from memory.
async fn serves(replica: &Replica, name: &str) {
    sees(replica, &by_phone(1), "the name, from memory", |answer| {
        let is_cached = answer.cache_status() == "tenant-service; hit; detail=l1";
        (is_cached && answer.json()["name"] == name).then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_another_database_nothing_of_the_first_is_served() {
    let (first, second) = (Postgres::own_cluster().await, Postgres::own_cluster().await);
    let (here, there) = (first.database().await, second.database().await);
    assert_eq!(here.name, there.name, "the URL stays what it is");
    insert_tenants(&here, 1).await;
    insert_tenants(&there, 1).await;
    there.execute("UPDATE tenants SET name = 'Another'").await;
    let proxy = Proxy::before(&here.url).await;
    let replicas = replicas(proxy.url()).await;
    for replica in &replicas {
        resolves(replica, &by_phone(1), Some("t1")).await;
        serves(replica, "Tenant 1").await;
    }
    // Readings that are under way meanwhile began with the first database and end with the second.
    proxy.set(Link::Stall(Bytes::Kept));
    let stalled = Instant::now();
    let of_census = BOUND / 2 + Duration::from_millis(100);
    eventually(DEADLINE, "one has begun", async || stalled.elapsed() >= of_census).await;
    proxy.lead_to(second.port());
    let moved = Instant::now();
    proxy.set(Link::Pass);
    proxy.cut();
    for replica in &replicas {
        starts_over(replica, "another database").await;
    }
    // Whoever had not noticed might have served what it had for so long. That the other database has
    // been served from for long is no matter: neither to a write that comes before the rows were
    // read there, nor to one that comes after.
    let at_once = async {
        put_token(&replicas[0], 1, "written-at-once").await;
        assert!(moved.elapsed() >= BOUND);
    };
    let later = async {
        let half = BOUND / 2;
        eventually(DEADLINE, "half a bound has passed", async || moved.elapsed() >= half).await;
        put_token(&replicas[0], 1, "written-in-the-other").await;
        assert!(moved.elapsed() >= BOUND);
    };
    tokio::join!(at_once, later);
    for replica in &replicas {
        let answer = replica.get(&full(1)).await.expecting(200);
        assert_eq!(answer.json()["access_token"], "written-in-the-other");
        serves(replica, "Another").await;
    }
}

#[tokio::test]
async fn after_a_promotion_everything_is_dropped() {
    let server = Postgres::own_cluster().await;
    let database = server.database().await;
    insert_tenants(&database, 1).await;
    let replicas = replicas(&database.url).await;
    for replica in &replicas {
        serves(replica, "Tenant 1").await;
    }
    server.stop().await;
    server.promote().await;
    for replica in &replicas {
        starts_over(replica, "promoted").await;
    }
    database.execute("UPDATE tenants SET name = 'New'").await;
    for replica in &replicas {
        serves(replica, "New").await;
    }
}
