//! The truth: traits that Postgres and SQLite implement, and what they return.
//!
//! A look-up returns `Result<Option<T>>`: absence is no error. A write is one transaction that
//! locks the tenant's row first, and returns the changes that the database's triggers logged for
//! it, so that the caller can tell them to every replica. It writes its row of the audit trail in the same
//! transaction: neither is there without the other.
//!
//! Architecture Invariant: nothing in here knows of a cache, a bus or HTTP.

mod audit;
mod error;
mod migrate;
mod patch;
pub mod postgres;
mod row;
mod seal;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;

use crate::coherence::{Instance, LogHead, LogIdentity, Snapshot};
use crate::domain::{
    By, CacheKey, Change, CredentialType, Credentials, IntegrationId, Lookup, NewTenant,
    PhoneNumberId, Region, Status, Tenant, TenantId, TenantPatch,
};

pub use audit::{
    AuditPage, AuditQuery, AuditRecord, AuditTrail, Break, Chain, Chained, Order, Position,
    Standing, Walk,
};
pub use error::{Cause, Refusal, StoreError, StoreResult};
pub use migrate::MigrateError;
pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// What a committed write returns.
#[derive(Debug)]
pub struct Written<T> {
    /// The row as it is now.
    pub value: T,
    /// What the triggers logged, in the order of the log.
    pub changes: Vec<Change>,
    /// The transaction. Whoever has applied a snapshot that sees it has applied the changes, and
    /// those of every write of this tenant before it.
    pub xid: u64,
    /// The last transaction before it that wrote this tenant, if the log still has it. What this one
    /// found may be of that one, so whoever has not applied it has not done with this one either.
    pub after: Option<u64>,
}

impl<T> Written<T> {
    /// A write that logged changes. (Where it logged none, none was to be logged: its transaction
    /// is waited for as [`Written::unchanged`] would have it.)
    fn logged(value: T, Logged { changes, xid, after }: Logged) -> Self {
        Self { value, changes, xid, after }
    }

    /// The row, and what is to be told of the write.
    #[must_use]
    pub fn take(self) -> (T, Written<()>) {
        let Self { value, changes, xid, after } = self;
        (value, Written { value: (), changes, xid, after })
    }

    /// A write that found everything as it was to become.
    const fn unchanged(value: T, xid: u64) -> Self {
        Self { value, changes: Vec::new(), xid, after: None }
    }
}

/// What a transaction has logged.
struct Logged {
    changes: Vec<Change>,
    xid: u64,
    after: Option<u64>,
}

/// Which tenants to list. Ordered by creation, then id.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// How many to leave out first.
    pub offset: u64,
    /// Only those of this status.
    pub status: Option<Status>,
}

/// Tenants.
#[async_trait]
pub trait Tenants: Send + Sync {
    /// The active tenant that has this phone number.
    async fn tenant_by_phone(&self, phone: &PhoneNumberId) -> StoreResult<Option<Lookup>>;

    /// The active tenant that has this integration.
    async fn tenant_by_integration(&self, id: &IntegrationId) -> StoreResult<Option<Lookup>>;

    /// The tenant of this id, whatever its status.
    async fn tenant(&self, id: &TenantId) -> StoreResult<Option<Tenant>>;

    /// One page of tenants, and how many there are in all. A tenant that can't be read is counted
    /// and left out; the log names it.
    async fn tenants(&self, page: Page) -> StoreResult<(Vec<Tenant>, u64)>;

    /// Creates a tenant with its credentials, all or nothing. [`StoreError::Duplicate`] names the
    /// field that another one has.
    async fn create_tenant(&self, tenant: &NewTenant, by: &By) -> StoreResult<Written<Tenant>>;

    /// Changes a tenant; a patch that changes nothing logs nothing. `None`: there is none.
    /// [`StoreError::Invalid`]: its settings, merged, may not be stored.
    async fn patch_tenant(
        &self,
        id: &TenantId,
        patch: &TenantPatch,
        by: &By,
    ) -> StoreResult<Option<Written<Tenant>>>;

    /// Deletes a tenant and everything of it. `None`: there is none.
    async fn delete_tenant(&self, id: &TenantId, by: &By) -> StoreResult<Option<Written<()>>>;
}

/// The current credentials of one type.
#[derive(Debug, Clone)]
pub struct StoredCredentials {
    /// The credential's row, the same through all its versions.
    pub id: String,
    /// The credential's own counter: 1, 2, …
    pub version: i64,
    /// The object.
    pub credentials: Credentials,
}

/// Where a tenant's Genesys credentials are used: set on the tenant with them.
#[derive(Debug, Clone)]
pub struct GenesysLink {
    /// The tenant's integration from now on.
    pub integration_id: IntegrationId,
    /// The tenant's region from now on.
    pub region: Region,
}

/// Credentials that were set.
#[derive(Debug)]
pub struct CredentialsSet {
    /// See [`StoredCredentials::id`].
    pub id: String,
    /// See [`StoredCredentials::version`].
    pub version: i64,
    /// The tenant as it is now.
    pub tenant: Lookup,
}

