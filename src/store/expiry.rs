//! Credentials that end: what is told of it, and how many there are.

use async_trait::async_trait;
use sqlx::FromRow;

use super::{StoreResult, Written};
use crate::domain::{CredentialType, TenantId};

/// How many current credentials of active tenants end soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Expiring {
    /// Within 30 days; those within 7 are among them.
    pub within_30_days: i64,
    /// Within 7 days; those within 1 are among them.
    pub within_7_days: i64,
    /// Within 1 day.
    pub within_1_day: i64,
    /// Have ended.
    pub expired: i64,
}

/// What was told of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Announced {
    /// Their version.
    pub version: i64,
    /// They end within so many days: 30, 7 or 1.
    pub days: i64,
}

/// Credentials that end.
///
/// That they do is told once for each version, end and number of days (30, 7, 1), the smallest that
/// holds; whose end has passed before anybody could tell is told as within 1. Only of active tenants:
/// what a suspended one has is told when it is active again.
#[async_trait]
pub trait Expiry: Send + Sync {
    /// Of which it is to be told, so many at most, those that end first.
    async fn to_announce(&self, limit: u32) -> StoreResult<Vec<(TenantId, CredentialType)>>;

    /// Logs a `credentials.expiring`, and in the same transaction that it is logged. `None`: it was
    /// already, or somebody writes the tenant at this moment, which leaves it to the next time.
    async fn announce(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<Written<Announced>>>;

    /// How many there are.
    async fn expiring(&self) -> StoreResult<Expiring>;
}

/// What those rows name. A row that can't be read, no client can ask for.
pub(super) fn places(rows: &[(String, String)]) -> Vec<(TenantId, CredentialType)> {
    let place =
        |(tenant, kind): &(String, String)| Some((tenant.parse().ok()?, kind.parse().ok()?));
    rows.iter().filter_map(place).collect()
}
