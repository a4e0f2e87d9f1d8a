//! Writes: to tenants that others write to as well, or to tenants of one's own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::pace::Pace;
use super::tenant::{Condition, Phone, Tenant, token};
use super::wire::{Connection, number, request};
use super::{Event, Shared};
use crate::harness::history::{Effect, Numbers};
use crate::harness::process::lock;

/// After a write without an answer.
const BREATH: Duration = Duration::from_millis(50);

pub struct Writer {
    pub(super) shared: Arc<Shared>,
    connections: Vec<Connection>,
    pub(super) pace: Pace,
    pub(super) rng: Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// It never reached a replica.
    Unsent,
    Refused,
    Unknown,
}

/// Two tenants, at most one of which has the phone number.
struct Own {
    tenants: [Tenant; 2],
    conditions: [Condition; 2],
    phone: Phone,
}

impl Writer {
    pub fn new(shared: &Arc<Shared>, rng: Rng) -> Self {
        let pace = Pace::share(Some(shared.settings.writes_a_second), shared.settings.owners + 3);
        let connections = shared.addresses.iter().map(|address| Connection::to(address)).collect();
        Self { shared: Arc::clone(shared), connections, pace, rng }
    }

    /// Creates the shared tenants, with credentials. Panics where that fails: nothing is broken yet.
    pub async fn create_shared(&mut self, tenants: &[(Tenant, Phone)]) {
        for (tenant, phone) in tenants {
            let body = request("POST", "/api/tenants", &tenant.body(Some(phone)));
            let created = self.write(&body, &tenant.effects_of_renaming(phone), false).await;
            assert_eq!(created, Outcome::Acknowledged, "creating a tenant");
            let set = self.set_credentials_of_shared(tenant, phone).await;
            assert_eq!(set, Outcome::Acknowledged, "setting its credentials");
        }
    }

    /// Renames tenants and sets their credentials, as others do at the same time.
    pub async fn write_shared(mut self, tenants: Arc<[(Tenant, Phone)]>) {
        while !self.shared.has_ended() {
            self.pace.turn().await;
            let (tenant, phone) = &tenants[self.rng.usize(..tenants.len())];
            if self.rng.bool() {
                self.set_credentials_of_shared(tenant, phone).await;
            } else {
                let name = format!("Tenant {}", self.shared.tokens.fetch_add(1, Ordering::Relaxed));
                let body = request("PATCH", &tenant.path(), &json!({"name": name}));
                self.write(&body, &tenant.effects_of_renaming(phone), false).await;
            }
        }
    }

    async fn set_credentials_of_shared(&mut self, tenant: &Tenant, phone: &Phone) -> Outcome {
        let (body, tag) = self.credentials(tenant);
        self.write(&body, &tenant.effects_of_credentials(phone, tag), true).await
    }

    /// Moves, deletes, creates, suspends and changes tenants that nobody else writes to; and rolls their
    /// credentials back, deletes, brings back and destroys them. Once the
    /// outcome of a write is unknown nobody can say what the next one does: then with others.
    pub async fn write_own(mut self, owner: usize) {
        while !self.shared.has_ended() {
            let mut own = self.begin_anew(owner);
            while !self.shared.has_ended() {
                self.pace.turn().await;
                let (which, after, body) = self.choose(&own);
                let Own { tenants, conditions, phone } = &mut own;
                let effects = tenants[which].effects(phone, conditions[which], after);
                match self.write(&body, &effects, false).await {
                    Outcome::Acknowledged => conditions[which] = after,
                    Outcome::Unsent => {}
                    Outcome::Refused | Outcome::Unknown => break,
                }
            }
        }
    }

    fn begin_anew(&self, owner: usize) -> Own {
        let mut targets = Vec::new();
        let (first, phone) = self.shared.new_tenant(&mut targets);
        let (second, _) = self.shared.new_tenant(&mut targets);
        self.shared.targets[owner].store(Arc::new(targets));
        Own { tenants: [first, second], conditions: [Condition::default(); 2], phone }
    }

