//! Entity tags, conditions, versions, and what is deleted and destroyed.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{OnStore, assert_problem, set, stores, tenant};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Answer, Call, Replica, eventually};

const WHATSAPP: &str = "/api/tenants/t-1/credentials/whatsapp";

fn etag(answer: &Answer) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn body(token: &str) -> Value {
    json!({"type": "whatsapp", "credentials": {"access_token": token}})
}

fn put(replica: &Replica, token: &str) -> Call {
    replica.put_json("/api/tenants/t-1/credentials", &body(token))
}

fn post(replica: &Replica, rest: &str) -> Call {
    replica.request(Method::POST, &format!("{WHATSAPP}/{rest}"))
}

fn roll_back(replica: &Replica, version: i64) -> Call {
    post(replica, "rollback").json(&json!({"version": version}))
}

async fn token(replica: &Replica) -> Value {
    replica.get(WHATSAPP).await.expecting(200).json()["access_token"].clone()
}

/// A replica on each store, with a tenant that has whatsapp credentials in so many versions.
async fn with_versions(count: i64) -> [OnStore; 2] {
    let stores = stores().await;
    for replica in &stores {
        tenant(replica, "t-1", "4915").await;
        for version in 1..=count {
            let answer = put(replica, &format!("made up {version}")).await.expecting(200);
            assert_eq!(answer.json()["version"], version);
        }
    }
    stores
}

#[tokio::test]
async fn every_answer_names_its_version() {
    for replica in with_versions(1).await {
        let link =
            json!({"clientId": "c", "clientSecret": "s", "region": "aps1", "integrationId": "i"});
        let set = replica.put_json("/api/tenants/t-1/genesys/credentials", &link);
        let genesys = etag(&set.await.expecting(200));
        let written = etag(&put(&replica, "made up").await.expecting(200));
        let inner = written.trim_matches('"');
        let (generation, version) = inner.split_once('.').unwrap();
        assert!(generation.parse::<uuid::Uuid>().is_ok() && version == "2", "{written}");
        assert_eq!(written, format!("\"{inner}\""), "strong, and in quotes");
        let posted = replica.post_json("/api/tenants/t-1/credentials", &body("made up"));
        let posted = posted.await.expecting(200);
        assert_eq!(posted.json()["credentialId"], generation);
        assert_eq!(etag(&posted), format!("\"{generation}.3\""));

        for (path, expected) in [
            ("/tenants/t-1/credentials?type=whatsapp", etag(&posted)),
            ("/tenants/t-1/credentials/whatsapp", etag(&posted)),
            ("/tenants/t-1/credentials/meta", etag(&posted)),
            ("/tenants/t-1/credentials?type=genesys", genesys.clone()),
            ("/tenants/t-1/genesys/credentials", genesys.clone()),
            ("/tenants/t-1/credentials/genesys", genesys.clone()),
        ] {
            // Out of the database, and out of memory.
            for _ in 0..2 {
                let answer = replica.get(path).await.expecting(200);
                assert_eq!(etag(&answer), expected, "{path}");
                let known = replica.get(path).header("if-none-match", &expected).await;
                let known = known.expecting(304);
                assert_eq!((etag(&known), known.body.len()), (expected.clone(), 0), "{path}");
                assert_eq!(known.header("cache-control"), answer.header("cache-control"));
                let other = replica.get(path).header("if-none-match", &written).await;
                other.expecting(200);
            }
        }
    }
}

