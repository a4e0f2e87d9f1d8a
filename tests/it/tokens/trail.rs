//! What each operation leaves in the audit trail: what was done, what was asked of somebody else's, and
//! what the token has no scope for. The table below says it; an operation that writes and is not in it
//! fails.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenant_service::domain::Scope;
use tenant_service::http::auth::Access;
use tenant_service::http::router::operations;

use super::matrix::{Expectation, Foreign, Site, Subject, table};
use super::{Embedded, admin_of, closed, id_of, limited, mint, with};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Postgres, Replica, eventually};

/// Of one's own, and of another's with a token that is limited to one's own.
type Entered = (&'static [&'static str], &'static [&'static str]);

/// Of lists, which show what is within the limits.
const NOTHING: Entered = (&[], &[]);

fn entered(name: &str) -> Entered {
    match name {
        "GET /api/tenants/{id}/credentials/meta"
        | "GET /api/tenants/{id}/credentials/{type}"
        | "GET /api/tenants/{id}/credentials/{type}/versions/{version}" => {
            (&["credentials.reveal ok"], &["credentials.reveal denied"])
        }
        "PUT /api/tenants/{id}/credentials" | "POST /api/tenants/{id}/credentials" => {
            (&["credentials.set ok"], &["credentials.set denied"])
        }
        "PUT /api/tenants/{id}/genesys/credentials" => {
            (&["credentials.set ok", "tenant.update ok"], &["credentials.set denied"])
        }
        "DELETE /api/tenants/{id}/credentials/{type}" => {
            (&["credentials.delete ok"], &["credentials.delete denied"])
        }
        "POST /api/tenants/{id}/credentials/{type}/rollback" => {
            (&["credentials.roll_back ok"], &["credentials.roll_back denied"])
        }
        "POST /api/tenants/{id}/credentials/{type}/undelete" => {
            (&["credentials.undelete refused"], &["credentials.undelete denied"])
        }
        "DELETE /api/tenants/{id}/credentials/{type}/versions/{version}"
        | "POST /api/tenants/{id}/credentials/{type}/destroy" => {
            (&["credentials.destroy ok"], &["credentials.destroy denied"])
        }
        "POST /api/tenants" => (&["tenant.create ok"], &["tenant.create denied"]),
        "PATCH /api/tenants/{id}" => (&["tenant.update ok"], &["tenant.update denied"]),
        // With it go the tokens that are limited to it: the bearer's, and the subject's.
        "DELETE /api/tenants/{id}" => {
            (&["tenant.delete ok", "token.revoke ok"], &["tenant.delete denied"])
        }
        "POST /api/tokens" => (&["token.create ok"], &["token.create denied"]),
        "DELETE /api/tokens/{token_id}" => (&["token.revoke ok"], &["token.revoke denied"]),
        "POST /api/tokens/{token_id}/rotate" => {
            (&["token.create ok", "token.rotate ok"], &["token.rotate denied"])
        }
        "GET /api/tenants/by-phone/{phone_number_id}"
        | "GET /api/tenants/by-integration/{genesys_integration_id}" => {
            (&[], &["lookup.read denied"])
        }
        "GET /api/tenants/{id}" => (&[], &["tenant.read denied"]),
        "GET /api/tenants/{id}/credentials"
        | "GET /api/tenants/{id}/genesys/credentials"
        | "GET /api/tenants/{id}/credentials/{type}/versions" => {
            (&[], &["credentials.read denied"])
        }
        "GET /api/tokens/{token_id}" => (&[], &["tokens.admin denied"]),
        "GET /api/tenants" | "GET /api/tokens" | "GET /api/audit" => NOTHING,
        _ => panic!("{name}: say what it enters into the audit trail"),
    }
}

/// What somebody without the scope leaves.
const fn of_access(scope: Scope) -> &'static str {
    match scope {
        Scope::LookupRead => "lookup.read denied",
        Scope::TenantsRead => "tenant.read denied",
        Scope::TenantsWrite => "tenant.write denied",
        Scope::CredentialsRead => "credentials.read denied",
        Scope::CredentialsReveal => "credentials.reveal denied",
        Scope::CredentialsWrite => "credentials.write denied",
        Scope::CredentialsDestroy => "credentials.destroy denied",
        Scope::EventsRead => "events.read denied",
        Scope::AuditRead => "audit.read denied",
        Scope::TokensAdmin => "tokens.admin denied",
    }
}

/// A request that was sent: by which token, about whom, and what it is to have left.
struct Sent {
    what: String,
    actor: String,
    of: Option<Subject>,
    entries: BTreeSet<String>,
}

fn set(entries: &[&str]) -> BTreeSet<String> {
    entries.iter().map(|entry| (*entry).to_owned()).collect()
}

struct Asking<'s> {
    site: Site<'s>,
    sent: BTreeMap<String, Sent>,
}

