//! Requests that are refused, each with its code; and that a refused one changes nothing.

use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_problem, set, stores, tenant};
use crate::harness::{Answer, Replica};

/// What a caller must never find in an answer.
const SENT: &str = "hunter2";

/// Everything that there is to see of a tenant.
async fn everything(replica: &Replica) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in [
        "/tenants",
        "/tenants/t-1",
        "/tenants/t-1/credentials/whatsapp",
        "/tenants/t-1/credentials/genesys",
        "/tenants/by-phone/4915",
    ] {
        seen.push(replica.get(path).await.expecting(200).json());
    }
    seen
}

async fn prepared(replica: &Replica) {
    tenant(replica, "t-1", "4915").await;
    tenant(replica, "t-2", "4916").await;
    set(replica, "t-1", "whatsapp", json!({"access_token": "kept", "phone_number_id": "4915"}))
        .await;
    set(replica, "t-1", "genesys", json!({"clientId": "kept", "clientSecret": "kept"})).await;
}

/// The version that the next write of whatsapp credentials gets.
async fn next_version(replica: &Replica) -> Value {
    set(replica, "t-1", "whatsapp", json!({"access_token": "kept", "phone_number_id": "4915"}))
        .await["version"]
        .clone()
}

async fn send(replica: &Replica, method: &Method, path: &str, kind: &str, body: &[u8]) -> Answer {
    let call = replica.request(method.clone(), path).header("content-type", kind);
    call.body(body.to_vec()).await
}

#[track_caller]
fn assert_silent(answer: &Answer) {
    assert!(!answer.text().contains(SENT), "{}", answer.text());
}

