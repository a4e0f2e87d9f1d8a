//! Credentials in Redis: shared by replicas, sealed, and believed only in their place.

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use super::fleet::{DEADLINE, Fleet, full, insert_tenants, masked, put_token, serves_from_memory};
use crate::harness::{Postgres, Replica, eventually};

const TOKENS: [&str; 2] = ["hunter2-of-the-first-tenant", "hunter2-of-the-second-tenant"];

fn key(n: usize, kind: &str) -> String {
    format!("tenant:t{n}:credentials:{kind}")
}

async fn get(redis: &mut MultiplexedConnection, key: &str) -> Option<String> {
    ::redis::cmd("GET").arg(key).query_async(redis).await.unwrap()
}

async fn set(redis: &mut MultiplexedConnection, key: &str, value: &str) {
    ::redis::cmd("SET").arg(key).arg(value).exec_async(redis).await.unwrap();
}

/// Waits until a value is there, and not only a lease.
async fn filled(redis: &mut MultiplexedConnection, key: &str) -> String {
    let connection = redis.clone();
    eventually(DEADLINE, "credentials are in Redis", async || {
        let text = get(&mut connection.clone(), key).await;
        text.filter(|text| text.contains("wrapped_key")).ok_or("not yet")
    })
    .await
}

async fn forged(replica: &Replica) -> f64 {
    replica.metrics().await.value("tenant_sealing_refused_total", &[("reason", "forged")])
}

/// Two tenants with tokens, which the first replica has put into Redis.
async fn shared() -> (Fleet, MultiplexedConnection) {
    let database = Postgres::database().await;
    insert_tenants(&database, 3).await;
    let fleet = Fleet::on(database).await;
    let mut redis = fleet.redis.connection().await;
    for (n, token) in (1..).zip(TOKENS) {
        put_token(&fleet.replicas[0], n, token).await;
        let read = fleet.replicas[0].get(&full(n)).await.expecting(200);
        assert_eq!(read.cache_status(), "tenant-service; fwd=miss");
        filled(&mut redis, &key(n, "whatsapp")).await;
    }
    (fleet, redis)
}

#[tokio::test]
async fn replicas_share_credentials_and_redis_has_none_in_the_clear() {
    let (fleet, mut redis) = shared().await;
    for (n, token) in (1..).zip(TOKENS) {
        let read = fleet.replicas[1].get(&full(n)).await.expecting(200);
        assert_eq!(read.cache_status(), "tenant-service; hit; detail=l2");
        assert_eq!(read.json(), json!({ "access_token": token }));
        serves_from_memory(&fleet.replicas[1], &masked(n)).await;
    }
    // An absence is shared too, and a write revokes either.
    let absent = "/api/tenants/t1/credentials/genesys";
    fleet.replicas[0].get(absent).await.expecting(404);
    eventually(DEADLINE, "the absence is in Redis", async || {
        let text = get(&mut redis.clone(), &key(1, "genesys")).await;
        text.is_some_and(|text| text.contains("_absent"))
    })
    .await;
    fleet.replicas[1].get(absent).await.expecting(404);
    put_token(&fleet.replicas[2], 1, "another-made-up-token").await;
    for replica in &fleet.replicas {
        let read = replica.get(&full(1)).await.expecting(200);
        assert_eq!(read.json(), json!({"access_token": "another-made-up-token"}));
    }

    let text = filled(&mut redis, &key(2, "whatsapp")).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["version"], 2, "{document}");
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    assert!(keys.contains(&key(2, "whatsapp")), "{keys:?}");
    for key in &keys {
        let dump: Vec<u8> = ::redis::cmd("DUMP").arg(key).query_async(&mut redis).await.unwrap();
        let dump = String::from_utf8_lossy(&dump);
        assert!(!dump.contains("hunter2") && !dump.contains("access_token"), "{key}");
    }
}

#[tokio::test]
async fn what_was_moved_in_redis_is_never_served() {
    let (fleet, mut redis) = shared().await;
    let [_, second, third] = &fleet.replicas;
    let texts = [
        filled(&mut redis, &key(1, "whatsapp")).await,
        filled(&mut redis, &key(2, "whatsapp")).await,
    ];
    let genesys = "/api/tenants/t1/credentials/genesys";
    let version = texts[0].replacen("\"version\":2", "\"version\":1", 1);
    assert_ne!(version, texts[0]);
    let mut refused = forged(second).await;
    // To another tenant; to another version; under another type, where there is nothing.
    for (n, kind, moved) in [
        (1, "whatsapp", &texts[1]),
        (2, "whatsapp", &texts[0]),
        (3, "whatsapp", &texts[0]),
        (1, "genesys", &texts[0]),
    ] {
        set(&mut redis, &key(n, kind), moved).await;
        if kind == "genesys" {
            second.get(genesys).await.expecting(404);
        } else {
            let read = second.get(&full(n)).await.expecting(200);
            assert_eq!(read.cache_status(), "tenant-service; fwd=miss");
            let token = TOKENS.get(n - 1).unwrap_or(&"first-made-up-token");
            assert_eq!(read.json(), json!({ "access_token": token }));
        }
        let now = forged(second).await;
        assert!((now - refused - 1.0).abs() < 0.1, "{n} {kind}: {refused} and then {now}");
        refused = now;
        assert_eq!(get(&mut redis, &key(n, kind)).await, None, "it is not found again");
    }
    // What is no document of ours at all; and one of a key that the keyring does not have, which is
    // no reason to be alarmed.
    let before = forged(third).await;
    let id = texts[0].split("\"key_id\":\"").nth(1).unwrap()[..16].to_owned();
    let unknown = texts[0].replace(&id, "0123456789abcdef");
    let epoch = texts[0].split(",\"_revision\"").nth(1).unwrap();
    let nothing = format!("{{\"access_token\":\"forged-token\",\"_revision\"{epoch}");
    for (n, moved) in [(1, &version), (1, &unknown), (2, &nothing)] {
        set(&mut redis, &key(n, "whatsapp"), moved).await;
        if moved == &unknown {
            // The entry before it has filled this replica's memory.
            assert!((forged(third).await - before - 1.0).abs() < 0.1);
            put_token(&fleet.replicas[0], 1, TOKENS[0]).await;
            filled_again(&fleet.replicas[0], &mut redis).await;
            let text =
                filled(&mut redis, &key(1, "whatsapp")).await.replace(&id, "0123456789abcdef");
            set(&mut redis, &key(1, "whatsapp"), &text).await;
        }
        let read = third.get(&full(n)).await.expecting(200);
        assert_eq!(read.json(), json!({ "access_token": TOKENS[n - 1] }));
        assert_eq!(read.cache_status(), "tenant-service; fwd=miss");
    }
    assert!((forged(third).await - before - 1.0).abs() < 0.1);
}

async fn filled_again(replica: &Replica, redis: &mut MultiplexedConnection) {
    replica.get(&full(1)).await.expecting(200);
    filled(redis, &key(1, "whatsapp")).await;
}