/// Credentials.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// The current credentials of an active tenant.
    async fn credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<StoredCredentials>>;

    /// Replaces (or creates) the current credentials; the superseded version goes to the history.
    /// With `link`, the same transaction sets it on the tenant. `None`: there is no such tenant.
    async fn set_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        credentials: &Credentials,
        link: Option<&GenesysLink>,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>>;
}

/// Where to go on reading a large result.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// The snapshot in which the first page was read; later pages read in the same one.
    pub upto: Snapshot,
    /// The last sequence number that was returned.
    pub after: i64,
}

/// A page of changes.
#[derive(Debug)]
pub struct LogRead {
    /// The head of the log. On later pages its snapshot is that of the first, while its identity
    /// and horizon are of now: whoever compares each page's head with the cursor notices rows that
    /// were pruned, or a server that was promoted, between two pages.
    pub head: LogHead,
    /// Changes that `head` sees and the cursor did not, by sequence number.
    pub changes: Vec<Change>,
    /// There are more.
    pub next: Option<LogPage>,
}

/// Changes that a page holds at most.
pub const PAGE_ROWS: usize = 1_000;

impl LogRead {
    /// Makes a page of what was read, which is one row more than a page holds if others follow.
    fn paged(head: LogHead, mut changes: Vec<Change>) -> Self {
        let more = changes.len() > PAGE_ROWS;
        changes.truncate(PAGE_ROWS);
        let last = changes.last().filter(|_| more);
        let next = last.map(|last| LogPage { upto: head.snapshot.clone(), after: last.seq });
        Self { head, changes, next }
    }
}

/// The log of changes, written by triggers.
#[async_trait]
pub trait ChangeLog: Send + Sync {
    /// The head of the log at present. Fails on a server in recovery: a standby proves nothing.
    async fn log_head(&self) -> StoreResult<LogHead>;

    /// A transaction that changes nothing: whoever has applied a snapshot that sees it has applied
    /// everything that was committed before this call.
    async fn mark(&self) -> StoreResult<u64>;

    /// Changes that are committed now (or were, when `page` began) and that `seen` does not see.
    async fn log_since(&self, seen: &Snapshot, page: Option<&LogPage>) -> StoreResult<LogRead>;

    /// Removes rows older than `retention`, recording up to which transaction in the same
    /// transaction. `None`: another replica is at it.
    async fn prune_log(&self, retention: Duration) -> StoreResult<Option<u64>>;
}

/// The row of a process that serves from cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The process.
    pub instance: Instance,
    /// Moves with each renewal.
    pub renewals: i64,
    /// It has applied every change that this snapshot sees.
    pub applied: Snapshot,
    /// How long it serves on one proof.
    pub bound: Duration,
}

/// The table of those processes, as it was at one moment.
#[derive(Debug, Clone)]
pub struct Roster {
    /// The head of the log that the rows speak of.
    pub head: LogHead,
    /// Whether this database has been served from for longer than a bound: see
    /// [`Replicas::settle`].
    pub is_settled: bool,
    /// The rows.
    pub replicas: Vec<Replica>,
}

/// The processes that serve from cache, as they say themselves.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// Renews the row of a process, durably, and says what it has applied and for how long it
    /// serves on that. Where there is none, it is made: every write waits for it from now on.
    async fn renew(&self, instance: &str, applied: &Snapshot, bound: Duration) -> StoreResult<()>;

    /// The table.
    async fn replicas(&self) -> StoreResult<Roster>;

    /// Notes that a bound has passed since a process first saw this identity: whoever served
    /// from another database, or from this one before its crash, has stopped. The note lasts as
    /// long as the identity does.
    async fn settle(&self, identity: &LogIdentity) -> StoreResult<()>;

    /// Takes the row of a process that has stopped serving from its cache.
    async fn deregister(&self, instance: &str) -> StoreResult<()>;

    /// Removes the row of a process that was taken for dead, unless it has been renewed since.
    async fn bury(&self, instance: &str, renewals: i64) -> StoreResult<bool>;
}

/// Samples, for whoever compares answers with the truth.
#[async_trait]
pub trait Sampling: Send + Sync {
    /// So many tenants at random, or all of them in a random order.
    async fn random_tenants(&self, limit: Option<u32>) -> StoreResult<Vec<TenantId>>;

    /// The keys that the last so many changes in the log have touched, of tenants that are no more
    /// among them.
    async fn lately_touched(&self, changes: u32) -> StoreResult<Vec<CacheKey>>;
}

/// All of it.
#[async_trait]
pub trait Store: Tenants + CredentialStore + AuditTrail + ChangeLog + Replicas + Sampling {
    /// Answers if the database does: for health checks.
    async fn ping(&self) -> StoreResult<()>;

    /// Whether there is no tenant at all.
    async fn is_empty(&self) -> StoreResult<bool>;

    /// Ends all connections.
    async fn close(&self);
}
