//! Tokens made, listed, taken back and replaced through the API.

use serde_json::json;

use super::{Embedded, admin_of, closed, id_of, with};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Postgres, Replica, eventually};

const BY_PHONE: &str = "/api/tenants/by-phone/123456789";

async fn life_of_a_token(replica: &Replica, admin: &str) {
    let body = json!({
        "name": "webhooks", "description": "of the north", "scopes": ["lookup:read"],
        "tenants": ["b", "demo-tenant-001"], "types": ["whatsapp"],
        "expires_at": "2099-01-02T03:04:05Z",
    });
    let made = with(replica.post_json("/api/tokens", &body), admin).await.expecting(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert!(made.header("coherence").unwrap().starts_with("acked"));
    let shown = made.json();
    let token = shown["token"].as_str().unwrap();
    let id = id_of(token);
    assert_eq!(made.header("location"), Some(&*format!("/api/tokens/{id}")));
    let path = format!("/api/tokens/{id}");
    let record = with(replica.get(&path), admin).await.expecting(200);
    assert_eq!(record.header("cache-control"), Some("no-store"));
    assert!(!record.text().contains(&token[24..67]), "it is shown once");
    let record = record.json();
    for (field, expected) in [
        ("id", json!(id)),
        ("name", json!("webhooks")),
        ("description", json!("of the north")),
        ("status", json!("active")),
        ("scopes", json!(["lookup:read"])),
        ("tenants", json!(["b", "demo-tenant-001"])),
        ("types", json!(["whatsapp"])),
        ("created_by", json!(format!("token:{}", id_of(admin)))),
        ("revoked_at", json!(null)),
        ("replaced_by", json!(null)),
        ("last_used_at", json!(null)),
    ] {
        assert_eq!(record[field], expected, "{field}");
        assert_eq!(shown[field], expected, "{field}");
    }
    let expiry: jiff::Timestamp = record["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(expiry.to_string(), "2099-01-02T03:04:05Z");

    // A use of it is noted, in the background.
    with(replica.get("/api/tenants/by-phone/404"), token).await.expecting(404);
    eventually(DEADLINE, "its use is noted", async || {
        let record = with(replica.get(&path), admin).await.expecting(200).json();
        if record["last_used_at"].is_string() { Ok(()) } else { Err(record) }
    })
    .await;

    // Replaced, both are good; and the old one can't be replaced again.
    let rotate = format!("{path}/rotate");
    let overlap = json!({"overlap_seconds": 3600});
    let rotated = with(replica.post_json(&rotate, &overlap), admin).await.expecting(201).json();
    let next = rotated["token"].as_str().unwrap();
    for field in ["name", "description", "scopes", "tenants", "types"] {
        assert_eq!(rotated[field], record[field], "{field}");
    }
    let lifetime = |record: &serde_json::Value| {
        let at = |field: &str| record[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at("expires_at").duration_since(at("created_at")).as_secs_f64()
    };
    assert!((lifetime(&rotated) - lifetime(&record)).abs() < 1.0, "{rotated}");
    for token in [token, next] {
        with(replica.get("/api/tenants/by-phone/404"), token).await.expecting(404);
    }
    let old = with(replica.get(&path), admin).await.expecting(200).json();
    assert_eq!((&old["replaced_by"], &old["status"]), (&json!(id_of(next)), &json!("active")));
    let left = lifetime(&old);
    assert!((3_590.0..3_700.0).contains(&left), "{left}");
    let again = with(replica.post_json(&rotate, &overlap), admin).await.expecting(409);
    assert_eq!(again.json()["code"], "token_inactive");

    // Without an overlap the old one ends at once.
    let rotate = format!("/api/tokens/{}/rotate", id_of(next));
    let none = json!({"overlap_seconds": 0});
    let rotated = with(replica.post_json(&rotate, &none), admin).await.expecting(201).json();
    let last = rotated["token"].as_str().unwrap();
    with(replica.get("/api/tenants/by-phone/404"), next).await.expecting(401);
    with(replica.get("/api/tenants/by-phone/404"), last).await.expecting(404);

    // Revoked, it stays so; and it is there to be looked up.
    let path = format!("/api/tokens/{}", id_of(last));
    let revoked = with(replica.delete(&path), admin).await.expecting(200).json();
    assert_eq!(revoked["status"], "revoked");
    let again = with(replica.delete(&path), admin).await.expecting(200).json();
    assert_eq!(again["revoked_at"], revoked["revoked_at"]);
    with(replica.get("/api/tenants/by-phone/404"), last).await.expecting(401);
    let rotate = with(replica.post_json(&format!("{path}/rotate"), &none), admin).await;
    assert_eq!(rotate.expecting(409).json()["code"], "token_inactive");

    // All of them are in the list, by age, and none with its secret.
    let page = with(replica.get("/api/tokens?limit=2&offset=1"), admin).await.expecting(200);
    let page = page.json();
    assert_eq!(
        (&page["total"], &page["limit"], &page["offset"]),
        (&json!(4), &json!(2), &json!(1))
    );
    let ids: Vec<_> = page["tokens"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, [&json!(id), &json!(id_of(next))]);

    for (path, status) in [
        ("/api/tokens/zzzzzzzzzzzzzzzz", 404),
        ("/api/tokens/hunter2", 400),
        ("/api/tokens?limit=0", 400),
        ("/api/tokens?page=1", 400),
    ] {
        let answer = with(replica.get(path), admin).await.expecting(status);
        assert!(!answer.text().contains("hunter2"));
    }
    with(replica.get(BY_PHONE), admin).await;
}

#[tokio::test]
async fn a_token_lives_on_sqlite() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    life_of_a_token(replica, admin).await;
}

#[tokio::test]
async fn a_token_lives_on_postgres() {
    let database = Postgres::database().await;
    let replica = closed().database(&database).start().await;
    life_of_a_token(&replica, &admin_of(&database).await).await;
}

/// What was noted is written when the process ends, however soon that is.
#[tokio::test]
async fn a_use_right_before_the_end_is_written() {
    let database = Postgres::database().await;
    let replica = closed().database(&database).start().await;
    let admin = admin_of(&database).await;
    with(replica.get(BY_PHONE), &admin).await.expecting(404);
    assert_eq!(replica.terminate().await, 0);
    let used = "SELECT count(*) FROM tenant_tokens WHERE last_used_at IS NOT NULL";
    assert_eq!(database.scalar::<i64>(used).await, 1);
}

/// What anybody may do without a token is what they can hand out, and no more.
#[tokio::test]
async fn who_has_no_token_hands_out_what_the_operator_grants() {
    let builder = Replica::builder().env("ANONYMOUS_SCOPES", "tokens:admin,lookup:read");
    let replica = builder.start().await;
    let of = |scopes: &[&str]| json!({"name": "n", "scopes": scopes});
    let made = replica.post_json("/api/tokens", &of(&["lookup:read"])).await.expecting(201);
    assert_eq!(made.json()["created_by"], "anonymous");
    replica.post_json("/api/tokens", &of(&["tenants:read"])).await.expecting(403);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    with(replica.get(BY_PHONE), &token).await.expecting(200);
}
