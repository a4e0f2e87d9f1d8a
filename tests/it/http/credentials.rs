use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_problem, create, set, stores, tenant, variants};
use crate::harness::{Replica, eventually};

fn whatsapp() -> Value {
    json!({
        "access_token": "made-up-access-token-4567",
        "app_secret": "short",
        "phone_number_id": "4915",
        "business_account_id": "100",
        "nested": {"token": ["deep"]},
        "limit": 7,
    })
}

fn genesys() -> Value {
    json!({
        "clientId": "client",
        "clientSecret": "made-up-client-secret-8910",
        "region": "mypurecloud.de",
        "integrationId": "t-1-integration",
        "rateLimits": {"perMinute": 300},
    })
}

#[tokio::test]
async fn masked_by_default_and_full_on_request_under_every_path() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        set(&replica, "t-1", "whatsapp", whatsapp()).await;
        set(&replica, "t-1", "genesys", genesys()).await;
        for path in variants("/t-1/credentials?type=whatsapp") {
            let answer = replica.get(&path).await.expecting(200);
            let expected = json!({
                "access_token": "***4567",
                "app_secret": "***",
                "phone_number_id": "4915",
                "business_account_id": "100",
                "nested": {"token": ["***"]},
                "limit": "***",
            });
            assert_eq!(answer.json(), expected);
            assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
            assert!(answer.header("cache-status").is_some());
        }
        for path in variants("/t-1/credentials?type=genesys") {
            let masked = replica.get_json(&path).await;
            assert_eq!(masked["clientSecret"], "***8910");
            assert_eq!(masked["rateLimits"], json!({"perMinute": "***"}));
            assert_eq!(masked["region"], "mypurecloud.de");
        }
        for (kind, stored) in [("whatsapp", whatsapp()), ("genesys", genesys())] {
            for path in variants(&format!("/t-1/credentials/{kind}")) {
                let answer = replica.get(&path).await.expecting(200);
                assert_eq!(answer.json(), stored);
                assert_eq!(answer.header("cache-control"), Some("no-store"));
                assert!(answer.header("etag").is_some());
            }
        }
        for path in variants("/t-1/credentials/meta") {
            let answer = replica.get(&path).await.expecting(200);
            let expected = json!({
                "accessToken": "made-up-access-token-4567",
                "appSecret": "short",
                "phoneNumberId": "4915",
                "wabaId": "100",
            });
            assert_eq!(answer.json(), expected);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn put_and_post_set_them_and_count_versions() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        let body = json!({"type": "whatsapp", "credentials": {"access_token": "one"}});
        for (version, path) in (1..).zip(variants("/t-1/credentials")) {
            let answer = replica.put_json(&path, &body).await.expecting(200).json();
            let expected =
                json!({"message": "Credentials updated successfully", "version": version});
            assert_eq!(answer, expected);
        }
        let mut ids = Vec::new();
        for (version, path) in (5..).zip(variants("/t-1/credentials")) {
            let answer = replica.post_json(&path, &body).await.expecting(200).json();
            assert_eq!((&answer["success"], &answer["version"]), (&json!(true), &json!(version)));
            ids.push(answer["credentialId"].as_str().unwrap().to_owned());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "the credential is the same through its versions");
        // The types count for themselves.
        assert_eq!(set(&replica, "t-1", "genesys", genesys()).await["version"], 1);
        // A write replaces the whole object, and is seen at once by whoever made it.
        set(&replica, "t-1", "whatsapp", json!({"waba_id": "5"})).await;
        let full = replica.get_json("/tenants/t-1/credentials/whatsapp").await;
        assert_eq!(full, json!({"waba_id": "5"}));
        let meta = replica.get_json("/tenants/t-1/credentials/meta").await;
        let expected =
            json!({"accessToken": null, "appSecret": null, "phoneNumberId": null, "wabaId": "5"});
        assert_eq!(meta, expected);
    }
}

