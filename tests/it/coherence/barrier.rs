//! A write is acknowledged when no replica serves what was before it any more.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fleet::{
    DEADLINE, by_phone, connected, full, insert_tenants, keeps_its_row, put_token, resolves, stands,
};
use crate::harness::replica::Builder;
use crate::harness::{Answer, Database, Postgres, Redis, Replica, eventually, run_cli};

/// Nothing but an acknowledgement ends a wait in the time that a test has.
fn patient(database: &Database) -> Builder {
    let seldom = [("POLL_INTERVAL_MS", "60000"), ("STALENESS_BOUND_MS", "600000")];
    let builder = Replica::builder().database(database);
    seldom.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

const BOUND: Duration = Duration::from_secs(1);

fn hasty(database: &Database) -> Builder {
    let builder = Replica::builder().database(database);
    builder.env("POLL_INTERVAL_MS", "100").env("STALENESS_BOUND_MS", "1000")
}

fn coherence(answer: &Answer) -> &str {
    answer.header("coherence").unwrap_or_default()
}

/// Two patient replicas, fed by both buses, with one tenant.
struct Pair {
    // They end before what they stand on.
    writer: Replica,
    other: Replica,
    database: Database,
    _redis: Redis,
}

impl Pair {
    async fn start() -> Self {
        let (database, redis) = (Postgres::database().await, Redis::start().await);
        insert_tenants(&database, 1).await;
        let replicas = patient(&database).redis(&redis).start_many(2).await;
        for replica in &replicas {
            connected(replica, "redis", true).await;
            connected(replica, "notify", true).await;
        }
        let [writer, other] = replicas.try_into().expect("two were asked for");
        Self { writer, other, database, _redis: redis }
    }
}

async fn has_token(replica: &Replica, token: &str) {
    let answer = replica.get(&full(1)).await.expecting(200);
    assert_eq!(answer.json()["access_token"], token, "{}", answer.cache_status());
}

/// Each write is acknowledged by both others, and read on them at once, without waiting.
async fn every_write_is_seen_at_once(replicas: &[Replica], writes: usize) {
    for write in 0..writes {
        let (replica, token) = (&replicas[write % 3], format!("made-up-token-number-{write}"));
        let answer = put_token(replica, 1, &token).await;
        assert_eq!(coherence(&answer), "acked; replicas=2");
        for replica in replicas {
            has_token(replica, &token).await;
            // Cached, for the next write to evict.
            has_token(replica, &token).await;
        }
    }
}

#[tokio::test]
async fn over_redis() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let replicas = patient(&database).redis(&redis).start_many(3).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
    }
    every_write_is_seen_at_once(&replicas, 60).await;
    let metrics = replicas[0].metrics().await;
    let acked = [("outcome", "acked")];
    assert!(metrics.value("tenant_write_barrier_seconds_count", &acked) >= 20.0);
}

#[tokio::test]
async fn by_the_rows_where_there_is_no_redis() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replicas = patient(&database).start_many(3).await;
    for replica in &replicas {
        connected(replica, "notify", true).await;
    }
    every_write_is_seen_at_once(&replicas, 20).await;
}

/// What it found as it was to become, another write may just have made so.
#[tokio::test]
async fn a_write_that_changes_nothing_waits_like_any_other() {
    let Pair { writer, other, database, .. } = &Pair::start().await;
    resolves(other, &by_phone(1), Some("t1")).await;
    // Nobody tells of this one, and no poll is due.
    database.execute("UPDATE tenants SET name = 'By psql' WHERE id = 't1'").await;
    let patched = writer.patch_json("/api/tenants/t1", &json!({"name": "By psql"})).await;
    assert_eq!(coherence(&patched.expecting(200)), "acked; replicas=1");
    assert_eq!(other.get_json(&by_phone(1)).await["name"], "By psql");
}

