//! An end of credentials: how it is given, and where it is shown.

use serde_json::{Value, json};

use super::{assert_problem, stores, tenant};
use crate::harness::Replica;

const PATH: &str = "/api/tenants/t-1/credentials";

async fn ends(replica: &Replica, kind: &str) -> Vec<Value> {
    let list = replica.get_json(&format!("{PATH}/{kind}/versions")).await;
    let versions = list["versions"].as_array().unwrap();
    versions.iter().map(|version| version["expires_at"].clone()).collect()
}

fn whatsapp(end: &Value) -> Value {
    let credentials = json!({"access_token": "made up", "expiresAt": "the caller's own"});
    json!({"type": "whatsapp", "credentials": credentials, "expires_at": end})
}

fn genesys(end: &Value) -> Value {
    json!({
        "clientId": "c", "clientSecret": "s", "region": "aps1", "integrationId": "i",
        "expires_at": end,
    })
}

#[tokio::test]
async fn an_end_is_given_beside_the_credentials_and_shown_with_the_versions() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        let end = json!("2099-01-02T03:04:05+01:00");
        let shown = json!("2099-01-02T02:04:05Z");
        replica.put_json(PATH, &whatsapp(&end)).await.expecting(200);
        replica.post_json(PATH, &whatsapp(&Value::Null)).await.expecting(200);
        replica.post_json(PATH, &whatsapp(&end)).await.expecting(200);
        assert_eq!(ends(&replica, "whatsapp").await, [shown.clone(), Value::Null, shown.clone()]);
        let path = format!("{PATH}/whatsapp");
        let full = replica.get_json(&path).await;
        let own = json!({"access_token": "made up", "expiresAt": "the caller's own"});
        assert_eq!(full, own, "the object is the caller's");
        let masked = replica.get_json(&format!("{PATH}?type=whatsapp")).await;
        assert_eq!(masked, json!({"access_token": "***", "expiresAt": "the caller's own"}));
        let back = replica.post_json(&format!("{path}/rollback"), &json!({"version": 2})).await;
        back.expecting(200);
        assert_eq!(ends(&replica, "whatsapp").await[0], Value::Null);

        let path = "/api/tenants/t-1/genesys/credentials";
        replica.put_json(path, &genesys(&end)).await.expecting(200);
        let mut without = genesys(&end);
        without.as_object_mut().unwrap().remove("expires_at");
        replica.put_json(path, &without).await.expecting(200);
        assert_eq!(ends(&replica, "genesys").await, [Value::Null, shown]);

        for bad in [json!("2020-01-02T03:04:05Z"), json!("hunter2"), json!(4_070_000_000_u64)] {
            for (path, body) in [(PATH, whatsapp(&bad)), (path, genesys(&bad))] {
                let refused = replica.put_json(path, &body).await;
                assert_problem(&refused, 400, "invalid_value");
                let sentence = refused.json()["error"].as_str().unwrap().to_owned();
                assert!(sentence.starts_with("expires_at: must be "), "{sentence}");
            }
        }
        assert_eq!(ends(&replica, "whatsapp").await.len(), 4);
        assert_eq!(ends(&replica, "genesys").await.len(), 2);
    }
}

#[tokio::test]
async fn a_near_end_is_told_at_once_and_what_ends_is_served() {
    for replica in stores().await {
        tenant(&replica, "t-1", "4915").await;
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(12);
        let body = whatsapp(&json!(end.to_string()));
        replica.put_json(PATH, &body).await.expecting(200);
        let told = |line: &Value| line["message"] == "credentials expire soon";
        let line = replica.wait_for_log(told).await;
        let (kind, days) = (&line["kind"], &line["days"]);
        assert_eq!((kind, days), (&json!("whatsapp"), &json!(1)), "{line}");
        replica.get(&format!("{PATH}/whatsapp")).await.expecting(200);
        if let Some(database) = &replica.database {
            let past = "UPDATE tenant_credentials SET expires_at = now() - interval '1 hour'";
            database.execute(past).await;
            let versions = format!("{PATH}/whatsapp/versions/1");
            replica.get(&versions).await.expecting(200);
        }
    }
}
