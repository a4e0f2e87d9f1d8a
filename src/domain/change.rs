//! A change: one committed write, with the cache keys whose value or absence it touched.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::CacheKey;

/// What happened. The text is that of the change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// `tenant.created`
    TenantCreated,
    /// `tenant.updated`
    TenantUpdated,
    /// `tenant.deleted`
    TenantDeleted,
    /// `credentials.updated`
    CredentialsUpdated,
    /// `credentials.revoked`
    CredentialsRevoked,
    /// `credentials.expiring`: their end has come nearer. Nothing has changed that anybody caches, so it
    /// names no keys.
    CredentialsExpiring,
    /// `tokens.created`
    TokenCreated,
    /// `tokens.updated`
    TokenUpdated,
    /// `tokens.revoked`
    TokenRevoked,
    /// `reset`: everything may have changed (a table was truncated).
    Reset,
}

impl ChangeKind {
    const ALL: [Self; 10] = [
        Self::TenantCreated,
        Self::TenantUpdated,
        Self::TenantDeleted,
        Self::CredentialsUpdated,
        Self::CredentialsRevoked,
        Self::CredentialsExpiring,
        Self::TokenCreated,
        Self::TokenUpdated,
        Self::TokenRevoked,
        Self::Reset,
    ];

    /// The kind as the change log and the feed write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantCreated => "tenant.created",
            Self::TenantUpdated => "tenant.updated",
            Self::TenantDeleted => "tenant.deleted",
            Self::CredentialsUpdated => "credentials.updated",
            Self::CredentialsRevoked => "credentials.revoked",
            Self::CredentialsExpiring => "credentials.expiring",
            Self::TokenCreated => "tokens.created",
            Self::TokenUpdated => "tokens.updated",
            Self::TokenRevoked => "tokens.revoked",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of change that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of change")]
pub struct UnknownKind;

impl FromStr for ChangeKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// One row of the change log.
///
/// Carries no value and no secret, so it may travel over any bus and into any log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row's number in the log: unique, never reused, but not in commit order.
    pub seq: i64,
    /// The writing transaction (Postgres `xid8`); in SQLite the same as `seq`.
    pub xid: u64,
    /// The tenant that was written, where the change belongs to one.
    pub tenant_id: Option<String>,
    /// What happened.
    pub kind: ChangeKind,
    /// The credential's version, for changes of credentials.
    pub version: Option<i64>,
    /// Every key whose value or absence depends on the row, before or after the write.
    pub keys: Vec<CacheKey>,
    /// When the row was written, by the database's clock.
    pub occurred_at: Timestamp,
}
