//! What is asked: five kinds of request, with everything in memory.

use std::sync::Arc;

use serde_json::{Value, json};

use super::bare::Canned;
use super::load::Exchange;
use crate::common::wire::{self, Answer, Connection};

/// One kind of request.
pub struct Row {
    /// What it is called in the table.
    pub name: &'static str,
    /// Whether it is the one that the benchmark is about.
    pub main: bool,
    /// The same requests to the service and to the bare handler.
    pub service: Arc<[Exchange]>,
    /// See `service`; empty until [`Row::learn`].
    pub bare: Arc<[Exchange]>,
    /// What the bare handler has to answer, and where.
    pub canned: Canned,
    requests: Vec<Vec<u8>>,
}

/// Creates tenants with credentials.
pub async fn create(connection: &mut Connection, tenants: u32) {
    for n in 0..tenants {
        let tenant = json!({
            "id": id(n),
            "name": format!("Benchmark Organization {n:06}"),
            "phone_number_id": phone(n),
            "genesys_integration_id": integration(n),
        });
        connection.ask(&wire::json("POST", "/api/tenants", &tenant)).await.expecting(201);
        let credentials = json!({
            "access_token": format!("not-a-real-access-token-{n:06}"),
            "app_secret": "not-a-real-app-secret-0000",
            "phone_number_id": phone(n),
            "business_account_id": "not-a-real-business-account",
        });
        let body = json!({"type": "whatsapp", "credentials": credentials});
        let path = format!("/api/tenants/{}/credentials", id(n));
        connection.ask(&wire::json("PUT", &path, &body)).await.expecting(200);
    }
}

/// All rows, after every answer has been seen to come from memory.
pub async fn rows(service: &mut Connection, tenants: u32) -> Vec<Row> {
    let by_phone = |n| format!("/api/tenants/by-phone/{}", phone(n));
    let masked = |n| format!("/api/tenants/{}/credentials?type=whatsapp", id(n));
    let meta = |n| format!("/api/tenants/{}/credentials/meta", id(n));
    let by_integration = |n| format!("/api/tenants/by-integration/{}", integration(n));
    let bearer = format!("Bearer {}", token(service).await);
    let (none, token) = (&[][..], &[("authorization", &*bearer)][..]);
    let mut rows = Vec::new();
    for (name, route, known, path, headers) in [
        (
            "lookup by phone",
            "/api/tenants/by-phone/{phone}",
            false,
            &by_phone as &dyn Fn(u32) -> _,
            none,
        ),
        // At a route of its own, for the bare handler tells answers by their route.
        (
            "lookup by integration, with a token",
            "/api/tenants/by-integration/{integration}",
            false,
            &by_integration,
            token,
        ),
        // The bare handler has no conditions: it answers 304 at a route of its own, as long.
        ("lookup by phone, 304", "/api/tenants/by-known/{phone}", true, &by_phone, none),
        ("credentials, masked", "/api/tenants/{id}/credentials", false, &masked, none),
        ("credentials, in full", "/api/tenants/{id}/credentials/meta", false, &meta, none),
    ] {
        let mut requests = Vec::new();
        let mut answers = Vec::new();
        for n in 0..tenants {
            let (request, answer) = warm(service, &path(n), known, headers).await;
            requests.push(request);
            answers.push(answer);
        }
        let canned = Canned::of(&answers[0], route);
        let exchanges = requests.iter().zip(&answers);
        let exchanges = exchanges.map(|(request, answer)| Exchange::new(request.clone(), answer));
        let (main, service, bare) = (rows.is_empty(), exchanges.collect(), Arc::from([]));
        rows.push(Row { name, main, service, bare, canned, requests });
    }
    rows
}

impl Row {
    /// Learns what the bare handler answers to the same requests: one answer to all.
    pub async fn learn(&mut self, bare: &mut Connection) {
        let mut exchanges = Vec::new();
        for request in &self.requests {
            let request = self.canned.address(request);
            let answer = bare.ask(&request).await;
            assert!(self.canned.is(&answer), "{answer:?}");
            exchanges.push(Exchange::new(request, &answer));
        }
        self.bare = exchanges.into();
    }
}

/// Asks until the answer comes from memory; with `known`, under the condition that it be another.
async fn warm(
    connection: &mut Connection,
    path: &str,
    known: bool,
    headers: &[(&str, &str)],
) -> (Vec<u8>, Answer) {
    let request = wire::get(path, headers);
    connection.ask(&request).await.expecting(200);
    let answer = connection.ask(&request).await.expecting(200);
    assert_eq!(answer.cache(), "l1", "{path}");
    if !known {
        return (request, answer);
    }
    let tag = answer.header("etag").expect("a lookup has a revision");
    let request = wire::get(path, &[("if-none-match", tag)]);
    let answer = connection.ask(&request).await.expecting(304);
    assert_eq!(answer.cache(), "l1", "{path}");
    (request, answer)
}

/// A token that may look up.
async fn token(connection: &mut Connection) -> String {
    let body = json!({"name": "benchmark", "scopes": ["lookup:read"]});
    let made = connection.ask(&wire::json("POST", "/api/tokens", &body)).await.expecting(201);
    let made: Value = serde_json::from_slice(&made.body).expect("JSON");
    made["token"].as_str().expect("a token is text").to_owned()
}

fn integration(n: u32) -> String {
    format!("bench-integration-{n:06}")
}

fn id(n: u32) -> String {
    format!("bench-tenant-{n:06}")
}

fn phone(n: u32) -> String {
    format!("10{n:07}")
}