#[tokio::test]
async fn genesys_credentials_set_the_tenants_integration_and_region() {
    for replica in stores().await {
        create(&replica, json!({"id": "t-1", "name": "T"})).await;
        let body = json!({
            "clientId": "client",
            "clientSecret": "made-up-client-secret-8910",
            "region": "APS1",
            "integrationId": "moved",
        });
        for path in variants("/t-1/genesys/credentials") {
            let answer = replica.put_json(&path, &body).await.expecting(200).json();
            assert!(answer["message"].is_string());
            let expected = json!({"id": "t-1", "name": "T", "genesysRegion": "aps1.pure.cloud"});
            assert_eq!(answer["tenant"], expected);
        }
        for path in variants("/t-1/genesys/credentials") {
            let answer = replica.get(&path).await.expecting(200);
            let expected = json!({
                "configured": true,
                "clientId": "client",
                "clientSecret": "***8910",
                "region": "aps1.pure.cloud",
                "integrationId": "moved",
            });
            assert_eq!(answer.json(), expected);
            assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        }
        let stored = replica.get_json("/tenants/t-1/credentials/genesys").await;
        assert_eq!(stored["region"], "aps1.pure.cloud");
        assert_eq!(stored.as_object().unwrap().len(), 4, "{stored}");
        let tenant = replica.get_json("/tenants/t-1").await;
        assert_eq!(tenant["genesys_integration_id"], "moved");
        assert_eq!(tenant["genesys_region"], "aps1.pure.cloud");
        assert_eq!(replica.get_json("/tenants/by-integration/moved").await["tenantId"], "t-1");
        // With the optional secret, which is none of the summary's business.
        let mut body = body;
        body["webhookSecret"] = "made-up-webhook-secret-1112".into();
        replica.put_json("/tenants/t-1/genesys/credentials", &body).await.expecting(200);
        let stored = replica.get_json("/tenants/t-1/credentials/genesys").await;
        assert_eq!(stored["webhookSecret"], "made-up-webhook-secret-1112");
        let summary = replica.get("/tenants/t-1/genesys/credentials").await.expecting(200);
        assert!(!summary.text().contains("webhook"));
    }
}

/// Clients build URLs of the region, whichever way it came here.
#[tokio::test]
async fn the_generic_write_keeps_a_region_by_its_domain_as_well() {
    let methods = [reqwest::Method::PUT, reqwest::Method::POST];
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        for (method, region) in
            methods.iter().cycle().zip(["APS1", "ap-south-1", "aps1.pure.cloud"])
        {
            let body =
                json!({"type": "genesys", "credentials": {"clientId": "c", "region": region}});
            let call = replica.request(method.clone(), "/tenants/t-1/credentials").json(&body);
            call.await.expecting(200);
            let expected = json!({"clientId": "c", "region": "aps1.pure.cloud"});
            assert_eq!(replica.get_json("/tenants/t-1/credentials/genesys").await, expected);
            let masked = replica.get_json("/tenants/t-1/credentials?type=genesys").await;
            assert_eq!(masked["region"], "aps1.pure.cloud");
            let summary = replica.get_json("/tenants/t-1/genesys/credentials").await;
            assert_eq!(summary["region"], "aps1.pure.cloud");
        }
        // Both refuse what is none, in the same words.
        let good =
            json!({"clientId": "c", "clientSecret": "s", "region": "aps1", "integrationId": "i"});
        for (field, value) in [("region", "mypurecloud.hunter2"), ("integrationId", "hunter2 b")] {
            let mut credentials = good.clone();
            credentials[field] = value.into();
            let of_genesys =
                replica.put_json("/tenants/t-1/genesys/credentials", &credentials).await;
            assert_problem(&of_genesys, 400, "invalid_value");
            let sentence = of_genesys.json()["error"].as_str().unwrap().to_owned();
            let body = json!({"type": "genesys", "credentials": credentials});
            for method in &methods {
                let call = replica.request(method.clone(), "/tenants/t-1/credentials").json(&body);
                let answer = call.await;
                assert_problem(&answer, 400, "invalid_value");
                assert_eq!(answer.json()["error"], format!("credentials.{sentence}"));
                assert!(!answer.text().contains("hunter2"));
            }
        }
        let expected = json!({"clientId": "c", "region": "aps1.pure.cloud"});
        assert_eq!(replica.get_json("/tenants/t-1/credentials/genesys").await, expected);
    }
}

