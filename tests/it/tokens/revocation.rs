//! A revoked token is refused by every replica once the revocation is acknowledged, whatever is dead
//! or frozen; and an edit by hand is everywhere within the bound.

use std::time::Duration;

use serde_json::json;
use tenant_service::crypto::new_token;

use super::{admin_of, closed, id_of, mint, with};
use crate::coherence::fleet::{DEADLINE, by_phone, connected, full, insert_tenants, keeps_its_row};
use crate::harness::proxy::{Link, Proxy};
use crate::harness::replica::Builder;
use crate::harness::{Answer, Database, Postgres, Redis, Replica, eventually, run_cli};

/// Nothing but an acknowledgement ends a wait in the time that a test has.
fn patient(database: &Database) -> Builder {
    closed().database(database).env("POLL_INTERVAL_MS", "60000").env("STALENESS_BOUND_MS", "600000")
}

fn hasty(database: &Database) -> Builder {
    closed().database(database).env("POLL_INTERVAL_MS", "100").env("STALENESS_BOUND_MS", "1000")
}

fn coherence(answer: &Answer) -> &str {
    answer.header("coherence").unwrap_or_default()
}

/// It is in memory there, and so is what it may see.
async fn works(replica: &Replica, token: &str) {
    for _ in 0..2 {
        with(replica.get(&by_phone(1)), token).await.expecting(200);
        with(replica.get(&full(1)), token).await.expecting(200);
    }
}

async fn is_refused(replica: &Replica, token: &str) {
    for path in [by_phone(1), full(1)] {
        let answer = with(replica.get(&path), token).await.expecting(401);
        assert_eq!(answer.json()["code"], "invalid_token");
    }
}

async fn make(replica: &Replica, admin: &str) -> String {
    let scopes = ["lookup:read", "credentials:reveal"];
    mint(replica, admin, json!({"name": "n", "scopes": scopes})).await
}

async fn revoke(replica: &Replica, admin: &str, token: &str) -> Answer {
    let path = format!("/api/tokens/{}", id_of(token));
    with(replica.delete(&path), admin).await.expecting(200)
}

/// Without waiting: each is asked right after the acknowledgement.
#[tokio::test]
async fn a_revoked_token_is_refused_everywhere_at_once() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let admin = admin_of(&database).await;
    let replicas = patient(&database).redis(&redis).start_many(3).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
        connected(replica, "notify", true).await;
    }
    for round in 0..20 {
        let writer = &replicas[round % 3];
        let token = make(writer, &admin).await;
        for replica in &replicas {
            works(replica, &token).await;
        }
        let revoked = revoke(writer, &admin, &token).await;
        assert_eq!(coherence(&revoked), "acked; replicas=2");
        for replica in &replicas {
            is_refused(replica, &token).await;
        }
    }
    // One that was not known before it was made is known at once: its absence was cached.
    let metrics = replicas[1].metrics().await;
    let labels = [("tier", "l1"), ("kind", "token"), ("source", "redis")];
    assert!(metrics.value("tenant_cache_evictions_total", &labels) >= 1.0);
}

#[tokio::test]
async fn also_where_redis_is_dead() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let admin = admin_of(&database).await;
    let link = Proxy::before(&redis.url()).await;
    let builder = hasty(&database).env("REDIS_URL", link.url());
    let replicas = builder.start_many(2).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
    }
    let token = make(&replicas[0], &admin).await;
    for replica in &replicas {
        works(replica, &token).await;
    }
    link.set(Link::Refuse);
    link.cut();
    revoke(&replicas[0], &admin, &token).await;
    for replica in &replicas {
        is_refused(replica, &token).await;
    }
}

#[tokio::test]
async fn also_on_a_replica_that_stood_still() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let admin = admin_of(&database).await;
    let replicas = hasty(&database).redis(&redis).start_many(2).await;
    let (writer, frozen) = (&replicas[0], &replicas[1]);
    for replica in &replicas {
        connected(replica, "redis", true).await;
    }
    let token = make(writer, &admin).await;
    works(frozen, &token).await;
    frozen.freeze().await;
    let row = keeps_its_row(&database, frozen).await;
    assert_eq!(coherence(&revoke(writer, &admin, &token).await), "fenced");
    row.rollback().await.unwrap();
    // It is asked before it goes on, and answers first of all.
    let asked: Vec<_> = [by_phone(1), full(1)]
        .into_iter()
        .map(|path| tokio::spawn(with(frozen.get(&path), &token).into_future()))
        .collect();
    frozen.thaw();
    for answer in asked {
        answer.await.unwrap().expecting(401);
    }
}

/// No message tells of these, and nobody waits for them.
#[tokio::test]
async fn an_edit_by_hand_is_everywhere_within_the_bound() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let admin = admin_of(&database).await;
    let replicas = hasty(&database).start_many(2).await;
    for (statement, status) in [
        ("UPDATE tenant_tokens SET revoked_at = now()", 401),
        ("UPDATE tenant_tokens SET expires_at = now()", 401),
        ("UPDATE tenant_tokens SET scopes = '{tenants:read}'", 403),
        ("UPDATE tenant_tokens SET tenants = '{t2}'", 404),
        ("UPDATE tenant_tokens SET hash = sha256('another')", 401),
        ("DELETE FROM tenant_tokens", 401),
    ] {
        let token = make(&replicas[0], &admin).await;
        for replica in &replicas {
            works(replica, &token).await;
        }
        database.execute(&format!("{statement} WHERE id = '{}'", id_of(&token))).await;
        for replica in &replicas {
            eventually(DEADLINE, statement, async || {
                let found = with(replica.get(&by_phone(1)), &token).await.status;
                if found == status { Ok(()) } else { Err(found) }
            })
            .await;
        }
    }
    let token = make(&replicas[0], &admin).await;
    works(&replicas[1], &token).await;
    database.execute("TRUNCATE tenant_tokens").await;
    eventually(DEADLINE, "TRUNCATE", async || {
        with(replicas[1].get(&by_phone(1)), &token).await.status == 401
    })
    .await;
    assert!(Duration::from_secs(1) < DEADLINE);
}

/// Whoever can write to Redis can make no token.
#[tokio::test]
async fn nothing_of_a_token_is_in_redis() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let admin = admin_of(&database).await;
    let replica = patient(&database).redis(&redis).start().await;
    connected(&replica, "redis", true).await;
    let token = make(&replica, &admin).await;
    works(&replica, &token).await;
    // Nor is it that there is no such token: whoever can write there could have one refused.
    let unknown = new_token().unwrap();
    for _ in 0..2 {
        with(replica.get(&by_phone(1)), unknown.reveal()).await.expecting(401);
    }
    let mut connection = redis.connection().await;
    let keys: Vec<String> =
        ::redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert!(keys.iter().any(|key| key.starts_with("phone:")), "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains("token:")), "{keys:?}");
}

/// The command line tells every replica, and has ended when they know.
#[tokio::test]
async fn the_command_line_revokes_everywhere() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let admin = admin_of(&database).await;
    let replicas = closed().database(&database).redis(&redis).start_many(2).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
    }
    let token = make(&replicas[0], &admin).await;
    for replica in &replicas {
        works(replica, &token).await;
    }
    let (url, redis) = (database.url.as_str(), redis.url());
    let environment = [("DATABASE_URL", url), ("REDIS_URL", &redis)];
    run_cli(&["token", "revoke", id_of(&token)], &environment).await.expecting(0);
    for replica in &replicas {
        is_refused(replica, &token).await;
    }
}