/// The operations that take a body, each with one that it would accept.
fn writes() -> [(Method, &'static str, Value); 5] {
    let set = json!({"type": "whatsapp", "credentials": {"access_token": "new"}});
    let genesys =
        json!({"clientId": "c", "clientSecret": "s", "region": "aps1", "integrationId": "i"});
    [
        (Method::PUT, "/tenants/t-1/credentials", set.clone()),
        (Method::POST, "/tenants/t-1/credentials", set),
        (Method::PUT, "/tenants/t-1/genesys/credentials", genesys),
        (Method::POST, "/tenants", json!({"name": "new"})),
        (Method::PATCH, "/tenants/t-1", json!({"name": "new"})),
    ]
}

#[tokio::test]
async fn bodies_that_are_no_json_object_change_nothing() {
    for replica in stores().await {
        prepared(&replica).await;
        let before = everything(&replica).await;
        let version = next_version(&replica).await.as_i64().unwrap();
        let deep = format!(r#"{{"settings":{}}}"#, "[".repeat(40) + &"]".repeat(40));
        let bomb = "[".repeat(60_000);
        let twice = format!(r#"{{"name":"{SENT}","name":"{SENT}"}}"#);
        let nul = format!(r#"{{"type":"whatsapp","credentials":{{"a":"{SENT}\u0000"}}}}"#);
        let cases: [(&[u8], &str); 17] = [
            (b"", "malformed_json"),
            (b"hunter2", "malformed_json"),
            (b"{\"hunter2\"", "malformed_json"),
            (b"{\"hunter2\": hunter2}", "malformed_json"),
            (b"{'type': 'hunter2'}", "malformed_json"),
            (b"{}{}", "malformed_json"),
            (b"{\"a\": \"\xff\xfe\"}", "malformed_json"),
            // A byte order mark, half a surrogate pair, one as UTF-8, and a comment.
            (b"\xef\xbb\xbf{\"name\": \"hunter2\"}", "malformed_json"),
            (b"{\"name\": \"hunter2\\ud83d\"}", "malformed_json"),
            (b"{\"name\": \"hunter2\xed\xa0\x80\"}", "malformed_json"),
            (b"{\"name\": \"hunter2\" /* x */}", "malformed_json"),
            (deep.as_bytes(), "json_too_deep"),
            (bomb.as_bytes(), "json_too_deep"),
            (twice.as_bytes(), "invalid_body"),
            (nul.as_bytes(), "invalid_body"),
            (b"[\"hunter2\"]", "invalid_body"),
            (b"\"hunter2\"", "invalid_body"),
        ];
        for (method, path, _) in writes() {
            for (body, code) in cases {
                let answer = send(&replica, &method, path, "application/json", body).await;
                assert_problem(&answer, 400, code);
                assert_silent(&answer);
            }
            let answer = send(&replica, &method, path, "application/json", b"null").await;
            assert_problem(&answer, 400, "invalid_body");
        }
        assert_eq!(everything(&replica).await, before);
        assert_eq!(next_version(&replica).await, version + 1, "no version was used up");
    }
}

#[tokio::test]
async fn bodies_of_another_type_or_size_change_nothing() {
    for replica in stores().await {
        prepared(&replica).await;
        let before = everything(&replica).await;
        for (method, path, body) in writes() {
            let text = body.to_string();
            for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
            {
                let answer = send(&replica, &method, path, kind, text.as_bytes()).await;
                assert_problem(&answer, 415, "unsupported_media_type");
            }
            let untyped = replica.request(method.clone(), path).body(text.clone()).await;
            assert_problem(&untyped, 415, "unsupported_media_type");
            if method != Method::PATCH {
                let kind = "application/merge-patch+json";
                let answer = send(&replica, &method, path, kind, text.as_bytes()).await;
                assert_problem(&answer, 415, "unsupported_media_type");
            }
            let call = replica.request(method.clone(), path).header("content-encoding", "gzip");
            assert_problem(&call.json(&body).await, 415, "unsupported_media_type");
            let call =
                replica.request(method.clone(), path).header("content-type", "application/json");
            let call = call.header("content-type", "text/plain").body(text.clone());
            assert_problem(&call.await, 415, "unsupported_media_type");
            // Padding that a parser would ignore.
            let large = text + &" ".repeat(64 * 1024);
            let answer = send(&replica, &method, path, "application/json", large.as_bytes()).await;
            assert_problem(&answer, 413, "body_too_large");
        }
        assert_eq!(everything(&replica).await, before);
    }
}

#[tokio::test]
async fn media_types_and_codings_are_compared_as_such() {
    let replica = Replica::builder().start().await;
    let path = "/tenants/demo-tenant-001/credentials";
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "new"}}).to_string();
    for kind in ["APPLICATION/JSON", "application/json;charset=UTF-8", "application/json ; a=\"b\""]
    {
        let call = replica.request(Method::PUT, path).header("content-type", kind);
        call.header("content-encoding", "Identity").body(body.clone()).await.expecting(200);
    }
    for kind in ["Application/Merge-Patch+JSON", "application/merge-patch+json; charset=utf-8"] {
        let call = replica.request(Method::PATCH, "/tenants/demo-tenant-001");
        let answer = call.header("content-type", kind).body(r#"{"name": "\ud83d\ude00"}"#).await;
        assert_eq!(answer.expecting(200).json()["name"], "😀", "both halves of a pair are one");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_accepted() {
    let replica = Replica::builder().start().await;
    let mut body = json!({"name": "large"}).to_string();
    body += &" ".repeat(64 * 1024 - body.len());
    let kind = "application/json";
    send(&replica, &Method::POST, "/tenants", kind, body.as_bytes()).await.expecting(201);
}

#[tokio::test]
async fn credentials_that_are_none_change_nothing() {
    for replica in stores().await {
        prepared(&replica).await;
        let before = everything(&replica).await;
        let version = next_version(&replica).await.as_i64().unwrap();
        let long_mask =
            json!({"type": "whatsapp", "credentials": {"deep": [{"x": " ***hunter2"}]}});
        for (body, status, code) in [
            (json!({}), 400, "invalid_value"),
            (json!({"credentials": {"a": SENT}}), 400, "invalid_value"),
            (json!({"type": SENT, "credentials": {"a": SENT}}), 400, "invalid_value"),
            (json!({"type": 1, "credentials": {"a": SENT}}), 400, "invalid_value"),
            (json!({"type": "whatsapp"}), 400, "invalid_value"),
            (json!({"type": "whatsapp", "credentials": null}), 400, "invalid_value"),
            (json!({"type": "whatsapp", "credentials": SENT}), 400, "invalid_value"),
            (json!({"type": "whatsapp", "credentials": [SENT]}), 400, "invalid_value"),
            (json!({"type": "whatsapp", "credentials": {}}), 400, "invalid_value"),
            (
                json!({"type": "whatsapp", "credentials": {"access_token": ""}}),
                400,
                "invalid_value",
            ),
            (
                json!({"type": "whatsapp", "credentials": {"access_token": {"x": SENT}}}),
                400,
                "invalid_value",
            ),
            (json!({"type": "genesys", "credentials": {"clientSecret": 7}}), 400, "invalid_value"),
            (json!({"type": "whatsapp", "credentials": {"a": 1}, SENT: 1}), 400, "unknown_field"),
            (
                json!({"type": "whatsapp", "credentials": {"access_token": "***4567"}}),
                422,
                "masked_value",
            ),
            (
                json!({"type": "whatsapp", "credentials": {"access_token": "***"}}),
                422,
                "masked_value",
            ),
            (long_mask, 422, "masked_value"),
        ] {
            for method in [Method::PUT, Method::POST] {
                let call = replica.request(method, "/tenants/t-1/credentials").json(&body);
                let answer = call.await;
                assert_problem(&answer, status, code);
                assert_silent(&answer);
            }
        }
        assert_eq!(everything(&replica).await, before);
        assert_eq!(next_version(&replica).await, version + 1, "no version was used up");
    }
}

#[tokio::test]
async fn a_masked_answer_sent_back_is_refused() {
    let replica = Replica::builder().start().await;
    let path = "/tenants/demo-tenant-001/credentials";
    for kind in ["whatsapp", "genesys"] {
        let masked = replica.get_json(&format!("{path}?type={kind}")).await;
        let answer = replica.put_json(path, &json!({"type": kind, "credentials": masked})).await;
        assert_problem(&answer, 422, "masked_value");
    }
    let full = replica.get_json(&format!("{path}/whatsapp")).await;
    assert_eq!(full["access_token"], "not-a-real-access-token-1234567");
}

#[tokio::test]
async fn genesys_credentials_that_are_none_change_nothing() {
    for replica in stores().await {
        prepared(&replica).await;
        let before = everything(&replica).await;
        let good = || json!({"clientId": "c", "clientSecret": "s", "region": "aps1", "integrationId": "i"});
        for (field, value, status, code) in [
            ("clientId", Value::Null, 400, "invalid_value"),
            ("clientSecret", json!(""), 400, "invalid_value"),
            ("clientSecret", json!([SENT]), 400, "invalid_value"),
            ("clientSecret", json!("***cret"), 422, "masked_value"),
            ("region", json!(SENT), 400, "invalid_value"),
            ("region", json!(1), 400, "invalid_value"),
            ("integrationId", json!("a b"), 400, "invalid_value"),
            ("integrationId", json!("i".repeat(129)), 400, "invalid_value"),
            ("webhookSecret", json!({"x": SENT}), 400, "invalid_value"),
            (SENT, json!(1), 400, "unknown_field"),
        ] {
            let mut body = good();
            body[field] = value;
            let answer = replica.put_json("/tenants/t-1/genesys/credentials", &body).await;
            assert_problem(&answer, status, code);
            assert_silent(&answer);
        }
        for field in ["clientId", "clientSecret", "region", "integrationId"] {
            let mut body = good();
            body.as_object_mut().unwrap().remove(field);
            let answer = replica.put_json("/tenants/t-1/genesys/credentials", &body).await;
            assert_problem(&answer, 400, "invalid_value");
            assert!(answer.text().contains(field), "{}", answer.text());
        }
        let absent = replica.put_json("/tenants/absent/genesys/credentials", &good()).await;
        assert_problem(&absent, 404, "tenant_not_found");
        assert_eq!(everything(&replica).await, before);
    }
}

#[tokio::test]
async fn tenants_that_are_none_change_nothing() {
    for replica in stores().await {
        prepared(&replica).await;
        let before = everything(&replica).await;
        let fields = [
            ("name", json!("")),
            ("name", json!("x".repeat(201))),
            ("name", json!(format!("{SENT}\u{1}"))),
            ("name", json!(5)),
            ("email", json!(SENT)),
            ("status", json!(SENT)),
            ("status", json!(true)),
            ("phone_number_id", json!(SENT)),
            ("phone_number_id", json!(4915)),
            ("phone_number_id", json!("1".repeat(33))),
            ("display_phone_number", json!("1".repeat(129))),
            ("genesys_integration_id", json!("a b")),
            ("genesys_org_id", json!("a\nb")),
            ("genesys_region", json!(SENT)),
            ("settings", json!([SENT])),
            ("settings", json!(SENT)),
        ];
        for (field, value) in fields {
            let mut body = json!({"name": "x"});
            body[field] = value.clone();
            let answer = replica.post_json("/tenants", &body).await;
            assert_problem(&answer, 400, "invalid_value");
            assert_silent(&answer);
            assert!(answer.json()["error"].as_str().unwrap().starts_with(field));
            let answer = replica.patch_json("/tenants/t-1", &json!({field: value})).await;
            assert_problem(&answer, 400, "invalid_value");
            assert_silent(&answer);
        }
        // Of a field that takes no null, nobody says that it does.
        for (field, sentence) in [("name", "must be text"), ("email", "must be text or null")] {
            let body = json!({"name": "x", field: 5});
            for answer in [
                replica.post_json("/tenants", &body).await,
                replica.patch_json("/tenants/t-1", &body).await,
            ] {
                assert_problem(&answer, 400, "invalid_value");
                assert_eq!(answer.json()["error"], format!("{field}: {sentence}"));
            }
        }
        let cleared = replica.patch_json("/tenants/t-1", &json!({"name": null})).await;
        assert_eq!(cleared.json()["error"], "name: can't be cleared");
        for id in ["", " ", "-a", "a/b", "by-phone", "by-integration", "é", &"a".repeat(51)] {
            let answer = replica.post_json("/tenants", &json!({"name": "x", "id": id})).await;
            assert_problem(&answer, 400, "invalid_value");
        }
        for body in
            [json!({"name": null}), json!({"status": null}), json!({"name": "x", "email": 5})]
        {
            let answer = replica.patch_json("/tenants/t-1", &body).await;
            assert_problem(&answer, 400, "invalid_value");
        }
        for body in
            [json!({"id": "t-9"}), json!({"created_at": "2026-01-01T00:00:00Z"}), json!({SENT: 1})]
        {
            let answer = replica.patch_json("/tenants/t-1", &body).await;
            assert_problem(&answer, 400, "unknown_field");
            assert_silent(&answer);
        }
        // One good field beside a bad one is not applied, and a conflict undoes the others.
        let half = json!({"name": "half", "email": SENT});
        assert_problem(&replica.patch_json("/tenants/t-1", &half).await, 400, "invalid_value");
        let half = json!({"name": "half", "phone_number_id": "4916"});
        assert_problem(&replica.patch_json("/tenants/t-1", &half).await, 409, "conflict");
        assert_eq!(everything(&replica).await, before);
    }
}

#[tokio::test]
async fn ids_in_paths_are_checked_on_every_operation() {
    let replica = Replica::builder().start().await;
    let long = "a".repeat(51);
    for id in [long.as_str(), "a%00b", "a%0Ab", "-a", "a%20b", "%C3%A9"] {
        for (method, path, body) in writes().into_iter().filter(|write| write.1 != "/tenants") {
            let answer = replica.request(method, &path.replace("t-1", id)).json(&body).await;
            assert_problem(&answer, 400, "invalid_value");
        }
        for rest in ["", "/credentials?type=genesys", "/credentials/genesys", "/credentials/meta"] {
            let answer = replica.get(&format!("/tenants/{id}{rest}")).await;
            assert_problem(&answer, 400, "invalid_value");
        }
        assert_problem(&replica.delete(&format!("/tenants/{id}")).await, 400, "invalid_value");
    }
    // Names of routes are no ids.
    for id in ["by-phone", "by-integration", "by-phone/", "by-phone/credentials/genesys"] {
        assert_problem(&replica.get(&format!("/tenants/{id}")).await, 400, "invalid_value");
    }
}