/// Who has the secret already is shown nothing, and that is no line in the audit log.
#[tokio::test]
async fn what_is_not_shown_again_is_not_audited() {
    let replica = Replica::builder().start().await;
    let path = "/tenants/demo-tenant-001/credentials/whatsapp";
    let tag = etag(&replica.get(path).header("x-request-id", "shown").await.expecting(200));
    replica.get(path).header("if-none-match", &tag).await.expecting(304);
    replica.get(&format!("{path}/versions/1")).await.expecting(200);
    let entered = eventually(DEADLINE, "both are in the trail", async || {
        let trail = replica.get_json("/api/audit?action=credentials.reveal&order=oldest").await;
        let entries = trail["entries"].as_array().unwrap().clone();
        if entries.len() >= 2 { Ok(entries) } else { Err(entries.len()) }
    })
    .await;
    assert_eq!(entered.len(), 2);
    assert_eq!((&entered[0]["request_id"], &entered[0]["version"]), (&json!("shown"), &json!(1)));
}

#[tokio::test]
async fn a_write_is_made_if_its_condition_holds() {
    for replica in with_versions(0).await {
        let refused = put(&replica, "x").header("if-match", "*").await;
        assert_problem(&refused, 412, "precondition_failed");
        assert_eq!(refused.header("etag"), None);
        let first = put(&replica, "one").header("if-none-match", "*").await.expecting(200);
        let first = etag(&first);
        for call in [
            put(&replica, "x").header("if-none-match", "*"),
            replica.post_json("/tenants/t-1/credentials", &body("x")).header("if-none-match", "*"),
            put(&replica, "x").header("if-none-match", &format!("W/{first}")),
            put(&replica, "x").header("if-match", &format!("W/{first}")),
            put(&replica, "x").header("if-match", "\"another.1\""),
            replica.delete(WHATSAPP).header("if-match", "\"another.1\""),
            roll_back(&replica, 1).header("if-match", "\"another.1\""),
            post(&replica, "destroy").header("if-match", "\"another.1\""),
            replica.delete(&format!("{WHATSAPP}/versions/1")).header("if-match", "\"another.1\""),
        ] {
            let refused = call.await;
            assert_problem(&refused, 412, "precondition_failed");
            assert_eq!(etag(&refused), first);
        }
        let list = format!("\"another.1\" , {first}");
        let second = etag(&put(&replica, "two").header("if-match", &list).await.expecting(200));
        assert_problem(
            &put(&replica, "x").header("if-match", &first).await,
            412,
            "precondition_failed",
        );
        put(&replica, "three").header("if-match", "*").await.expecting(200);
        put(&replica, "four").header("if-none-match", &second).await.expecting(200);
        assert_eq!(token(&replica).await, "four");
        for malformed in ["", "x", "\"x", "*, *", "\"a\" \"b\"", "w/\"a\""] {
            for name in ["if-match", "if-none-match"] {
                let refused = put(&replica, "x").header(name, malformed).await;
                assert_problem(&refused, 400, "invalid_precondition");
            }
        }
        // An absent tenant is absent, whatever is asked for.
        let absent = replica.put_json("/tenants/absent/credentials", &body("x"));
        assert_problem(&absent.header("if-match", "*").await, 404, "tenant_not_found");
    }
}

#[tokio::test]
async fn a_tenant_is_changed_if_it_is_of_the_revision() {
    for replica in with_versions(0).await {
        let path = "/api/tenants/t-1";
        let first = etag(&replica.get(path).await.expecting(200));
        let rename = |name: &str| replica.patch_json(path, &json!({"name": name}));
        let second = etag(&rename("Two").header("if-match", &first).await.expecting(200));
        for call in [rename("Three"), replica.delete(path)] {
            let refused = call.header("if-match", &first).await;
            assert_problem(&refused, 412, "precondition_failed");
            assert_eq!(etag(&refused), second);
        }
        // A look-up has the same tag.
        let found = replica.get("/tenants/by-phone/4915").await.expecting(200);
        assert_eq!((etag(&found), &found.json()["name"]), (second.clone(), &json!("Two")));
        replica.delete(path).header("if-match", &second).await.expecting(204);
        for call in [rename("Three"), replica.delete(path)] {
            assert_problem(&call.header("if-match", &second).await, 404, "tenant_not_found");
        }
        let new = replica.post_json("/api/tenants", &json!({"id": "t-1", "name": "New"}));
        assert_problem(&new.header("if-match", "*").await, 412, "precondition_failed");
    }
}

