//! Access tokens, through the front door: who is let in, what is there for them, and until when.

mod admin;
mod commands;
mod limits;
mod matrix;
mod outage;
mod refusals;
mod revocation;
mod trail;

use serde_json::{Value, json};

use crate::harness::http::Call;
use crate::harness::replica::Builder;
use crate::harness::{Answer, Database, Replica, Scratch, run_cli};

/// Replicas to whom nobody may ask anything without a token.
fn closed() -> Builder {
    Replica::builder().env("ANONYMOUS_SCOPES", "none")
}

/// A closed replica on a database of its own, and a token that may do everything.
struct Embedded {
    replica: Replica,
    admin: String,
    folder: Scratch,
}

impl Embedded {
    async fn start() -> Self {
        Self::with(closed()).await
    }

    async fn with(builder: Builder) -> Self {
        let folder = Scratch::new("data");
        let replica = builder.data_dir(&folder).start().await;
        let admin = make(&[("DATA_DIR", folder.to_str().unwrap())], &["--scopes", "all"]).await;
        Self { replica, admin, folder }
    }
}

/// A token that may do everything, by the command line.
async fn admin_of(database: &Database) -> String {
    make(&[("DATABASE_URL", &database.url)], &["--scopes", "all"]).await
}

/// Makes a token by the command line.
async fn make(environment: &[(&str, &str)], more: &[&str]) -> String {
    let arguments = [&["token", "create", "--name", "made by hand"], more].concat();
    let made = run_cli(&arguments, environment).await.expecting(0);
    let token = made.stdout.trim_end().to_owned();
    assert!(token.starts_with("ts_live_") && token.len() == 73, "{}", made.stdout);
    assert!(!made.stderr.contains(&token[24..]), "{}", made.stderr);
    token
}

/// The public part of a token.
fn id_of(token: &str) -> &str {
    &token[8..24]
}

fn with(call: Call, token: &str) -> Call {
    call.header("authorization", &format!("Bearer {token}"))
}

/// Makes a token through the API.
async fn mint(replica: &Replica, admin: &str, body: Value) -> String {
    let made = with(replica.post_json("/api/tokens", &body), admin).await.expecting(201);
    made.json()["token"].as_str().unwrap().to_owned()
}

/// The same, of these scopes and tenants.
async fn limited(replica: &Replica, admin: &str, scopes: &[&str], tenants: &[&str]) -> String {
    let body = json!({"name": "limited", "scopes": scopes, "tenants": tenants});
    mint(replica, admin, body).await
}

/// A tenant with a phone number, an integration and credentials of both types.
async fn tenant(replica: &Replica, admin: &str, id: &str, phone: &str) {
    let tenant = json!({
        "id": id, "name": format!("Name of {id}"), "phone_number_id": phone,
        "genesys_integration_id": format!("i-{id}"),
    });
    with(replica.post_json("/api/tenants", &tenant), admin).await.expecting(201);
    for (kind, credentials) in [
        ("whatsapp", json!({"access_token": format!("made-up-token-of-{id}")})),
        ("genesys", json!({"clientId": "c", "clientSecret": format!("made-up-secret-of-{id}")})),
    ] {
        let body = json!({"type": kind, "credentials": credentials});
        let path = format!("/api/tenants/{id}/credentials");
        with(replica.put_json(&path, &body), admin).await.expecting(200);
    }
}

/// An answer as its caller can tell it from another one: all but what is new each time.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (answer.status, headers, body)
}