    /// What to do next: to which tenant, how it is then, and the request.
    fn choose(&mut self, own: &Own) -> (usize, Condition, Vec<u8>) {
        let which = self.rng.usize(..2);
        let (tenant, now) = (&own.tenants[which], own.conditions[which]);
        let other = own.conditions[1 - which];
        let patch = |body: Value| request("PATCH", &tenant.path(), &body);
        if !now.exists {
            let phone = (!other.has_phone && self.rng.bool()).then_some(&own.phone);
            let has_phone = phone.is_some();
            let after = Condition { exists: true, active: true, has_phone, ..now };
            return (which, after, request("POST", "/api/tenants", &tenant.body(phone)));
        }
        let of_credentials = |method: &str, rest: &str, body: Value| {
            request(method, &format!("{}/credentials/whatsapp{rest}", tenant.path()), &body)
        };
        match (self.rng.u8(0..14), now.previous, now.deleted) {
            (0, ..) => {
                let body = request("DELETE", &tenant.path(), &Value::Null);
                (which, Condition::default(), body)
            }
            (1 | 2, ..) => {
                let status = if now.active { "suspended" } else { "active" };
                let after = Condition { active: !now.active, ..now };
                (which, after, patch(json!({"status": status})))
            }
            (3..=6, ..) if now.has_phone => {
                let after = Condition { has_phone: false, ..now };
                (which, after, patch(json!({"phone_number_id": null})))
            }
            (3..=6, ..) if !other.has_phone => {
                let after = Condition { has_phone: true, ..now };
                (which, after, patch(json!({"phone_number_id": own.phone.number})))
            }
            (7 | 8, Some((version, tag)), _) => {
                let body = of_credentials("POST", "/rollback", json!({"version": version}));
                (which, now.with(tag), body)
            }
            (7 | 8, _, Some(tag)) => {
                (which, now.with(tag), of_credentials("POST", "/undelete", Value::Null))
            }
            (9, ..) if now.tag.is_some() => {
                (which, now.deleted(), of_credentials("DELETE", "", Value::Null))
            }
            (10, ..) if now.tag.is_some() => {
                let body = of_credentials("POST", "/destroy", Value::Null);
                (which, now.destroyed(), body)
            }
            _ => {
                let (body, tag) = self.credentials(tenant);
                (which, now.with(tag), body)
            }
        }
    }

    /// A request that sets new credentials, and their tag.
    fn credentials(&self, tenant: &Tenant) -> (Vec<u8>, u64) {
        let (token, tag) = token(self.shared.tokens.fetch_add(1, Ordering::Relaxed));
        let body = json!({"type": "whatsapp", "credentials": {"access_token": token}});
        (request("PUT", &format!("{}/credentials", tenant.path()), &body), tag)
    }

    async fn write(&mut self, request: &[u8], effects: &[Effect], has_version: bool) -> Outcome {
        self.ask(request, effects, has_version).await.0
    }

    /// Sends a write to any replica and records it; what it answers is returned if it is acknowledged.
    /// A version counts only where no deletion can have begun to count anew.
    pub(super) async fn ask(
        &mut self,
        request: &[u8],
        effects: &[Effect],
        has_version: bool,
    ) -> (Outcome, Vec<u8>) {
        let Self { shared, connections, rng, .. } = self;
        let replica = rng.usize(..connections.len());
        let connection = &mut connections[replica];
        let id = {
            let mut history = lock(&shared.history);
            history.begin(shared.now(), effects)
        };
        let answer = connection.ask(request).await;
        let completed = shared.now();
        match answer {
            Ok(answer) if answer.status < 300 => {
                let version = has_version.then(|| version(answer.body)).flatten();
                let numbers = Numbers { revision: answer.revision, version };
                lock(&shared.history).acknowledge(id, completed, numbers);
                let is_fenced = answer.coherence == Some("fenced");
                let event = if is_fenced { Event::WriteFenced } else { Event::WriteAcknowledged };
                shared.counters.count(event);
                (Outcome::Acknowledged, answer.body.to_vec())
            }
            Ok(answer) if answer.status < 500 => {
                lock(&shared.history).refuse(id);
                shared.counters.count(Event::WriteRefused);
                shared.is_odd(|| {
                    let body = String::from_utf8_lossy(answer.body).into_owned();
                    format!("{}: {body}", String::from_utf8_lossy(request))
                });
                (Outcome::Refused, Vec::new())
            }
            failed => {
                shared.counters.count(Event::WriteFailed);
                let is_unsent =
                    failed.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
                if is_unsent {
                    lock(&shared.history).refuse(id);
                }
                sleep(BREATH).await;
                (if is_unsent { Outcome::Unsent } else { Outcome::Unknown }, Vec::new())
            }
        }
    }
}

/// `{"message":"…","version":2}`
fn version(body: &[u8]) -> Option<u64> {
    let at = body.windows(10).position(|window| window == br#""version":"#)?;
    Some(number(&body[at..]))
}
