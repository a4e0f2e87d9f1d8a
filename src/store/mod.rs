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
mod expiry;
mod migrate;
mod patch;
pub mod postgres;
mod row;
mod seal;
pub mod sqlite;
mod token;
mod versions;
mod wrap;

use std::time::Duration;

use async_trait::async_trait;

use jiff::Timestamp;

use crate::coherence::{Instance, LogHead, LogIdentity, Snapshot};
use crate::crypto::{Pepper, Sealed};
use crate::domain::{
    AccessToken, By, CacheKey, Change, CredentialType, Credentials, IntegrationId, IssuedToken,
    Limits, Lookup, NewTenant, NewToken, PhoneNumberId, Precondition, Region, Status, Tenant,
    TenantId, TenantPatch, TokenId, TokenRecord,
};

pub use audit::{
    AuditPage, AuditQuery, AuditRecord, AuditTrail, Break, Chain, Chained, Order, Position,
    Standing, Walk,
};
pub use error::{Cause, Refusal, StoreError, StoreResult};
pub use expiry::{Announced, Expiring, Expiry};
pub use migrate::MigrateError;
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use versions::{CredentialVersions, VersionsPage};

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
    /// How many entries of the audit trail it has made.
    pub entries: u64,
}

impl<T> Written<T> {
    /// A write that made one entry and logged changes. (Where it logged none, none was to be logged: its transaction
    /// is waited for as [`Written::unchanged`] would have it.)
    fn logged(value: T, Logged { changes, xid, after }: Logged) -> Self {
        Self { value, changes, xid, after, entries: 1 }
    }

    /// A write that logged changes, or had none to log.
    fn logged_if_any(value: T, logged: Logged) -> Self {
        if logged.changes.is_empty() {
            Self { entries: 1, ..Self::unchanged(value, logged.xid) }
        } else {
            Self::logged(value, logged)
        }
    }

    /// The row, and what is to be told of the write.
    #[must_use]
    pub fn take(self) -> (T, Written<()>) {
        let Self { value, changes, xid, after, entries } = self;
        (value, Written { value: (), changes, xid, after, entries })
    }

    /// The same write, which made so many entries.
    fn with_entries(self, entries: u64) -> Self {
        Self { entries, ..self }
    }

