//! Who may do what: every operation with every scope, and with a token that is limited to certain
//! tenants. The table below says what is to come of it; an operation that is not in it fails.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use tenant_service::domain::Scope;
use tenant_service::http::auth::Access;
use tenant_service::http::router::operations;

use super::{Embedded, admin_of, closed, id_of, limited, mint, seen, tenant, with};
use crate::coherence::fleet::DEADLINE;
use crate::harness::http::Call;
use crate::harness::{Answer, Postgres, Replica, eventually};

/// What a request is about.
#[derive(Clone)]
pub(super) struct Subject {
    pub tenant: String,
    phone: String,
    pub token: String,
}

/// What comes of a request about somebody else's, with a token that is limited to others.
pub(super) enum Foreign {
    /// It looks absent, in all that is answered.
    Absent(u16),
    /// It is refused: the operation is for those who are not limited.
    Refused,
    /// There is no subject in it; what is shown is what is within the limits.
    Filtered(&'static str),
    /// The same, of the audit trail.
    Trail,
}

use Foreign::{Absent, Filtered, Refused, Trail};
use Scope::{
    AuditRead, CredentialsDestroy, CredentialsRead, CredentialsReveal, CredentialsWrite,
    LookupRead, TenantsRead, TenantsWrite, TokensAdmin,
};

pub(super) struct Expectation {
    pub scope: Scope,
    path: fn(&Subject) -> String,
    body: fn(&Subject) -> Option<Value>,
    /// With the scope, about one's own.
    pub own: u16,
    pub foreign: Foreign,
}

/// Each operation that needs a scope.
#[expect(clippy::too_many_lines, reason = "a table: a row for each operation")]
pub(super) fn table() -> BTreeMap<&'static str, Expectation> {
    const NONE: fn(&Subject) -> Option<Value> = |_| None;
    let set = |_: &Subject| {
        Some(json!({"type": "whatsapp", "credentials": {"access_token": "another-made-up-token"}}))
    };
    let genesys = |of: &Subject| {
        let integration = format!("i-{}", of.tenant);
        Some(json!({
            "clientId": "c", "clientSecret": "another-made-up-secret", "region": "euc1",
            "integrationId": integration,
        }))
    };
    let row = |scope, path, body, own, foreign| Expectation { scope, path, body, own, foreign };
    let by_phone = |of: &Subject| format!("/api/tenants/by-phone/{}", of.phone);
    let by_integration = |of: &Subject| format!("/api/tenants/by-integration/i-{}", of.tenant);
    let id = |of: &Subject| format!("/api/tenants/{}", of.tenant);
    let credentials = |of: &Subject| format!("/api/tenants/{}/credentials", of.tenant);
    let masked = |of: &Subject| format!("/api/tenants/{}/credentials?type=genesys", of.tenant);
    let meta = |of: &Subject| format!("/api/tenants/{}/credentials/meta", of.tenant);
    let full = |of: &Subject| format!("/api/tenants/{}/credentials/genesys", of.tenant);
    let versions =
        |of: &Subject| format!("/api/tenants/{}/credentials/genesys/versions", of.tenant);
    let version =
        |of: &Subject| format!("/api/tenants/{}/credentials/genesys/versions/1", of.tenant);
    let roll_back =
        |of: &Subject| format!("/api/tenants/{}/credentials/genesys/rollback", of.tenant);
    let undelete =
        |of: &Subject| format!("/api/tenants/{}/credentials/genesys/undelete", of.tenant);
    let destroy = |of: &Subject| format!("/api/tenants/{}/credentials/genesys/destroy", of.tenant);
    // All there is by then: what was denied before may be entered later than what is looked for.
    let audit = |_: &Subject| "/api/audit?limit=200".to_owned();
    let to_first = |_: &Subject| Some(json!({"version": 1}));
    let of_genesys = |of: &Subject| format!("/api/tenants/{}/genesys/credentials", of.tenant);
    let tenants = |_: &Subject| "/api/tenants".to_owned();
    let tokens = |_: &Subject| "/api/tokens".to_owned();
    let token = |of: &Subject| format!("/api/tokens/{}", of.token);
    let rotate = |of: &Subject| format!("/api/tokens/{}/rotate", of.token);
    let patch = |_: &Subject| Some(json!({"name": "Another name"}));
    let new_tenant = |_: &Subject| Some(json!({"name": "A new tenant"}));
    let new_token = |_: &Subject| Some(json!({"name": "n", "scopes": ["tokens:admin"]}));
    let overlap = |_: &Subject| Some(json!({"overlap_seconds": 60}));
    BTreeMap::from([
        (
            "GET /api/tenants/by-phone/{phone_number_id}",
            row(LookupRead, by_phone, NONE, 200, Absent(404)),
        ),
        (
            "GET /api/tenants/by-integration/{genesys_integration_id}",
            row(LookupRead, by_integration, NONE, 200, Absent(404)),
        ),
        ("GET /api/tenants/{id}/credentials", row(CredentialsRead, masked, NONE, 200, Absent(404))),
        (
            "PUT /api/tenants/{id}/credentials",
            row(CredentialsWrite, credentials, set, 200, Absent(404)),
        ),
        (
            "POST /api/tenants/{id}/credentials",
            row(CredentialsWrite, credentials, set, 200, Absent(404)),
        ),
        (
            "GET /api/tenants/{id}/credentials/meta",
            row(CredentialsReveal, meta, NONE, 200, Absent(404)),
        ),
        (
            "GET /api/tenants/{id}/credentials/{type}",
            row(CredentialsReveal, full, NONE, 200, Absent(404)),
        ),
        (
            "GET /api/tenants/{id}/genesys/credentials",
            row(CredentialsRead, of_genesys, NONE, 200, Absent(404)),
        ),
        (
            "PUT /api/tenants/{id}/genesys/credentials",
            row(CredentialsWrite, of_genesys, genesys, 200, Absent(404)),
        ),
        (
            "DELETE /api/tenants/{id}/credentials/{type}",
            row(CredentialsWrite, full, NONE, 204, Absent(404)),
        ),
        (
            "GET /api/tenants/{id}/credentials/{type}/versions",
            row(CredentialsRead, versions, NONE, 200, Absent(404)),
        ),
        (
            "GET /api/tenants/{id}/credentials/{type}/versions/{version}",
            row(CredentialsReveal, version, NONE, 200, Absent(404)),
        ),
        (
            "DELETE /api/tenants/{id}/credentials/{type}/versions/{version}",
            row(CredentialsDestroy, version, NONE, 204, Absent(404)),
        ),
        (
            "POST /api/tenants/{id}/credentials/{type}/rollback",
            row(CredentialsWrite, roll_back, to_first, 200, Absent(404)),
        ),
        // They are there: what is to be seen is that this, and nothing else, is said to whoever may know.
        (
            "POST /api/tenants/{id}/credentials/{type}/undelete",
            row(CredentialsWrite, undelete, NONE, 409, Absent(404)),
        ),
        (
            "POST /api/tenants/{id}/credentials/{type}/destroy",
            row(CredentialsDestroy, destroy, NONE, 200, Absent(404)),
        ),
        ("GET /api/audit", row(AuditRead, audit, NONE, 200, Trail)),
        ("GET /api/tenants", row(TenantsRead, tenants, NONE, 200, Filtered("tenants"))),
        ("POST /api/tenants", row(TenantsWrite, tenants, new_tenant, 201, Refused)),
        ("GET /api/tenants/{id}", row(TenantsRead, id, NONE, 200, Absent(404))),
        ("PATCH /api/tenants/{id}", row(TenantsWrite, id, patch, 200, Absent(404))),
        ("DELETE /api/tenants/{id}", row(TenantsWrite, id, NONE, 204, Absent(404))),
        ("GET /api/tokens", row(TokensAdmin, tokens, NONE, 200, Filtered("tokens"))),
        ("POST /api/tokens", row(TokensAdmin, tokens, new_token, 201, Refused)),
        ("GET /api/tokens/{token_id}", row(TokensAdmin, token, NONE, 200, Absent(404))),
        ("DELETE /api/tokens/{token_id}", row(TokensAdmin, token, NONE, 200, Absent(404))),
        ("POST /api/tokens/{token_id}/rotate", row(TokensAdmin, rotate, overlap, 201, Absent(404))),
    ])
}

