use serde_json::json;

use super::{assert_problem, create, stores, tenant, variants};
use crate::harness::Replica;

#[tokio::test]
async fn a_tenant_is_found_by_phone_and_integration_under_every_path() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        let expected = json!({
            "id": "t-1",
            "tenantId": "t-1",
            "name": "Name of t-1",
            "phone_number_id": "4915",
            "genesys_integration_id": "t-1-integration",
            "status": "active",
        });
        for rest in ["/by-phone/4915", "/by-integration/t-1-integration"] {
            for path in variants(rest) {
                let answer = replica.get(&path).await.expecting(200);
                assert_eq!(answer.json(), expected, "{path}");
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
                assert!(answer.header("etag").is_some());
            }
        }
    }
}

#[tokio::test]
async fn fields_that_a_tenant_does_not_have_are_null() {
    let replica = Replica::builder().start().await;
    create(&replica, json!({"id": "t", "name": "T", "phone_number_id": "5"})).await;
    let found = replica.get_json("/tenants/by-phone/5").await;
    assert!(found["genesys_integration_id"].is_null() && found.get("genesys_org_id").is_none());
}

#[tokio::test]
async fn the_first_answer_is_a_miss_and_the_second_a_hit_even_of_an_absence() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        for (path, status) in [
            ("/tenants/by-phone/4915", 200),
            ("/tenants/by-integration/t-1-integration", 200),
            ("/tenants/t-1", 200),
            ("/tenants/by-phone/404", 404),
            ("/tenants/by-integration/absent", 404),
            ("/tenants/absent", 404),
            ("/tenants/t-1/credentials?type=genesys", 404),
            ("/tenants/t-1/credentials/whatsapp", 404),
        ] {
            let first = replica.get(path).await.expecting(status);
            assert_eq!(first.cache_status(), "tenant-service; fwd=miss", "{path}");
            let second = replica.get(path).await.expecting(status);
            assert_eq!(second.cache_status(), "tenant-service; hit; detail=l1", "{path}");
            assert_eq!(second.header("cache-control"), Some("private, no-cache"), "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_absent_or_suspended_is_not_found() {
    for replica in stores().await {
        create(&replica, json!({"id": "s", "name": "S", "phone_number_id": "7", "genesys_integration_id": "i", "status": "suspended"})).await;
        for path in ["/tenants/by-phone/7", "/tenants/by-integration/i", "/tenants/by-phone/8"] {
            let answer = replica.get(path).await;
            assert_problem(&answer, 404, "tenant_not_found");
            assert_eq!(answer.json()["error"], "Tenant not found");
        }
        // The tenant itself is there.
        assert_eq!(replica.get_json("/tenants/s").await["status"], "suspended");
    }
}

#[tokio::test]
async fn the_entity_tag_is_the_revision() {
    for replica in stores().await {
        let created = tenant(&replica, "t-1", "4915").await;
        assert_eq!(created["id"], "t-1");
        for path in
            ["/tenants/by-phone/4915", "/tenants/by-integration/t-1-integration", "/tenants/t-1"]
        {
            let answer = replica.get(path).await.expecting(200);
            let tag = answer.header("etag").unwrap().to_owned();
            assert!(tag.trim_matches('"').parse::<u64>().is_ok(), "{tag}");
            for known in [tag.clone(), format!("W/{tag}"), format!("\"0\", {tag}"), "*".into()] {
                let same = replica.get(path).header("if-none-match", &known).await.expecting(304);
                assert!(same.body.is_empty());
                assert_eq!(same.header("etag"), Some(tag.as_str()));
                assert_eq!(same.header("cache-control"), Some("private, no-cache"));
                assert_eq!(same.cache_status(), "tenant-service; hit; detail=l1");
                assert_eq!(same.header("content-type"), None);
                let head = replica.request(reqwest::Method::HEAD, path);
                head.header("if-none-match", &known).await.expecting(304);
            }
            let lines = replica.get(path).header("if-none-match", "\"0\"");
            lines.header("if-none-match", &tag).await.expecting(304);
            let other = replica.get(path).header("if-none-match", "\"0\"").await;
            assert_eq!(other.expecting(200).body, answer.body);
        }
        let before = replica.get("/tenants/t-1").await.header("etag").unwrap().to_owned();
        replica.patch_json("/tenants/t-1", &json!({"name": "New"})).await.expecting(200);
        let changed = replica.get("/tenants/by-phone/4915").header("if-none-match", &before).await;
        assert_eq!(changed.expecting(200).json()["name"], "New");
    }
}

#[tokio::test]
async fn ids_that_are_none_are_refused() {
    let replica = Replica::builder().start().await;
    for id in ["abc", "+49", "%20", "1%00", "1".repeat(33).as_str(), "%F0%9F%98%80"] {
        for path in variants(&format!("/by-phone/{id}")) {
            assert_problem(&replica.get(&path).await, 400, "invalid_value");
        }
    }
    for id in ["a%20b", "%00", "a%0Ab", "i".repeat(129).as_str(), "%C3%A9"] {
        let answer = replica.get(&format!("/tenants/by-integration/{id}")).await;
        assert_problem(&answer, 400, "invalid_value");
    }
    // Encoded characters are decoded: this one is a slash in the id.
    let id = json!({"id": "t-1", "name": "T", "phone_number_id": "491", "genesys_integration_id": "a/b"});
    create(&replica, id).await;
    for path in ["/tenants/by-integration/a%2Fb", "/tenants/by-phone/%34%39%31", "/tenants/t%2d1"] {
        assert_eq!(replica.get_json(path).await["id"], "t-1", "{path}");
    }
}