#[tokio::test]
async fn versions_are_shown_without_what_they_hold() {
    for replica in with_versions(3).await {
        let list = replica.get(&format!("{WHATSAPP}/versions?limit=2")).await.expecting(200);
        assert_eq!(list.header("cache-control"), Some("private, no-cache"));
        assert!(!list.text().contains("made up"));
        let list = list.json();
        assert_eq!((list["versions"].as_array().unwrap().len(), &list["next"]), (2, &json!(2)));
        let newest = &list["versions"][0];
        assert_eq!((&newest["version"], &newest["state"]), (&json!(3), &json!("current")));
        assert_eq!(newest["etag"], etag(&replica.get(WHATSAPP).await));
        assert!(newest["superseded_at"].is_null());
        assert_eq!(list["versions"][1]["state"], "superseded");
        let rest = replica.get_json(&format!("{WHATSAPP}/versions?limit=2&before=2")).await;
        assert_eq!(rest["versions"].as_array().unwrap().len(), 1);
        assert_eq!((&rest["versions"][0]["version"], &rest["next"]), (&json!(1), &Value::Null));

        let one = replica.get(&format!("{WHATSAPP}/versions/1")).await.expecting(200);
        assert_eq!(one.json(), json!({"access_token": "made up 1"}));
        assert_eq!(one.header("cache-control"), Some("no-store"));
        assert_eq!(etag(&one), rest["versions"][0]["etag"]);
        let missing = replica.get(&format!("{WHATSAPP}/versions/4")).await;
        assert_problem(&missing, 404, "version_not_found");
        for bad in ["0", "-1", "x", "1.0", "9223372036854775808"] {
            let refused = replica.get(&format!("{WHATSAPP}/versions/{bad}")).await;
            assert_problem(&refused, 400, "invalid_value");
        }
        for bad in ["limit=0", "limit=201", "limit=1&limit=2", "page=1"] {
            let refused = replica.get(&format!("{WHATSAPP}/versions?{bad}")).await;
            assert_problem(&refused, 400, "invalid_query");
        }
        let refused = replica.get(&format!("{WHATSAPP}/versions?before=0")).await;
        assert_problem(&refused, 400, "invalid_value");
        for path in
            ["/api/tenants/t-1/credentials/genesys", "/api/tenants/absent/credentials/genesys"]
        {
            let none = replica.get(&format!("{path}/versions")).await;
            assert_problem(&none, 404, "credentials_not_found");
        }
        // A suspended tenant has none, like its credentials.
        replica.patch_json("/tenants/t-1", &json!({"status": "suspended"})).await.expecting(200);
        let none = replica.get(&format!("{WHATSAPP}/versions")).await;
        assert_problem(&none, 404, "credentials_not_found");
        let none = replica.get(&format!("{WHATSAPP}/versions/1")).await;
        assert_problem(&none, 404, "version_not_found");
    }
}