#[test]
fn every_operation_has_an_expectation() {
    let mut table = table();
    for operation in operations() {
        let name = format!("{} {}", operation.method, operation.path);
        match operation.access {
            Access::Open => assert!(!operation.path.starts_with("/api/"), "{name}"),
            Access::Needs(scope) => {
                let expected = table.remove(&*name);
                let expected = expected.unwrap_or_else(|| panic!("{name}: say who may do it"));
                assert_eq!(expected.scope, scope, "{name}");
            }
        }
    }
    assert!(table.is_empty(), "expected of no operation: {:?}", table.keys());
}

pub(super) struct Site<'s> {
    pub replica: &'s Replica,
    pub admin: &'s str,
}

impl Site<'_> {
    /// A tenant of its own, and a token that is limited to it.
    pub async fn subject(&self, id: &str, phone: usize) -> Subject {
        let phone = format!("1000{phone}");
        tenant(self.replica, self.admin, id, &phone).await;
        let token = limited(self.replica, self.admin, &["tokens:admin"], &[id]).await;
        Subject { tenant: id.to_owned(), phone, token: id_of(&token).to_owned() }
    }

    pub fn call(&self, name: &str, expected: &Expectation, of: &Subject) -> Call {
        let (method, _) = name.split_once(' ').unwrap();
        let call = self.replica.request(method.parse::<Method>().unwrap(), &(expected.path)(of));
        match (expected.body)(of) {
            Some(body) => call.json(&body),
            None => call,
        }
    }

    async fn ask(
        &self,
        name: &str,
        expected: &Expectation,
        of: &Subject,
        token: Option<&str>,
    ) -> Answer {
        let call = self.call(name, expected, of);
        match token {
            Some(token) => with(call, token).await,
            None => call.await,
        }
    }
}

