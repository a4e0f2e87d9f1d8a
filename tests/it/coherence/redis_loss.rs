//! Redis may go at any moment: no request fails for it, and it is used again when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::fleet::{DEADLINE, Fleet, by_phone, connected, insert_tenants, put_token, sees};
use crate::harness::{Postgres, Redis, Replica, eventually};

const TENANTS: usize = 50;

/// Reads and writes on all replicas until told to stop; counts the answers, and panics on a 5xx.
async fn traffic(replicas: Arc<[Replica; 3]>, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let replica = &replicas[n % 3];
        if n % 20 == 0 {
            put_token(replica, n % TENANTS + 1, "another-made-up-token").await;
        } else {
            replica.get(&by_phone(n % TENANTS + 1)).await.expecting(200);
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn more(count: &AtomicUsize, by: usize) {
    let wanted = count.load(Ordering::Relaxed) + by;
    eventually(DEADLINE, "traffic goes on", async || count.load(Ordering::Relaxed) >= wanted).await;
}

/// L2 answers again: what one replica loads, another one finds there.
async fn shares_again(replicas: &[Replica; 3], redis: &Redis) {
    for replica in replicas {
        connected(replica, "redis", true).await;
    }
    eventually(DEADLINE, "what one replica loads is a hit of L2 on another", async || {
        // Evicts it everywhere, so that the next read of each replica asks L2.
        put_token(&replicas[0], 1, "yet-another-made-up-token").await;
        for replica in replicas {
            sees(replica, &by_phone(1), "a read that is no L1 hit", |answer| {
                (!answer.cache_status().ends_with("detail=l1")).then_some(())
            })
            .await;
            let answer = replica.get(&by_phone(1)).await.expecting(200);
            assert_eq!(answer.json()["id"], "t1");
        }
        let mut hits = 0.0;
        for replica in replicas {
            let labels = [("tier", "l2"), ("kind", "phone"), ("outcome", "hit")];
            hits += replica.metrics().await.value("tenant_cache_requests_total", &labels);
        }
        hits > 0.0
    })
    .await;
    assert_eq!(redis.command_count("keys").await + redis.command_count("scan").await, 0);
}

async fn without_a_5xx(fault: impl AsyncFnOnce(&Redis, &AtomicUsize)) {
    let Fleet { replicas, database, redis } = Fleet::start().await;
    insert_tenants(&database, TENANTS).await;
    for replica in &replicas {
        for n in 1..=TENANTS {
            sees(replica, &by_phone(n), "the tenants", |a| (a.status == 200).then_some(())).await;
        }
    }
    let replicas = Arc::new(replicas);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let traffic: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn(traffic(Arc::clone(&replicas), Arc::clone(&stop), Arc::clone(&count)))
        })
        .collect();
    more(&count, 200).await;
    fault(&redis, &count).await;
    more(&count, 200).await;
    stop.store(true, Ordering::Relaxed);
    for task in traffic {
        task.await.unwrap();
    }
    shares_again(&replicas, &redis).await;
}

#[tokio::test]
async fn killed_and_back() {
    without_a_5xx(async |redis, count| {
        redis.kill();
        more(count, 500).await;
        redis.restart().await;
    })
    .await;
}

#[tokio::test]
async fn hung_and_back() {
    without_a_5xx(async |redis, count| {
        redis.pause().await;
        more(count, 500).await;
        redis.resume();
    })
    .await;
}

#[tokio::test]
async fn flushed_by_hand() {
    without_a_5xx(async |redis, _| {
        let mut connection = redis.connection().await;
        let () = ::redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_replica_starts_without_redis_and_finds_it_later() {
    let Fleet { replicas, database, redis } = Fleet::start().await;
    insert_tenants(&database, 1).await;
    redis.kill();
    let late = Replica::builder().database(&database).redis(&redis).start().await;
    late.get(&by_phone(1)).await.expecting(200);
    assert_eq!(late.get_json("/health").await["redis"], "disconnected");
    redis.restart().await;
    connected(&late, "redis", true).await;
    eventually(DEADLINE, "its health says so", async || {
        late.get_json("/health").await["redis"] == "connected"
    })
    .await;
    drop(replicas);
}

/// What stands under a key is no entry of ours: it is overwritten, never served.
#[tokio::test]
async fn garbage_under_a_key_is_a_miss() {
    let database = Postgres::database().await;
    // Before the start: a poll of it later on would revoke what is filled here.
    insert_tenants(&database, 1).await;
    let Fleet { replicas, database: _database, redis } = Fleet::on(database).await;
    let mut connection = redis.connection().await;
    let key = format!("phone:{}", super::fleet::phone(1));
    let write = async |connection: &mut ::redis::aio::MultiplexedConnection, command: &[&str]| {
        let (name, arguments) = command.split_first().unwrap();
        let mut command = ::redis::cmd(name);
        for argument in arguments {
            command.arg(*argument);
        }
        let _: ::redis::Value = command.query_async(connection).await.unwrap();
    };
    write(&mut connection, &["RPUSH", &key, "a", "b"]).await;
    sees(&replicas[0], &by_phone(1), "the tenant", |a| (a.status == 200).then_some(())).await;
    write(&mut connection, &["SET", &key, r#"{"id":"t666","_revision":1,"_epoch":"other"}"#]).await;
    resolves_to_t1(&replicas[1]).await;
    write(&mut connection, &["SET", &key, ""]).await;
    resolves_to_t1(&replicas[2]).await;
    // Now it is ours, readable, and has an end.
    let what = "the tenant stands under its key";
    eventually(DEADLINE, what, async || {
        let text: Option<String> =
            ::redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        text.filter(|text| text.contains(r#""id":"t1""#))
    })
    .await;
    let ttl: i64 = ::redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((3000..=3600).contains(&ttl), "{ttl}");
}

async fn resolves_to_t1(replica: &Replica) {
    let answer = replica.get(&by_phone(1)).await.expecting(200);
    assert_eq!(answer.json()["id"], "t1");
}