#[tokio::test]
async fn what_was_comes_back_as_a_new_version() {
    for replica in with_versions(2).await {
        let answer = roll_back(&replica, 1).await.expecting(200);
        assert_eq!(answer.json()["version"], 3);
        assert_eq!(etag(&answer), etag(&replica.get(WHATSAPP).await));
        assert_eq!(token(&replica).await, "made up 1");
        assert_problem(&roll_back(&replica, 9).await, 404, "version_not_found");
        for bad in [json!({}), json!({"version": 0}), json!({"version": "1"}), json!([])] {
            let refused = post(&replica, "rollback").json(&bad).await;
            assert_eq!(refused.status, 400, "{bad}");
        }
        assert_problem(&post(&replica, "undelete").await, 409, "credentials_not_deleted");

        replica.delete(WHATSAPP).await.expecting(204);
        for path in
            [WHATSAPP, "/tenants/t-1/credentials/meta", "/tenants/t-1/credentials?type=whatsapp"]
        {
            assert_problem(&replica.get(path).await, 404, "credentials_not_found");
        }
        assert_problem(&replica.delete(WHATSAPP).await, 404, "credentials_not_found");
        assert_problem(&roll_back(&replica, 1).await, 404, "credentials_not_found");
        let one = replica.get(&format!("{WHATSAPP}/versions/1")).await;
        assert_problem(&one, 404, "version_not_found");
        let list = replica.get_json(&format!("{WHATSAPP}/versions")).await;
        assert_eq!(list["versions"][2]["state"], "deleted");
        let answer = post(&replica, "undelete").await.expecting(200);
        assert_eq!(
            (answer.json()["version"].as_i64(), token(&replica).await),
            (Some(4), json!("made up 1"))
        );
        assert_eq!(etag(&answer), etag(&replica.get(WHATSAPP).await));

        replica.delete(WHATSAPP).await.expecting(204);
        put(&replica, "another").header("if-none-match", "*").await.expecting(200);
        assert_problem(&roll_back(&replica, 1).await, 409, "version_deleted");
        replica.delete(&format!("{WHATSAPP}/versions/1")).await.expecting(204);
        assert_problem(&roll_back(&replica, 1).await, 410, "version_destroyed");
        let one = replica.get(&format!("{WHATSAPP}/versions/1")).await;
        assert_problem(&one, 410, "version_destroyed");
        replica.delete(&format!("{WHATSAPP}/versions/5")).await.expecting(204);
        assert_problem(&replica.get(WHATSAPP).await, 404, "credentials_not_found");
        assert_problem(&post(&replica, "undelete").await, 410, "version_destroyed");
        let all = post(&replica, "destroy").await.expecting(200);
        assert_eq!(all.json(), json!({"destroyed": 3}));
        let list = replica.get_json(&format!("{WHATSAPP}/versions")).await;
        let states = list["versions"].as_array().unwrap();
        assert!(states.iter().all(|one| one["state"] == "destroyed"), "{list}");
        let none = replica.request(Method::POST, "/tenants/t-1/credentials/genesys/destroy").await;
        assert_problem(&none, 404, "credentials_not_found");
        for (method, rest) in
            [(Method::POST, "undelete"), (Method::POST, "destroy"), (Method::DELETE, "versions/1")]
        {
            let path = format!("/tenants/absent/credentials/whatsapp/{rest}");
            assert_problem(&replica.request(method, &path).await, 404, "tenant_not_found");
        }
    }
}

/// As the generic write does not.
#[tokio::test]
async fn a_rollback_does_not_change_the_tenant() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        for (region, integration) in [("aps1", "first"), ("euc1", "second")] {
            let link = json!({"clientId": "c", "clientSecret": "s", "region": region, "integrationId": integration});
            replica.put_json("/tenants/t-1/genesys/credentials", &link).await.expecting(200);
        }
        let path = "/tenants/t-1/credentials/genesys/rollback";
        replica.post_json(path, &json!({"version": 1})).await.expecting(200);
        let stored = replica.get_json("/tenants/t-1/credentials/genesys").await;
        assert_eq!(stored["integrationId"], "first");
        let tenant = replica.get_json("/tenants/t-1").await;
        assert_eq!(tenant["genesys_integration_id"], "second");
        assert_eq!(tenant["genesys_region"], "mypurecloud.de");
        assert_problem(
            &replica.get("/tenants/by-integration/first").await,
            404,
            "tenant_not_found",
        );
    }
}

