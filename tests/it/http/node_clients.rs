//! The existing clients' calls, word for word, and each field that they read.

use serde_json::json;

use crate::harness::Replica;

/// As an operator runs it for them: they send no token.
async fn replica() -> Replica {
    let scopes = "lookup:read,credentials:reveal";
    Replica::builder().env("ANONYMOUS_SCOPES", scopes).start().await
}

#[tokio::test]
async fn auth_service() {
    let replica = replica().await;
    let genesys = replica.get_json("/tenants/demo-tenant-001/credentials/genesys").await;
    assert_eq!(genesys["clientId"], "demo-client-id");
    assert_eq!(genesys["clientSecret"], "not-a-real-client-secret-8910");
    assert_eq!(genesys["region"], "mypurecloud.com");
    let whatsapp = replica.get_json("/tenants/demo-tenant-001/credentials/whatsapp").await;
    assert_eq!(whatsapp["access_token"], "not-a-real-access-token-1234567");
    let health = replica.get_json("/health").await;
    assert_eq!(health["status"], "ok");
}

#[tokio::test]
async fn whatsapp_webhook_service() {
    let replica = replica().await;
    let found = replica.get_json("/tenants/by-phone/123456789").await;
    assert_eq!(found["tenantId"], "demo-tenant-001");
    let meta = replica.get_json("/api/tenants/demo-tenant-001/credentials/meta").await;
    assert_eq!(meta["accessToken"], "not-a-real-access-token-1234567");
    assert_eq!(meta["appSecret"], "not-a-real-app-secret-0000");
}

#[tokio::test]
async fn whatsapp_api_service() {
    let replica = replica().await;
    let meta = replica.get_json("/tenants/demo-tenant-001/credentials/meta").await;
    assert_eq!(meta["accessToken"], "not-a-real-access-token-1234567");
}

#[tokio::test]
async fn genesys_webhook_service() {
    let replica = replica().await;
    let found = replica.get_json("/api/tenants/by-integration/demo-integration-001").await;
    assert_eq!(found["tenantId"], "demo-tenant-001");
    let genesys = replica.get_json("/api/tenants/demo-tenant-001/credentials/genesys").await;
    assert_eq!(genesys["webhookSecret"], "not-a-real-webhook-secret-1112");
}

#[tokio::test]
async fn genesys_api_service() {
    let replica = Replica::builder().start().await;
    let objects = json!({
        "rateLimits": {"requestsPerMinute": 300},
        "retry": {"attempts": 3, "backoffMs": [100, 200]},
        "timeout": {"connect": 1.5},
    });
    let path = "/api/tenants/demo-tenant-001/credentials/genesys";
    let plain = replica.get_json(path).await;
    assert_eq!(plain["integrationId"], "demo-integration-001");
    for name in ["clientId", "clientSecret", "region"] {
        assert!(plain[name].is_string(), "{name}");
    }
    for name in ["rateLimits", "retry", "timeout"] {
        assert!(plain.get(name).is_none(), "{name}");
    }
    // The optional objects are passed through as they were set.
    let mut full = plain.clone();
    full.as_object_mut().unwrap().extend(objects.as_object().unwrap().clone());
    super::set(&replica, "demo-tenant-001", "genesys", full.clone()).await;
    assert_eq!(replica.get_json(path).await, full);
}

#[tokio::test]
async fn what_they_read_of_an_error_is_a_sentence() {
    let replica = replica().await;
    let answer = replica.get("/tenants/by-phone/404").await.expecting(404).json();
    assert_eq!(answer["error"], "Tenant not found");
    let answer = replica.get("/tenants/absent/credentials/genesys").await.expecting(404).json();
    assert!(answer["error"].is_string());
}