#[tokio::test]
async fn the_generic_write_does_not_change_the_tenant() {
    for replica in stores().await {
        let before = tenant(&replica, "t-1", "4915").await;
        set(
            &replica,
            "t-1",
            "genesys",
            json!({"clientId": "c", "region": "mypurecloud.ie", "integrationId": "other"}),
        )
        .await;
        let mut after = replica.get_json("/tenants/t-1").await;
        after["updated_at"] = before["updated_at"].clone();
        assert_eq!(after, before);
        assert_problem(
            &replica.get("/tenants/by-integration/other").await,
            404,
            "tenant_not_found",
        );
    }
}

#[tokio::test]
async fn an_integration_of_another_tenant_is_a_conflict_and_sets_nothing() {
    for replica in stores().await {
        tenant(&replica, "a", "1").await;
        tenant(&replica, "b", "2").await;
        set(&replica, "b", "genesys", genesys()).await;
        let before = replica.get_json("/tenants/b").await;
        let body = json!({"clientId": "c", "clientSecret": "s", "region": "aps1", "integrationId": "a-integration"});
        let answer = replica.put_json("/tenants/b/genesys/credentials", &body).await;
        assert_problem(&answer, 409, "conflict");
        assert!(answer.text().contains("genesys_integration_id"), "{}", answer.text());
        assert_eq!(replica.get_json("/tenants/b/credentials/genesys").await, genesys());
        assert_eq!(replica.get_json("/tenants/b").await, before);
    }
}

#[tokio::test]
async fn what_is_absent_or_suspended_has_none() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        let paths = [
            "/credentials?type=whatsapp",
            "/credentials?type=genesys",
            "/credentials/whatsapp",
            "/credentials/genesys",
            "/credentials/meta",
            "/genesys/credentials",
        ];
        for rest in paths {
            let answer = replica.get(&format!("/tenants/t-1{rest}")).await;
            assert_problem(&answer, 404, "credentials_not_found");
            let answer = replica.get(&format!("/tenants/absent{rest}")).await;
            assert_problem(&answer, 404, "credentials_not_found");
        }
        set(&replica, "t-1", "whatsapp", whatsapp()).await;
        set(&replica, "t-1", "genesys", genesys()).await;
        for rest in paths {
            replica.get(&format!("/tenants/t-1{rest}")).await.expecting(200);
        }
        replica.patch_json("/tenants/t-1", &json!({"status": "suspended"})).await.expecting(200);
        for rest in paths {
            let answer = replica.get(&format!("/tenants/t-1{rest}")).await;
            assert_problem(&answer, 404, "credentials_not_found");
        }
        replica.patch_json("/tenants/t-1", &json!({"status": "active"})).await.expecting(200);
        assert_eq!(replica.get_json("/tenants/t-1/credentials/genesys").await, genesys());
        let body = json!({"type": "whatsapp", "credentials": {"access_token": "x"}});
        for answer in [
            replica.put_json("/tenants/absent/credentials", &body).await,
            replica.post_json("/tenants/absent/credentials", &body).await,
        ] {
            assert_problem(&answer, 404, "tenant_not_found");
        }
    }
}

#[tokio::test]
async fn a_type_has_to_be_one() {
    let replica = Replica::builder().start().await;
    for (query, code) in [
        ("", "invalid_value"),
        ("?type", "invalid_value"),
        ("?type=", "invalid_value"),
        ("?type=sip", "invalid_value"),
        ("?type=WhatsApp", "invalid_value"),
        ("?kind=whatsapp", "invalid_query"),
        ("?type=whatsapp&type=genesys", "invalid_query"),
    ] {
        let answer = replica.get(&format!("/tenants/demo-tenant-001/credentials{query}")).await;
        assert_problem(&answer, 400, code);
    }
    let answer = replica.get("/tenants/demo-tenant-001/credentials/sip").await;
    assert_problem(&answer, 400, "invalid_value");
}