/// What somebody deleted a year ago, seen from the next start on.
#[tokio::test]
async fn what_was_deleted_long_ago_is_destroyed_in_the_background() {
    let database = crate::harness::Postgres::database().await;
    let builder = Replica::builder().database(&database);
    let replica = builder.start().await;
    tenant(&replica, "t-1", "4915").await;
    put(&replica, "made up").await.expecting(200);
    replica.delete(WHATSAPP).await.expecting(204);
    let old = "UPDATE tenant_credential_history SET deleted_at = now() - interval '31 days'";
    database.execute(old).await;
    let patient = builder.env("CREDENTIALS_RETENTION_DAYS", "32").start().await;
    post(&patient, "undelete").await.expecting(200);
    patient.delete(WHATSAPP).await.expecting(204);
    database.execute(old).await;
    let next = Replica::builder().database(&database).start().await;
    eventually(DEADLINE, "it is destroyed", async || {
        let list = next.get_json(&format!("{WHATSAPP}/versions")).await;
        let states = list["versions"].as_array().unwrap();
        states.len() == 2 && states.iter().all(|one| one["state"] == "destroyed")
    })
    .await;
    assert_problem(&post(&next, "undelete").await, 410, "version_destroyed");
}

/// Objects that clients may send: names that are public, secret and unknown; values of any kind.
fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a-zA-Z0-9 ]{1,40}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let named = prop_oneof![
        ("(access_token|app_secret|waba_id|phone_number_id|business_id)", "[a-zA-Z0-9]{1,40}")
            .prop_map(|(name, text)| (name, Value::from(text))),
        ("(expiresAt|expires_at|limits|[a-z]{1,8})", value),
    ];
    prop::collection::vec(named, 1..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

#[tokio::test]
async fn a_masked_answer_that_is_sent_back_is_refused_or_changes_nothing() {
    let [replica, _] = with_versions(0).await;
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut unchanged) = (0, 0);
    for _ in 0..200 {
        let object = objects().new_tree(&mut runner).unwrap().current();
        set(&replica, "t-1", "whatsapp", object.clone()).await;
        let masked = replica.get_json("/tenants/t-1/credentials?type=whatsapp").await;
        let sent = json!({"type": "whatsapp", "credentials": masked});
        let answer = replica.put_json("/tenants/t-1/credentials", &sent).await;
        if answer.status == 200 {
            unchanged += 1;
        } else {
            assert_problem(&answer, 422, "masked_value");
            refused += 1;
        }
        assert_eq!(replica.get_json(WHATSAPP).await, object, "{masked}");
    }
    assert!(refused > 20 && unchanged > 5, "{refused} were refused, {unchanged} changed nothing");
}

/// Who names one version where all are meant does not lose them all.
#[tokio::test]
async fn what_takes_no_body_does_not_pass_over_one() {
    for replica in with_versions(2).await {
        let tenant = "/tenants/t-1".to_owned();
        for (method, path) in [
            (Method::POST, format!("{WHATSAPP}/destroy")),
            (Method::POST, format!("{WHATSAPP}/undelete")),
            (Method::DELETE, WHATSAPP.to_owned()),
            (Method::DELETE, format!("{WHATSAPP}/versions/1")),
            (Method::DELETE, tenant),
        ] {
            let ask = |path: &str| replica.request(method.clone(), path);
            for body in [json!({"version": 1}), json!({"versions": [1]})] {
                assert_problem(&ask(&path).json(&body).await, 400, "unknown_field");
            }
            assert_problem(&ask(&path).json(&json!([1])).await, 400, "invalid_body");
            assert_problem(&ask(&path).body("version=1").await, 400, "malformed_json");
            assert_problem(&ask(&format!("{path}?version=1")).await, 400, "invalid_query");
        }
        let list = replica.get_json(&format!("{WHATSAPP}/versions")).await;
        let states = list["versions"].as_array().unwrap().iter().map(|one| &one["state"]);
        assert_eq!(states.collect::<Vec<_>>(), ["current", "superseded"], "{list}");
        let destroyed = post(&replica, "destroy").json(&json!({})).await.expecting(200);
        assert_eq!(destroyed.json(), json!({"destroyed": 2}));
    }
}
