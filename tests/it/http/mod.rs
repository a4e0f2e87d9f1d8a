//! The HTTP contract, through the front door: replicas as processes, on both stores.

mod audit;
mod credentials;
mod expiry;
mod lookups;
mod node_clients;
mod operation;
mod refusals;
mod scopes;
mod tenants;
mod tls;
mod versions;
mod wire;

use std::ops::Deref;

use serde_json::{Value, json};

use crate::harness::{Answer, Database, Postgres, Replica};

/// The prefixes of tenant paths.
const PREFIXES: [&str; 2] = ["/api/tenants", "/tenants"];

/// A replica, and the database that has to outlive it.
struct OnStore {
    replica: Replica,
    database: Option<Database>,
}

impl Deref for OnStore {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

/// A replica on each store: the embedded one and Postgres. The contract is the same.
async fn stores() -> [OnStore; 2] {
    let embedded = Replica::builder().start().await;
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    [OnStore { replica: embedded, database: None }, OnStore { replica, database: Some(database) }]
}

/// Every path under which a tenant path answers: `rest` begins with a slash, or is empty.
fn variants(rest: &str) -> Vec<String> {
    let (path, query) = rest
        .split_once('?')
        .map_or((rest, String::new()), |(path, query)| (path, format!("?{query}")));
    let both = |prefix| [format!("{prefix}{path}{query}"), format!("{prefix}{path}/{query}")];
    PREFIXES.into_iter().flat_map(both).collect()
}

/// Creates a tenant and returns what the service says of it.
async fn create(replica: &Replica, tenant: Value) -> Value {
    replica.post_json("/api/tenants", &tenant).await.expecting(201).json()
}

/// A tenant called `id` with this phone number, and an integration named after it.
async fn tenant(replica: &Replica, id: &str, phone: &str) -> Value {
    let tenant = json!({
        "id": id,
        "name": format!("Name of {id}"),
        "phone_number_id": phone,
        "genesys_integration_id": format!("{id}-integration"),
    });
    create(replica, tenant).await
}

/// Sets credentials.
async fn set(replica: &Replica, id: &str, kind: &str, credentials: Value) -> Value {
    let body = json!({"type": kind, "credentials": credentials});
    replica.put_json(&format!("/api/tenants/{id}/credentials"), &body).await.expecting(200).json()
}

/// Panics unless the answer is this problem, whole and well-formed.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    let answer = answer.clone().expecting(status);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["type"], "about:blank", "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["error"], problem["detail"], "{problem}");
    assert!(problem["error"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    assert!(problem["title"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{problem}");
    // A cache in front may keep no error; it may ask again for those of lookups.
    let control = answer.header("cache-control").unwrap();
    assert!(["no-store", "private, no-cache"].contains(&control), "{control}");
}
