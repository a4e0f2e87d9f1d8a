//! The README's tour, and the verification steps of the service that this one replaces.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Postgres, Redis, Replica, eventually, run_cli};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_embedded_default_has_a_demo_tenant() {
    let replica = Replica::builder().without_env("ANONYMOUS_SCOPES").start().await;

    let tenant = json!({
        "id": "demo-tenant-001",
        "tenantId": "demo-tenant-001",
        "name": "Demo Organization",
        "phone_number_id": "123456789",
        "genesys_integration_id": "demo-integration-001",
        "status": "active",
    });
    let by_phone = "/api/tenants/by-phone/123456789";
    assert_eq!(replica.get_json(by_phone).await, tenant);
    let again = replica.get(by_phone).await.expecting(200);
    assert_eq!(again.cache_status(), "tenant-service; hit; detail=l1");
    let by_integration = "/api/tenants/by-integration/demo-integration-001";
    assert_eq!(replica.get_json(by_integration).await, tenant);

    let path = "/api/tenants/demo-tenant-001/credentials";
    let whatsapp = replica.get_json(&format!("{path}?type=whatsapp")).await;
    assert_eq!(whatsapp["access_token"], "***4567");
    assert_eq!(whatsapp["phone_number_id"], "123456789");
    let genesys = replica.get_json(&format!("{path}?type=genesys")).await;
    assert_eq!(genesys["clientId"], "demo-client-id");
    assert_eq!(genesys["clientSecret"], "***8910");

    let body = json!({
        "type": "whatsapp",
        "credentials": {"access_token": "NEW_TOKEN", "phone_number_id": "123456789"},
    });
    let answer = replica.put_json(path, &body).await.expecting(200).json();
    assert_eq!(answer, json!({"message": "Credentials updated successfully", "version": 2}));
    let meta = replica.get_json(&format!("{path}/meta")).await;
    assert_eq!(meta["accessToken"], "NEW_TOKEN");
    let whatsapp = replica.get_json(&format!("{path}?type=whatsapp")).await;
    assert_eq!(whatsapp, json!({"access_token": "***", "phone_number_id": "123456789"}));
}

#[tokio::test]
async fn with_postgres_and_redis_the_second_lookup_is_a_hit() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let environment = [("DATABASE_URL", database.url.as_str())];
    run_cli(&["seed"], &environment).await.expecting(0);
    let replica = Replica::builder().database(&database).redis(&redis).start().await;

    let by_phone = "/api/tenants/by-phone/123456789";
    let first = replica.get(by_phone).await.expecting(200);
    assert_eq!(first.cache_status(), "tenant-service; fwd=miss");
    let mut connection = redis.connection().await;
    let text = eventually(DEADLINE, "redis-cli get phone:123456789", async || {
        let get = ::redis::cmd("GET").arg("phone:123456789").to_owned();
        let text: Option<String> = get.query_async(&mut connection).await.unwrap();
        text.filter(|text| text.starts_with(r#"{"id":"demo-tenant-001""#))
    })
    .await;
    let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stored["name"], "Demo Organization");

    let second = replica.get(by_phone).await.expecting(200);
    assert_eq!(second.cache_status(), "tenant-service; hit; detail=l1");
    let hit = [("tier", "l1"), ("kind", "phone"), ("outcome", "hit")];
    let metrics = replica.metrics().await;
    assert!(metrics.value("tenant_cache_requests_total", &hit) >= 1.0);
    replica.wait_for_log(|line| line["message"] == "request" && line["cache"] == "l1").await;

    // Another replica finds it in Redis. Absence is shared as well, and so are credentials, sealed.
    let other = Replica::builder().database(&database).redis(&redis).start().await;
    for credentials in ["whatsapp", "genesys"] {
        let path = format!("/api/tenants/demo-tenant-001/credentials/{credentials}");
        other.get(&path).await.expecting(200);
    }
    replica.get("/api/tenants/by-phone/404").await.expecting(404);
    eventually(DEADLINE, "the absence is a hit of L2", async || {
        other.get("/api/tenants/by-phone/404").await.expecting(404);
        let labels = [("tier", "l2"), ("kind", "phone"), ("outcome", "negative_hit")];
        other.metrics().await.value("tenant_cache_requests_total", &labels) >= 1.0
    })
    .await;
    let get = ::redis::cmd("GET").arg("tenant:demo-tenant-001:credentials:genesys").to_owned();
    let kept: String = get.query_async(&mut connection).await.unwrap();
    assert!(kept.contains("\"wrapped_key\"") && !kept.contains("clientId"), "{kept}");
}

#[tokio::test]
async fn a_prefix_stands_before_every_key_and_channel() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    run_cli(&["seed"], &[("DATABASE_URL", database.url.as_str())]).await.expecting(0);
    let builder = Replica::builder().database(&database).redis(&redis).env("REDIS_PREFIX", "p7:");
    let replica = builder.start().await;
    replica.get("/api/tenants/by-phone/123456789").await.expecting(200);
    let mut connection = redis.connection().await;
    eventually(DEADLINE, "the tenant stands under its prefixed key", async || {
        let exists = ::redis::cmd("EXISTS").arg("p7:phone:123456789").to_owned();
        let found: bool = exists.query_async(&mut connection).await.unwrap();
        found
    })
    .await;
    let keys: Vec<String> =
        ::redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert!(keys.iter().all(|key| key.starts_with("p7:")), "{keys:?}");
    eventually(DEADLINE, "the channel has a subscriber", async || {
        let channels = ::redis::cmd("PUBSUB").arg("CHANNELS").to_owned();
        let mut channels: Vec<String> = channels.query_async(&mut connection).await.unwrap();
        channels.sort();
        let [acknowledgements, changes] = &channels[..] else { return Err(channels) };
        let are_ours = acknowledgements.starts_with("p7:tenant_acks:");
        if are_ours && changes == "p7:tenant_changes" { Ok(()) } else { Err(channels) }
    })
    .await;
}