impl Asking<'_> {
    /// Sends a request under an id of its own.
    async fn ask(
        &mut self,
        (name, expected): (&str, &Expectation),
        of: &Subject,
        token: &str,
        (what, status, entries): (&str, u16, &[&str]),
    ) {
        let id = format!("request-{}", self.sent.len());
        let call = self.site.call(name, expected, of).header("x-request-id", &id);
        with(call, token).await.expecting(status);
        let is_about = !name.ends_with("/api/tenants") && !name.ends_with("/api/tokens");
        let sent = Sent {
            what: format!("{name}, {what}"),
            actor: id_of(token).to_owned(),
            of: is_about.then(|| of.clone()),
            entries: set(entries),
        };
        self.sent.insert(id, sent);
    }

    async fn all(&mut self, all: &[&str]) {
        for (n, (name, expected)) in table().iter().enumerate() {
            let (own, foreign) = entered(name);
            let mine = self.site.subject(&format!("own-{n}"), 2 * n).await;
            let others = self.site.subject(&format!("foreign-{n}"), 2 * n + 1).await;
            let (replica, admin) = (self.site.replica, self.site.admin);
            let bearer = limited(replica, admin, all, &[&mine.tenant]).await;
            let row = (*name, expected);
            match &expected.foreign {
                Foreign::Absent(status) => {
                    self.ask(row, &others, &bearer, ("of another", *status, foreign)).await;
                    self.ask(row, &mine, &bearer, ("of one's own", expected.own, own)).await;
                }
                Foreign::Refused => {
                    self.ask(row, &mine, &bearer, ("beyond the limits", 403, foreign)).await;
                    let free = json!({"name": "n", "scopes": all});
                    let free = mint(replica, admin, free).await;
                    self.ask(row, &mine, &free, ("without limits", expected.own, own)).await;
                }
                Foreign::Filtered(_) | Foreign::Trail => {
                    self.ask(row, &mine, &bearer, ("a list", expected.own, own)).await;
                }
            }
            let other = Scope::ALL.into_iter().find(|scope| *scope != expected.scope).unwrap();
            let lacking = limited(replica, admin, &[other.as_str()], &[&mine.tenant]).await;
            let entry = [of_access(expected.scope)];
            self.ask(row, &mine, &lacking, ("without the scope", 403, &entry)).await;
        }
    }

    /// All that these requests have left, once what came last is in the trail as well.
    async fn found(&self) -> BTreeMap<String, Vec<Value>> {
        let Site { replica, admin } = self.site;
        let last = mint(replica, admin, json!({"name": "n", "scopes": ["lookup:read"]})).await;
        with(replica.get("/api/tenants"), &last).await.expecting(403);
        let path = format!("/api/audit?actor={}", id_of(&last));
        eventually(DEADLINE, "what was denied last is in the trail", async || {
            let page = with(replica.get(&path), admin).await.expecting(200).json();
            if page["entries"] == json!([]) { Err(page) } else { Ok(()) }
        })
        .await;
        let (mut found, mut after) = (BTreeMap::<String, Vec<Value>>::new(), "0".to_owned());
        loop {
            let path = format!("/api/audit?order=oldest&limit=200&after={after}");
            let page = with(replica.get(&path), admin).await.expecting(200).json();
            for entry in page["entries"].as_array().unwrap() {
                let id = entry["request_id"].as_str().unwrap_or_default().to_owned();
                found.entry(id).or_default().push(entry.clone());
            }
            if page["more"] == false {
                return found;
            }
            page["next"].as_str().unwrap().clone_into(&mut after);
        }
    }
}

async fn each_leaves_what_it_should(replica: &Replica, admin: &str) {
    let all = Scope::ALL.map(Scope::as_str);
    let mut asking = Asking { site: Site { replica, admin }, sent: BTreeMap::new() };
    asking.all(&all).await;
    let mut found = asking.found().await;
    for (id, Sent { what, actor, of, entries }) in &asking.sent {
        let left = found.remove(id).unwrap_or_default();
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        let lines = left.iter().map(|it| format!("{} {}", text(it, "action"), text(it, "outcome")));
        assert_eq!(lines.collect::<BTreeSet<_>>(), *entries, "{what}");
        let each = left.iter().map(|it| (text(it, "action"), text(it, "token_id")));
        assert_eq!(left.len(), each.collect::<BTreeSet<_>>().len(), "{what}: {left:?}");
        for entry in &left {
            assert_eq!(entry["actor"], json!({"kind": "token", "id": actor}), "{what}");
            assert_eq!(entry["address"], "127.0.0.1", "{what}");
            let Some(of) = of else { continue };
            // Who lacks the scope is stopped before it is looked at what they ask for.
            let is_access = what.ends_with("without the scope");
            let tenant = if is_access { "-" } else { &*of.tenant };
            if text(entry, "action").starts_with("token") {
                let made = text(entry, "action") == "token.create";
                let is_it = what.starts_with("DELETE /api/tenants/{id},")
                    || text(entry, "token_id") == of.token;
                assert!(made || is_access || is_it, "{what}: {entry}");
            } else {
                assert_eq!(text(entry, "tenant_id"), tenant, "{what}: {entry}");
            }
        }
    }
}

#[test]
fn what_every_operation_enters_is_said() {
    for operation in operations() {
        if let Access::Needs(_) = operation.access {
            entered(&format!("{} {}", operation.method, operation.path));
        }
    }
}

#[tokio::test]
async fn every_operation_leaves_its_entry_on_sqlite() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    each_leaves_what_it_should(replica, admin).await;
}

#[tokio::test]
async fn every_operation_leaves_its_entry_on_postgres() {
    let database = Postgres::database().await;
    let replica = closed().database(&database).start().await;
    each_leaves_what_it_should(&replica, &admin_of(&database).await).await;
}
