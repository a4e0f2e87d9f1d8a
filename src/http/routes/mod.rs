//! One file a resource: its error cases, documentation, handlers and tests.

pub mod audit;
pub mod credentials;
pub mod docs;
pub mod genesys;
pub mod health;
pub mod lookups;
pub mod metrics;
pub mod tenants;
pub mod tokens;
pub mod versions;

use super::auth::Caller;
use super::problem::Problem;
use super::state::Shared;
use crate::domain::{Action, By, CredentialType, Scope, TenantId};
use crate::service::Intent;

/// Whether the caller may read a tenant, or its credentials of this type. That they may not is entered
/// into the audit trail.
fn readable(
    state: &Shared,
    caller: &Caller,
    (id, kind): (&TenantId, Option<CredentialType>),
    by: By,
) -> bool {
    let (sees, scope) = match kind {
        None => (caller.sees(id), Scope::TenantsRead),
        Some(kind) => (caller.sees_credentials(id, kind), Scope::CredentialsRead),
    };
    if !sees {
        state.service.denied(by, Action::Access(scope), id, kind);
    }
    sees
}

/// Whether the caller may write a tenant, or its credentials of this type. Where not, it looks as if
/// there were no such tenant, and is entered into the audit trail.
fn writable(
    state: &Shared,
    caller: &Caller,
    (id, kind): (&TenantId, Option<CredentialType>),
    (action, intent): (Action, &Intent),
) -> Result<(), Problem> {
    if kind.map_or_else(|| caller.sees(id), |kind| caller.sees_credentials(id, kind)) {
        return Ok(());
    }
    state.service.denied(intent.by.clone(), action, id, kind);
    Err(Problem::tenant_not_found())
}