    /// A write that found everything as it was to become, and entered nothing.
    const fn unchanged(value: T, xid: u64) -> Self {
        Self { value, changes: Vec::new(), xid, after: None, entries: 0 }
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

    /// One page of the tenants that are within these limits, and how many there are in all. A tenant
    /// that can't be read is counted and left out; the log names it.
    async fn tenants(&self, page: Page, within: &Limits) -> StoreResult<(Vec<Tenant>, u64)>;

    /// Creates a tenant with its credentials, all or nothing. [`StoreError::Duplicate`] names the
    /// field that another one has.
    async fn create_tenant(&self, tenant: &NewTenant, by: &By) -> StoreResult<Written<Tenant>>;

    /// Changes a tenant; a patch that changes nothing logs nothing. `None`: there is none.
    /// [`StoreError::Invalid`]: its settings, merged, may not be stored.
    /// [`StoreError::PreconditionFailed`]: it is of another revision than it has to be.
    async fn patch_tenant(
        &self,
        id: &TenantId,
        patch: &TenantPatch,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<Tenant>>>;

    /// Deletes a tenant and everything of it. `None`: there is none.
    /// [`StoreError::PreconditionFailed`]: as of [`Tenants::patch_tenant`].
    async fn delete_tenant(
        &self,
        id: &TenantId,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<()>>>;
}

/// The current credentials of one type.
#[derive(Debug, Clone)]
pub struct StoredCredentials {
    /// The credential's row, the same through all its versions; one that was deleted and made anew has
    /// another.
    pub id: String,
    /// The credential's own counter: 1, 2, …
    pub version: i64,
    /// The object.
    pub credentials: Credentials,
    /// The same, as it is stored.
    pub sealed: Sealed,
}

/// Credentials as they are stored, for whoever keeps them elsewhere.
#[derive(Debug, Clone)]
pub struct SealedCredentials {
    /// See [`StoredCredentials::id`].
    pub id: String,
    /// See [`StoredCredentials::version`].
    pub version: i64,
    /// What was sealed for that row and version.
    pub sealed: Sealed,
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

    /// Opens what was kept elsewhere, as the credentials of this tenant and type. `None` for what was
    /// sealed by a key that the keyring does not have (any more), or is refused, which is counted.
    fn open_sealed(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        kept: SealedCredentials,
    ) -> Option<StoredCredentials>;

    /// Replaces (or creates) the current credentials; the superseded version goes to the history.
    /// With `link`, the same transaction sets it on the tenant. `None`: there is no such tenant.
    /// [`StoreError::PreconditionFailed`]: what is there is not what has to be.
    /// [`StoreError::Invalid`]: their end does not lie ahead.
    async fn set_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        credentials: &Credentials,
        link: Option<&GenesysLink>,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>>;
}

/// Which tokens to list. Ordered by creation, then id.
#[derive(Debug, Clone, Copy)]
pub struct TokenPage {
    /// How many at most.
    pub limit: u32,
    /// How many to leave out first.
    pub offset: u64,
}

/// A token that was replaced.
#[derive(Debug)]
pub struct Rotated {
    /// The token as it is now: good for a while yet, or revoked.
    pub old: TokenRecord,
    /// The one that takes its place.
    pub new: TokenRecord,
}

/// Access tokens. What they are hashed with is sealed, and made with the first of them.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// The token of this id, good or not, to compare a presented one with.
    async fn token(&self, id: &TokenId) -> StoreResult<Option<IssuedToken>>;

    /// What tokens are hashed with. `None`: there is no token yet.
    /// [`StoreError::PepperRefused`]: it does not open.
    async fn pepper(&self) -> StoreResult<Option<Pepper>>;

    /// All that is known of a token.
    async fn token_record(&self, id: &TokenId) -> StoreResult<Option<TokenRecord>>;

    /// One page of the tokens whose limits are within these, and how many there are in all.
    async fn tokens(
        &self,
        page: TokenPage,
        within: &Limits,
    ) -> StoreResult<(Vec<TokenRecord>, u64)>;

    /// Creates a token, of which nothing but a hash is stored.
    async fn create_token(
        &self,
        token: &NewToken,
        secret: &AccessToken,
        by: &By,
    ) -> StoreResult<Written<TokenRecord>>;

    /// Takes a token back, for good; one that is revoked already stays so. `None`: there is none.
    async fn revoke_token(
        &self,
        id: &TokenId,
        by: &By,
    ) -> StoreResult<Option<Written<TokenRecord>>>;

    /// Creates a token that may do the same, for as long. The other one is good for `overlap` yet, or
    /// until it ends by itself; without any, it is revoked. `None`: there is none.
    /// [`StoreError::Inactive`]: it is not good any more, or was replaced already.
    async fn rotate_token(
        &self,
        id: &TokenId,
        successor: &AccessToken,
        overlap: Duration,
        by: &By,
    ) -> StoreResult<Option<Written<Rotated>>>;

    /// Notes when tokens were last used. Book-keeping: no change is logged.
    async fn tokens_used(&self, uses: &[(TokenId, Timestamp)]) -> StoreResult<()>;
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
    /// The keys of the keyring that it holds, by their ids; it seals by the first one. None, of a
    /// version that does not say.
    pub keys: Vec<String>,
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
    /// Renews the row of a process, durably, and says what it has applied, for how long it serves
    /// on that, and which keys of the keyring it holds. Where there is none, it is made: every write
    /// waits for it from now on.
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

/// How many rows of a table name a key of the keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The table.
    pub table: &'static str,
    /// The key, as the rows have it.
    pub key_id: String,
    /// How many.
    pub rows: u64,
}

/// Up to where a pass over all rows has come.
#[derive(Debug, Clone, Default)]
pub struct WrapPlace {
    table: usize,
    row: (String, String, i64),
    /// The last of the rows that are being looked at, where that is known.
    end: Option<(String, String, i64)>,
}

/// What one step of a pass has done.
#[derive(Debug)]
pub struct WrapStep {
    /// Rows whose data key is wrapped by the primary key from now on.
    pub rewrapped: u64,
    /// Why others are not: their data keys were not unwrapped.
    pub refused: Vec<StoreError>,
    /// Where to go on; `None` at the end of the pass.
    pub next: Option<WrapPlace>,
}

/// What is held for as long as nobody else may replace keys.
pub trait RotationLock: Send {}

/// Data keys, and the keys of the keyring that they are wrapped by.
#[async_trait]
pub trait Wrapping: Send + Sync {
    /// How many rows name which key, whether or not the keyring has it.
    async fn key_uses(&self) -> StoreResult<Vec<KeyUse>>;

    /// Wraps anew, by the primary key, the data keys of at most `limit` rows that name another one,
    /// from this place on. No version changes by that, no change is logged, and whoever reads
    /// meanwhile reads the same value. A row that somebody else has locked is passed over, and so
    /// waits for the next pass.
    async fn rewrap(&self, from: WrapPlace, limit: u32) -> StoreResult<WrapStep>;

    /// Forbids every row to name one of these keys from now on. What a transaction has written that
    /// was under way is there all the same, once it has ended: see [`ChangeLog::mark`].
    async fn retire_keys(&self, keys: &[String]) -> StoreResult<()>;

    /// Takes that back.
    async fn reinstate_keys(&self, keys: &[String]) -> StoreResult<()>;

    /// Keeps others from replacing keys of this database. `None`: somebody is at it.
    async fn lock_rotation(&self) -> StoreResult<Option<Box<dyn RotationLock>>>;
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
pub trait Store:
    Tenants
    + CredentialStore
    + CredentialVersions
    + Expiry
    + Tokens
    + AuditTrail
    + ChangeLog
    + Replicas
    + Wrapping
    + Sampling
{
    /// Answers if the database does: for health checks.
    async fn ping(&self) -> StoreResult<()>;

    /// Whether there is no tenant at all.
    async fn is_empty(&self) -> StoreResult<bool>;

    /// Ends all connections.
    async fn close(&self);
}
