//! Phones that move, tenants that are suspended and deleted, numbers that were absent.

use serde_json::json;

use super::fleet::{Fleet, by_integration, by_phone, full, put_token, resolves, tenant};
use crate::harness::Replica;

async fn everywhere(replicas: &[Replica], path: &str, to: Option<&str>) {
    for replica in replicas {
        resolves(replica, path, to).await;
        // And again, from cache.
        resolves(replica, path, to).await;
    }
}

#[tokio::test]
async fn a_phone_that_moves_resolves_to_its_new_tenant() {
    let Fleet { replicas, .. } = Fleet::start().await;
    for n in [1, 2] {
        replicas[0].post_json("/api/tenants", &tenant(n)).await.expecting(201);
    }
    for n in [1, 2] {
        everywhere(&replicas, &by_phone(n), Some(&format!("t{n}"))).await;
    }
    let taken = json!({"phone_number_id": "10001"});
    replicas[1].patch_json("/api/tenants/t2", &taken).await.expecting(409);
    everywhere(&replicas, &by_phone(2), Some("t2")).await;

    let none = json!({"phone_number_id": null});
    replicas[0].patch_json("/api/tenants/t1", &none).await.expecting(200);
    everywhere(&replicas, &by_phone(1), None).await;
    replicas[1].patch_json("/api/tenants/t2", &taken).await.expecting(200);
    everywhere(&replicas, &by_phone(1), Some("t2")).await;
    everywhere(&replicas, &by_phone(2), None).await;
}

#[tokio::test]
async fn a_suspended_tenant_resolves_to_nothing_and_comes_back() {
    let Fleet { replicas, .. } = Fleet::start().await;
    replicas[0].post_json("/api/tenants", &tenant(1)).await.expecting(201);
    put_token(&replicas[1], 1, "a-made-up-token").await;
    let paths = [by_phone(1), by_integration(1)];
    for status in ["active", "suspended", "active"] {
        let body = json!({"status": status});
        replicas[2].patch_json("/api/tenants/t1", &body).await.expecting(200);
        let active = status == "active";
        for path in &paths {
            everywhere(&replicas, path, active.then_some("t1")).await;
        }
        for replica in &replicas {
            let wanted = if active { 200 } else { 404 };
            super::fleet::sees(replica, &full(1), "credentials follow the status", |answer| {
                (answer.status == wanted).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_and_its_number_is_free() {
    let Fleet { replicas, .. } = Fleet::start().await;
    // Absence is cached first, on every replica.
    everywhere(&replicas, &by_phone(1), None).await;
    let created = replicas[0].post_json("/api/tenants", &tenant(1)).await.expecting(201);
    everywhere(&replicas, &by_phone(1), Some("t1")).await;
    put_token(&replicas[0], 1, "a-made-up-token").await;

    replicas[1].delete("/api/tenants/t1").await.expecting(204);
    for path in [by_phone(1), by_integration(1)] {
        everywhere(&replicas, &path, None).await;
    }
    replicas[1].delete("/api/tenants/t1").await.expecting(404);

    // The same id again: nothing of the old one is left, and its revision goes on.
    let again = replicas[2].post_json("/api/tenants", &tenant(1)).await.expecting(201);
    everywhere(&replicas, &by_phone(1), Some("t1")).await;
    let revision = |etag: Option<&str>| etag.unwrap().trim_matches('"').parse::<i64>().unwrap();
    assert!(revision(again.header("etag")) > revision(created.header("etag")));
    for replica in &replicas {
        super::fleet::sees(replica, &full(1), "no credentials are left", |answer| {
            (answer.status == 404).then_some(())
        })
        .await;
    }
    assert_eq!(put_token(&replicas[0], 1, "a-made-up-token").await.json()["version"], 1);
}