/// One operation after the other: without a token, with a token of each scope, and about one's own and
/// another's with one that is limited.
async fn holds(replica: &Replica, admin: &str) {
    let site = Site { replica, admin };
    let mut of_scope = BTreeMap::new();
    for scope in Scope::ALL {
        let body = json!({"name": scope.as_str(), "scopes": [scope.as_str()]});
        of_scope.insert(scope, mint(replica, admin, body).await);
    }
    let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    for (n, (name, expected)) in table().iter().enumerate() {
        let own = site.subject(&format!("own-{n}"), 3 * n).await;
        let foreign = site.subject(&format!("foreign-{n}"), 3 * n + 1).await;
        let free = site.subject(&format!("free-{n}"), 3 * n + 2).await;
        let absent = Subject {
            tenant: format!("absent-{n}"),
            phone: format!("2000{n}"),
            token: "zzzzzzzzzzzzzzzz".to_owned(),
        };
        let limited = limited(replica, admin, &all, &[&own.tenant]).await;

        let answer = site.ask(name, expected, &free, None).await.expecting(401);
        assert_eq!(answer.json()["code"], "unauthorized", "{name}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{name}");
        for (scope, token) in &of_scope {
            if *scope == expected.scope {
                continue;
            }
            let answer = site.ask(name, expected, &free, Some(token)).await.expecting(403);
            assert_eq!(answer.json()["code"], "insufficient_scope", "{name} with {scope}");
            let lacking =
                format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", expected.scope);
            assert_eq!(answer.header("www-authenticate"), Some(&*lacking), "{name} with {scope}");
        }

        // Twice each, for what is in memory takes another way.
        match &expected.foreign {
            Absent(status) => {
                for _ in 0..2 {
                    let of_foreign = site.ask(name, expected, &foreign, Some(&limited)).await;
                    let of_absent = site.ask(name, expected, &absent, Some(&limited)).await;
                    assert_eq!(of_absent.status, *status, "{name}");
                    assert_eq!(seen(&of_foreign), seen(&of_absent), "{name}");
                }
                // It was left as it was: there is still something to be found.
                let scope = &of_scope[&expected.scope];
                site.ask(name, expected, &foreign, Some(scope)).await.expecting(expected.own);
                site.ask(name, expected, &own, Some(&limited)).await.expecting(expected.own);
            }
            Refused => {
                let answer = site.ask(name, expected, &own, Some(&limited)).await.expecting(403);
                assert_eq!(answer.json()["code"], "insufficient_scope", "{name}");
                let scope = &of_scope[&expected.scope];
                site.ask(name, expected, &free, Some(scope)).await.expecting(expected.own);
            }
            Trail => {
                let entries = async |token: &str| {
                    let answer = site.ask(name, expected, &own, Some(token)).await.expecting(200);
                    let entries = answer.json()["entries"].as_array().unwrap().clone();
                    entries.into_iter().map(|entry| entry["tenant_id"].clone()).collect::<Vec<_>>()
                };
                let of_all = async || entries(&of_scope[&expected.scope]).await;
                eventually(DEADLINE, "what was done is in the trail", async || {
                    let all = of_all().await;
                    [&own, &foreign].iter().all(|of| all.contains(&json!(of.tenant)))
                })
                .await;
                let shown = entries(&limited).await;
                assert!(!shown.is_empty() && shown.iter().all(|id| *id == own.tenant), "{shown:?}");
            }
            Filtered(list) => {
                let answer = site.ask(name, expected, &own, Some(&limited)).await.expecting(200);
                let answer = answer.json();
                let shown: Vec<_> =
                    answer[list].as_array().unwrap().iter().map(|item| &item["id"]).collect();
                let mine = if *list == "tenants" {
                    vec![json!(own.tenant)]
                } else {
                    vec![json!(own.token), json!(id_of(&limited))]
                };
                assert_eq!(shown, mine.iter().collect::<Vec<_>>(), "{name}");
                assert_eq!(answer["total"], mine.len(), "{name}");
                let scope = &of_scope[&expected.scope];
                let whole = site.ask(name, expected, &free, Some(scope)).await.expecting(200);
                assert!(whole.json()["total"].as_u64() > answer["total"].as_u64(), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_matrix_holds_on_sqlite() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    holds(replica, admin).await;
}

#[tokio::test]
async fn the_matrix_holds_on_postgres() {
    let database = Postgres::database().await;
    let replica = closed().database(&database).start().await;
    holds(&replica, &admin_of(&database).await).await;
}

/// What needs nothing is answered whatever is brought.
#[tokio::test]
async fn open_operations_judge_no_token() {
    let replica = closed().start().await;
    for operation in operations().iter().filter(|operation| operation.access == Access::Open) {
        let path = operation.path.replace("{*file}", "index.html");
        for value in ["Bearer hunter2", "Basic x", ""] {
            replica.get(&path).header("authorization", value).await.expecting(200);
        }
    }
    let answer = replica.get("/nowhere").header("authorization", "Bearer hunter2").await;
    assert_eq!(answer.expecting(404).json()["code"], "not_found");
}
