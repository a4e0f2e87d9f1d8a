use serde_json::{Value, json};

use super::{assert_problem, create, stores, tenant, variants};
use crate::harness::Replica;

#[tokio::test]
async fn a_name_is_enough_to_create_one() {
    for replica in stores().await {
        for path in variants("") {
            let answer =
                replica.post_json(&path, &json!({"name": "Only a name"})).await.expecting(201);
            let tenant = answer.json();
            let id = tenant["id"].as_str().unwrap();
            let digits = id.strip_prefix("t_").unwrap();
            assert!(digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
            let location = answer.header("location").unwrap();
            assert_eq!(location, format!("/api/tenants/{id}"));
            let found = replica.get(location).await.expecting(200);
            assert_eq!(found.json(), tenant);
            assert_eq!(found.header("etag"), answer.header("etag"));
            for (field, value) in
                [("status", json!("active")), ("settings", json!({})), ("email", Value::Null)]
            {
                assert_eq!(tenant[field], value, "{field}");
            }
            let fields: Vec<&str> =
                tenant.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(fields.len(), 12, "{fields:?}");
        }
    }
}

#[tokio::test]
async fn every_field_is_kept() {
    for replica in stores().await {
        let sent = json!({
            "id": "t.1_x-Y",
            "name": " Ünïcödé & Co ",
            "email": "ops@example.org",
            "status": "suspended",
            "phone_number_id": "00123",
            "display_phone_number": "+49 30 1234",
            "genesys_integration_id": "i-1",
            "genesys_org_id": "org",
            "genesys_region": "eu-central-1",
            "settings": {"a": {"b": [1, 2.5, null, "x"]}},
        });
        let created = create(&replica, sent.clone()).await;
        for (field, value) in sent.as_object().unwrap() {
            let expected = match field.as_str() {
                "name" => json!("Ünïcödé & Co"),
                "genesys_region" => json!("mypurecloud.de"),
                _ => value.clone(),
            };
            assert_eq!(created[field], expected, "{field}");
        }
        for field in ["created_at", "updated_at"] {
            assert!(created[field].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{field}");
        }
        for path in variants("/t.1_x-Y") {
            assert_eq!(replica.get_json(&path).await, created);
        }
    }
}

#[tokio::test]
async fn pages_are_by_age_and_can_be_filtered() {
    for replica in stores().await {
        let before = replica.get_json("/tenants").await["total"].as_u64().unwrap();
        for number in 0..5 {
            let status = if number == 3 { "suspended" } else { "active" };
            create(&replica, json!({"id": format!("p-{number}"), "name": "P", "status": status}))
                .await;
        }
        for path in variants("") {
            let answer = replica.get(&path).await.expecting(200);
            assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
            let page = answer.json();
            assert_eq!((&page["limit"], &page["offset"]), (&json!(50), &json!(0)));
            assert_eq!(page["total"], before + 5);
        }
        let ids = |page: &Value| {
            let tenants = page["tenants"].as_array().unwrap().iter();
            tenants.map(|tenant| tenant["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for path in variants(&format!("?limit=2&offset={}", before + 1)) {
            let page = replica.get_json(&path).await;
            assert_eq!(ids(&page), ["p-1", "p-2"]);
            assert_eq!((&page["limit"], &page["total"]), (&json!(2), &json!(before + 5)));
        }
        let page = replica.get_json("/tenants?status=suspended").await;
        assert_eq!((ids(&page), &page["total"]), (vec!["p-3".to_owned()], &json!(1)));
        let page = replica.get_json("/tenants?offset=1000000000").await;
        assert!(ids(&page).is_empty());
        assert_eq!(page["total"], before + 5);
        for query in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "offset=-1",
            "limit=ten",
            "limit=",
            "limit=1.5",
            "offset=99999999999999999999",
            "limit=1&limit=2",
            "page=1",
            "limit=%zz",
        ] {
            let answer = replica.get(&format!("/tenants?{query}")).await;
            assert_problem(&answer, 400, "invalid_query");
        }
        assert_problem(&replica.get("/tenants?status=gone").await, 400, "invalid_value");
    }
}

#[tokio::test]
async fn a_patch_keeps_what_is_absent_and_clears_what_is_null() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        let patches = [
            (
                "application/json",
                json!({"email": "a@example.org", "settings": {"a": 1, "b": {"c": 2}}}),
            ),
            (
                "application/merge-patch+json",
                json!({"settings": {"b": {"c": null, "d": 3}}, "genesys_region": "use1"}),
            ),
            (
                "application/merge-patch+json; charset=utf-8",
                json!({"email": null, "phone_number_id": null}),
            ),
            ("application/json", json!({})),
        ];
        let mut shown = Value::Null;
        for (path, (kind, patch)) in variants("/t-1").into_iter().zip(patches) {
            let call = replica.request(reqwest::Method::PATCH, &path).header("content-type", kind);
            let answer = call.body(patch.to_string()).await.expecting(200);
            shown = answer.json();
            let found = replica.get(&path).await.expecting(200);
            assert_eq!(
                (found.json(), found.header("etag")),
                (shown.clone(), answer.header("etag"))
            );
        }
        assert_eq!(shown["name"], "Name of t-1");
        assert!(shown["email"].is_null() && shown["phone_number_id"].is_null());
        assert_eq!(shown["genesys_region"], "mypurecloud.com");
        assert_eq!(shown["settings"], json!({"a": 1, "b": {"d": 3}}));
        assert_problem(&replica.get("/tenants/by-phone/4915").await, 404, "tenant_not_found");
        let cleared = replica.patch_json("/tenants/t-1", &json!({"settings": null})).await;
        assert_eq!(cleared.expecting(200).json()["settings"], json!({}));
        let absent = replica.patch_json("/tenants/absent", &json!({"name": "x"})).await;
        assert_problem(&absent, 404, "tenant_not_found");
    }
}

/// No patch is large, and together they may not be either.
#[tokio::test]
async fn settings_are_bounded_however_they_grow() {
    let (part, deep) =
        ("x".repeat(20 * 1024), |depth| (1..depth).fold(json!({}), |inner, _| json!({"a": inner})));
    for replica in stores().await {
        create(&replica, json!({"id": "t-1", "name": "T", "settings": deep(31)})).await;
        let patch = async |patch: Value| replica.patch_json("/tenants/t-1", &patch).await;
        for number in 0..3 {
            patch(json!({"settings": {format!("part-{number}"): part}})).await.expecting(200);
        }
        let before = replica.get("/tenants/t-1").await.expecting(200);
        for _ in 0..2 {
            let settings = json!({"part-3": part});
            let answer = patch(json!({"name": "New", "settings": settings})).await;
            assert_problem(&answer, 400, "invalid_value");
            let sentence = "settings: must not come to more than 64 KiB of JSON";
            assert_eq!(answer.json()["error"], sentence);
            let after = replica.get("/tenants/t-1").await.expecting(200);
            assert_eq!(
                (after.json(), after.header("etag")),
                (before.json(), before.header("etag"))
            );
        }
        // What it makes room for fits.
        patch(json!({"settings": {"part-0": null, "part-3": part}})).await.expecting(200);
        patch(json!({"name": "New"})).await.expecting(200);
        assert_problem(&patch(json!({"settings": deep(32)})).await, 400, "json_too_deep");
        // Four characters in the body are 18 in the settings.
        let numbers = vec!["1e15"; 6_000].join(",");
        let body = format!(r#"{{"id":"t-2","name":"T","settings":{{"a":[{numbers}]}}}}"#);
        let call = replica.request(reqwest::Method::POST, "/tenants");
        let answer = call.header("content-type", "application/json").body(body).await;
        assert_problem(&answer, 400, "invalid_value");
        assert_problem(&replica.get("/tenants/t-2").await, 404, "tenant_not_found");
    }
}

#[tokio::test]
async fn a_phone_number_moves_when_it_is_free() {
    for replica in stores().await {
        tenant(&replica, "a", "1").await;
        tenant(&replica, "b", "2").await;
        assert_eq!(replica.get_json("/tenants/by-phone/1").await["tenantId"], "a");
        let taken = replica.patch_json("/tenants/b", &json!({"phone_number_id": "1"})).await;
        assert_problem(&taken, 409, "conflict");
        replica.patch_json("/tenants/a", &json!({"phone_number_id": null})).await.expecting(200);
        replica.patch_json("/tenants/b", &json!({"phone_number_id": "1"})).await.expecting(200);
        assert_eq!(replica.get_json("/tenants/by-phone/1").await["tenantId"], "b");
        assert_problem(&replica.get("/tenants/by-phone/2").await, 404, "tenant_not_found");
    }
}

#[tokio::test]
async fn a_duplicate_is_a_conflict_that_names_the_field() {
    for replica in stores().await {
        tenant(&replica, "a", "1").await;
        for (field, body) in [
            ("id", json!({"id": "a", "name": "x"})),
            ("phone_number_id", json!({"name": "x", "phone_number_id": "1"})),
            (
                "genesys_integration_id",
                json!({"name": "x", "genesys_integration_id": "a-integration"}),
            ),
        ] {
            let answer = replica.post_json("/tenants", &body).await;
            assert_problem(&answer, 409, "conflict");
            assert_eq!(answer.json()["error"], format!("Another tenant has this {field}"));
        }
    }
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_with_all_that_it_had() {
    for replica in stores().await {
        for (number, path) in variants("/t-1").into_iter().enumerate() {
            tenant(&replica, "t-1", "4915").await;
            super::set(&replica, "t-1", "whatsapp", json!({"access_token": "x"})).await;
            replica.get("/tenants/by-phone/4915").await.expecting(200);
            let before = replica.get("/tenants/t-1").await.header("etag").unwrap().to_owned();
            let gone = replica.delete(&path).await.expecting(204);
            assert!(gone.body.is_empty() && gone.header("content-length").is_none());
            assert_problem(&replica.delete(&path).await, 404, "tenant_not_found");
            for (rest, code) in [
                ("by-phone/4915", "tenant_not_found"),
                ("t-1", "tenant_not_found"),
                ("t-1/credentials/whatsapp", "credentials_not_found"),
            ] {
                assert_problem(&replica.get(&format!("/tenants/{rest}")).await, 404, code);
            }
            // Created again, it has another revision: no old answer is mistaken for it.
            tenant(&replica, "t-1", "4915").await;
            let after = replica.get("/tenants/t-1").header("if-none-match", &before).await;
            after.expecting(200);
            replica.delete("/tenants/t-1").await.expecting(204);
            assert!(number < 4);
        }
    }
}

#[tokio::test]
async fn a_suspended_tenant_does_not_resolve_until_it_is_active_again() {
    let replica = Replica::builder().start().await;
    for (status, found) in [("active", 200), ("suspended", 404), ("active", 200)] {
        let patch = json!({"status": status});
        replica.patch_json("/tenants/demo-tenant-001", &patch).await.expecting(200);
        replica.get("/tenants/by-phone/123456789").await.expecting(found);
        replica.get("/tenants/by-integration/demo-integration-001").await.expecting(found);
    }
}

/// Only a write by hand can bring one about.
#[tokio::test]
async fn a_tenant_that_cannot_be_read_hides_no_other() {
    let [_, on] = stores().await;
    for (id, phone) in [("t-1", "1"), ("t-2", "2")] {
        tenant(&on, id, phone).await;
    }
    let database = on.database.as_ref().unwrap();
    let settings = r#"'{"n": 1e400}'"#;
    database.execute(&format!("UPDATE tenants SET settings = {settings} WHERE id = 't-1'")).await;
    let listed = on.get_json("/api/tenants").await;
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(listed["tenants"][0]["id"], "t-2");
    let line = on.wait_for_log(|line| line["tenant_id"] == "t-1").await;
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["error"], "unreadable row: tenants.settings");
    assert_eq!(on.get_json("/api/tenants/by-phone/1").await["tenantId"], "t-1");
    assert_problem(&on.get("/api/tenants/t-1").await, 500, "internal");
}