/// A frozen replica delays a write by a bound, once; then it is no longer waited for.
#[tokio::test]
async fn a_frozen_replica_delays_writes_by_a_bound_and_only_for_a_while() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let replicas = hasty(&database).redis(&redis).start_many(3).await;
    let (writer, frozen) = (&replicas[0], &replicas[1]);
    for replica in &replicas {
        connected(replica, "redis", true).await;
        has_token(replica, "first-made-up-token").await;
    }
    frozen.freeze().await;
    let row = keeps_its_row(&database, frozen).await;
    let began = Instant::now();
    let answer = put_token(writer, 1, "written-while-it-stood-still").await;
    assert_eq!(coherence(&answer), "fenced");
    assert!(began.elapsed() >= BOUND, "its deadline may have stood for so long");
    row.rollback().await.unwrap();
    has_token(&replicas[2], "written-while-it-stood-still").await;
    eventually(DEADLINE, "nobody waits for it any more", async || {
        let answer = put_token(writer, 1, "written-later").await;
        coherence(&answer) == "acked; replicas=1"
    })
    .await;
    let asked = tokio::spawn(frozen.get(&full(1)).into_future());
    frozen.thaw();
    let answer = asked.await.unwrap().expecting(200);
    assert_eq!(answer.json()["access_token"], "written-later");
    eventually(DEADLINE, "it is waited for again", async || {
        let answer = put_token(writer, 1, "written-last").await;
        coherence(&answer) == "acked; replicas=2"
    })
    .await;
    assert!(
        frozen.logs().iter().all(|line| line["message"] != "starting over"),
        "it went on where it was"
    );
}

/// The rows can be neither read nor renewed. A bound after the commit nobody serves from cache.
#[tokio::test]
async fn where_the_rows_cannot_be_read_a_write_waits_for_a_bound() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let replicas = hasty(&database).redis(&redis).start_many(2).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
        has_token(replica, "first-made-up-token").await;
    }
    let mut lock = database.pool().await.begin().await.unwrap();
    sqlx::query("LOCK TABLE tenant_replicas").execute(&mut *lock).await.unwrap();
    let answer = put_token(&replicas[0], 1, "second-made-up-token").await;
    assert_eq!(coherence(&answer), "fenced");
    for replica in &replicas {
        has_token(replica, "second-made-up-token").await;
    }
    lock.rollback().await.unwrap();
    eventually(DEADLINE, "writes are acknowledged again", async || {
        let answer = put_token(&replicas[0], 1, "third-made-up-token").await;
        coherence(&answer) == "acked; replicas=1"
    })
    .await;
}

#[tokio::test]
async fn who_prefers_so_does_not_wait() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replicas = patient(&database).start_many(2).await;
    replicas[1].freeze().await;
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "a-made-up-token"}});
    let answer = replicas[0]
        .put_json("/api/tenants/t1/credentials", &body)
        .header("prefer", "respond-async")
        .await
        .expecting(200);
    assert_eq!(coherence(&answer), "pending");
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    has_token(&replicas[0], "a-made-up-token").await;
    replicas[1].thaw();
}

#[tokio::test]
async fn nobody_waits_for_who_has_stopped() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replicas = patient(&database).start_many(3).await;
    assert_eq!(replicas[2].terminate().await, 0);
    let answer = put_token(&replicas[0], 1, "second-made-up-token").await;
    assert_eq!(coherence(&answer), "acked; replicas=1");
}

/// Replicas that were served by a database before this one may serve on its proofs for a bound.
#[tokio::test]
async fn in_a_database_that_was_just_found_the_first_write_waits() {
    let database = Postgres::shared().await.unsettled_database().await;
    insert_tenants(&database, 1).await;
    let replica = hasty(&database).start().await;
    put_token(&replica, 1, "second-made-up-token").await;
    let settled = "SELECT count(*) FROM tenant_changes_incarnation WHERE settled_in IS NOT NULL";
    eventually(DEADLINE, "the database is settled", async || {
        database.scalar::<i64>(settled).await == 1
    })
    .await;
    // Another one need not wait; its bound is longer than the test.
    let other = patient(&database).start().await;
    let answer = put_token(&other, 1, "third-made-up-token").await;
    assert_eq!(coherence(&answer), "acked; replicas=1");
}