/// What was sent comes back to the last digit, also what is at the end of a number's range.
#[tokio::test]
async fn numbers_are_passed_through() {
    for on in stores().await {
        let replica = &on.replica;
        tenant(replica, "numbers", "77").await;
        let sent = json!({"clientId": "a", "retry": {
            "most": f64::MAX, "odd": 0.942_450_283_777_050_3, "low": 5e-324, "int": i64::MIN,
        }});
        set(replica, "numbers", "genesys", sent.clone()).await;
        let path = "/api/tenants/numbers/credentials/genesys";
        assert_eq!(replica.get_json(path).await, sent);
    }
}

/// What can't come back as it was sent is not taken, instead of rounded.
#[tokio::test]
async fn a_number_that_would_be_rounded_is_refused() {
    for on in stores().await {
        let replica = &on.replica;
        tenant(replica, "digits", "78").await;
        let kept = [
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1.7976931348623157e+308",
            "5e-324",
        ];
        let rounded = [
            "18446744073709551616",
            "-9223372036854775809",
            "0.1000000000000000055",
            "1e400",
            "1e-400",
        ];
        let put = |number: &str| {
            let body = format!(
                r#"{{"type": "genesys", "credentials": {{"clientId": "a", "n": [{number}]}}}}"#
            );
            let call = replica.request(reqwest::Method::PUT, "/tenants/digits/credentials");
            call.header("content-type", "application/json").body(body)
        };
        for number in kept {
            put(number).await.expecting(200);
            let shown = replica.get("/tenants/digits/credentials/genesys").await.expecting(200);
            assert_eq!(shown.text(), format!(r#"{{"clientId":"a","n":[{number}]}}"#));
        }
        for number in rounded {
            let problem = put(number).await.expecting(400).json();
            assert_eq!(problem["code"], "invalid_body", "{number}");
            assert!(problem["detail"].as_str().unwrap().contains("send it as text"), "{problem}");
            assert!(!problem.to_string().contains(number));
        }
        let body = r#"{"settings": {"n": 1e400}}"#;
        let patch = replica.request(reqwest::Method::PATCH, "/tenants/digits");
        patch.header("content-type", "application/json").body(body).await.expecting(400);
    }
}

#[tokio::test]
async fn where_the_audit_trail_ends_is_on_record_whatever_is_logged() {
    let replica =
        Replica::builder().env("RUST_LOG", "error,tenant_service::app=info").start().await;
    replica.get("/api/tenants/demo-tenant-001/credentials/genesys").await.expecting(200);
    let told = |line: &Value| line["message"] == "the audit trail is chained up to here";
    let line = replica.wait_for_log(told).await;
    assert!(line["number"].is_number() && line["hash"].is_string(), "{line}");
}

#[tokio::test]
async fn every_reveal_is_audited_and_nothing_that_is_revealed_is_logged() {
    let replica = Replica::builder().start().await;
    let paths = ["credentials/whatsapp", "credentials/genesys", "credentials/meta"];
    for (number, path) in paths.iter().enumerate() {
        let id = format!("reveal-{number}");
        let path = format!("/tenants/demo-tenant-001/{path}");
        replica.get(&path).header("x-request-id", &id).await.expecting(200);
    }
    replica.get("/tenants/demo-tenant-001/credentials?type=whatsapp").await.expecting(200);
    let absent = replica.get("/tenants/absent/credentials/whatsapp");
    absent.header("x-request-id", "reveal-3").await.expecting(404);
    // In the order of the chain; a mask is no reveal.
    let path = "/api/audit?action=credentials.reveal&order=oldest";
    let entries = eventually(Duration::from_secs(30), "they are chained", async || {
        let page = replica.get_json(path).await;
        page["entries"].as_array().filter(|entries| entries.len() == 4).cloned()
    })
    .await;
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry["request_id"], format!("reveal-{number}"));
        let (tenant, outcome) =
            if number < 3 { ("demo-tenant-001", "ok") } else { ("absent", "not_found") };
        assert_eq!((&entry["tenant_id"], &entry["outcome"]), (&json!(tenant), &json!(outcome)));
    }
    let whole = replica.process.stdout.text() + &replica.process.stderr.text();
    for secret in ["not-a-real", "access_token", "demo-client-id"] {
        assert!(!whole.contains(secret), "{secret} is in the log");
    }
}