#[tokio::test]
async fn a_seed_has_ended_when_every_replica_knows() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let replicas = Replica::builder().database(&database).redis(&redis).start_many(2).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
        // The absence is cached.
        replica.get("/tenants/by-phone/123456789").await.expecting(404);
    }
    let (url, redis) = (database.url.as_str(), redis.url());
    let environment =
        [("DATABASE_URL", url), ("REDIS_URL", &redis), ("STALENESS_BOUND_MS", "10000")];
    run_cli(&["seed"], &environment).await.expecting(0);
    for replica in &replicas {
        replica.get("/tenants/by-phone/123456789").await.expecting(200);
    }
}

/// While a longer bound is rolled out, one replica has it and the writer does not.
#[tokio::test]
async fn a_write_waits_for_the_longest_bound_that_a_replica_has() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let writer = hasty(&database).start().await;
    let slow = hasty(&database).env("STALENESS_BOUND_MS", "4000").start().await;
    has_token(&slow, "first-made-up-token").await;
    slow.freeze().await;
    let row = keeps_its_row(&database, &slow).await;
    let began = Instant::now();
    let answer = put_token(&writer, 1, "second-made-up-token").await;
    assert_eq!(coherence(&answer), "fenced");
    assert!(began.elapsed() >= 4 * BOUND);
    row.rollback().await.unwrap();
    slow.thaw();
    // It is remembered where its row can't be read. (Once it is ready, its row has been renewed, and
    // who took it for dead has to leave it alone.)
    stands(&slow, 200, "ready").await;
    let answer = put_token(&writer, 1, "third-made-up-token").await;
    assert_eq!(coherence(&answer), "acked; replicas=1");
    database.execute("ALTER TABLE tenant_replicas RENAME TO away").await;
    let began = Instant::now();
    let answer = put_token(&writer, 1, "fourth-made-up-token").await;
    assert_eq!(coherence(&answer), "fenced");
    assert!(began.elapsed() >= 4 * BOUND);
}

/// A patch finds half of what it wants done, by a write that no message has told of. An
/// acknowledgement of it speaks of both.
#[tokio::test]
async fn a_write_is_acknowledged_with_what_it_found() {
    for attempt in 0..5 {
        let Pair { writer, other, database, .. } = &Pair::start().await;
        resolves(other, &by_phone(1), Some("t1")).await;
        has_token(other, "first-made-up-token").await;
        let (phone, name) = (format!("77{attempt}"), format!("Name {attempt}"));
        let sql = format!("UPDATE tenants SET phone_number_id = '{phone}' WHERE id = 't1'");
        database.execute(&sql).await;
        let patch = json!({"phone_number_id": phone, "name": name});
        let patched = writer.patch_json("/api/tenants/t1", &patch).await.expecting(200);
        assert_eq!(coherence(&patched), "acked; replicas=1");
        other.get(&by_phone(1)).await.expecting(404);

        // The same of a tenant that is created again: the credentials are of the one before.
        database.execute("DELETE FROM tenants WHERE id = 't1'").await;
        let created = writer.post_json("/api/tenants", &json!({"id": "t1", "name": name})).await;
        assert_eq!(coherence(&created.expecting(201)), "acked; replicas=1");
        other.get(&full(1)).await.expecting(404);
    }
}

/// To Postgres, 1 and 1.0 are the same number; to whoever reads them they are not.
#[tokio::test]
async fn a_number_that_is_spelt_otherwise_is_a_change() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, 1).await;
    let replicas = patient(&database).redis(&redis).start_many(2).await;
    for replica in &replicas {
        connected(replica, "redis", true).await;
    }
    for written in ["1", "1.0", "1"] {
        let body = format!("{{\"settings\": {{\"a\": {written}}}}}");
        let patch = replicas[0].request(reqwest::Method::PATCH, "/api/tenants/t1");
        let patched = patch.header("content-type", "application/json").body(body).await;
        assert_eq!(coherence(&patched.expecting(200)), "acked; replicas=1");
        for replica in &replicas {
            let tenant = replica.get("/api/tenants/t1").await.expecting(200).text();
            assert!(tenant.contains(&format!("{{\"a\":{written}}}")), "{tenant}");
        }
    }
}
