//! The audit trail: rows that are only added to, and the chain over them.

mod entries;
mod record;
mod walk;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::FromRow;

pub(super) use self::entries::{
    changed, created, credentials_gone, credentials_made, deleted, linked, swept,
};
pub use self::record::AuditRecord;
pub use self::walk::{Break, Walk};
use super::{StoreError, StoreResult};
use crate::crypto::{ChainKey, Keyring, Link, Mark, OwnKey, Sealed, Unopened};
use crate::domain::{CredentialType, Entry, Limits, TenantId};

/// What the key of the chain is sealed for.
pub(super) const CHAIN_KEY: OwnKey = OwnKey("audit chain");
/// Rows that one transaction chains, or prunes.
pub(super) const BATCH: i64 = 1_000;
/// Rows that are looked at for one page, whatever is to be shown of them.
const LOOKED_AT: i64 = 5_000;
/// So many unchained rows are counted; one more says that there are more.
pub(super) const MOST_COUNTED: i64 = 100_000;

/// From which end entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The latest one first.
    Newest,
    /// In the order of the chain.
    Oldest,
}

/// Which entries to read. Only those that have their number, and so their place for good: whoever
/// follows the trail misses none that is committed later.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// From which end.
    pub order: Order,
    /// The number to go on behind.
    pub after: Option<i64>,
    /// How many at most.
    pub limit: u32,
    /// Only those of this tenant, which may be gone.
    pub tenant: Option<TenantId>,
    /// Only those of this action.
    pub action: Option<String>,
    /// Only those with this outcome.
    pub outcome: Option<String>,
    /// Only those of actors of this kind, or of this one (by its id).
    pub actor: Option<String>,
    /// Only those from this moment on.
    pub from: Option<Timestamp>,
    /// Only those before this moment.
    pub to: Option<Timestamp>,
    /// Only those within these, whatever else is asked: of others not even their number is told.
    pub limits: Limits,
}

/// Entries that were read.
#[derive(Debug, Default)]
pub struct AuditPage {
    /// Those that are as wanted. There may be fewer than the limit, and none, with more to come:
    /// a page ends after so many rows that were looked at.
    pub records: Vec<AuditRecord>,
    /// The number of the last one that was looked at.
    pub last: Option<i64>,
    /// Whether there are more behind it.
    pub more: bool,
}

/// A place in the chain, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The number of the last row up to it; 0 for none.
    pub number: i64,
    /// The chain's hash there.
    pub hash: Vec<u8>,
    /// The signature under both.
    pub mac: Vec<u8>,
}

impl Position {
    pub(super) fn signed(key: &ChainKey, mark: Mark, number: i64, link: &Link) -> Self {
        let mac = key.sign(mark, number, link);
        Self { number, hash: link.as_bytes().into(), mac: mac.as_bytes().into() }
    }

    /// The link that it names, if this key has signed it as this.
    pub(super) fn link(&self, key: &ChainKey, mark: Mark) -> Option<Link> {
        let link = Link::stored(&self.hash)?;
        key.sign(mark, self.number, &link).is(&self.mac).then_some(link)
    }
}

/// Where the chain begins and ends.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Up to here rows may have been pruned.
    pub anchor: Position,
    /// Up to here rows are chained.
    pub head: Position,
    key: Sealed,
}

impl Chain {
    /// A chain without a row, under a new key.
    pub(super) fn begin(keyring: &Keyring) -> StoreResult<Self> {
        let bytes = ChainKey::draw()?;
        let key = ChainKey::of(&bytes).ok_or(UNREADABLE_KEY)?;
        let at = |mark| Position::signed(&key, mark, 0, &Link::NONE);
        let sealed = keyring.seal(&CHAIN_KEY, &bytes)?;
        Ok(Self { anchor: at(Mark::Anchor), head: at(Mark::Head), key: sealed })
    }

    /// The key, as it is stored.
    pub(super) const fn sealed_key(&self) -> &Sealed {
        &self.key
    }

    /// The key.
    ///
    /// # Errors
    /// The keyring doesn't have the one that it is sealed by, or it is not what was sealed.
    pub(super) fn open_key(&self, keyring: &Keyring) -> Result<ChainKey, Unopened> {
        let bytes = keyring.open(&CHAIN_KEY, &self.key)?;
        ChainKey::of(&bytes).ok_or(Unopened::Malformed)
    }
}

const UNREADABLE_KEY: StoreError = StoreError::Corrupt("tenant_audit_chain.sealed");

/// How the trail stands, at one moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The chain; `None` before anything was chained.
    pub chain: Option<Chain>,
    /// Rows that are not chained yet; counted up to 100,000.
    pub unchained: u64,
    /// How old the oldest of them is.
    pub oldest_unchained: Option<Duration>,
    /// Rows with a number beyond the head, or without a chain. None, unless somebody put them there.
    pub beyond: u64,
    /// Rows up to the anchor. None, unless somebody put them there.
    pub behind: u64,
}

/// What a round of chaining has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chained {
    /// How many rows were chained.
    pub rows: u64,
    /// Where the chain ends now.
    pub head: Position,
    /// Whether there may be more to chain at once.
    pub more: bool,
}

/// The audit trail. Rows of writes are written by the writes themselves.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// Adds entries, all or none; they are committed when this returns.
    ///
    /// # Errors
    /// [`StoreError::Audit`]: they can't be written.
    async fn append(&self, entries: &[Entry]) -> StoreResult<()>;

    /// One page of entries.
    async fn audit_page(&self, query: &AuditQuery) -> StoreResult<AuditPage>;

    /// Chains what is committed and has no number yet, a batch of it. `None`: another replica is at
    /// it. What is still being written is chained when it is committed, and waited for by nobody.
    ///
    /// # Errors
    /// [`StoreError::Chain`]: the chain is not as it was left, and is not gone on with.
    async fn chain(&self) -> StoreResult<Option<Chained>>;

    /// Removes the oldest rows of the chain, a batch of those that are older than this, and signs
    /// where it begins now. `None`: another replica is at it.
    ///
    /// # Errors
    /// [`StoreError::Chain`]: the rows are not as they were chained, and stay.
    async fn prune_audit(&self, retention: Duration) -> StoreResult<Option<u64>>;

    /// How the trail stands.
    async fn audit_standing(&self) -> StoreResult<Standing>;

    /// A walk along the chain, from its anchor on.
    ///
    /// # Errors
    /// The keyring does not open its key, or the anchor is not signed.
    fn walk(&self, chain: &Chain) -> Result<Walk, Break>;

    /// A batch of rows from behind this number on, in the order of the chain.
    async fn chained_after(&self, number: i64) -> StoreResult<Vec<AuditRecord>>;
}

impl AuditQuery {
    /// How many rows to look at for a page: one more than it holds, to know whether more follow;
    /// or so many, where some of them may be left out.
    pub(super) fn looked_at(&self) -> i64 {
        let all = self.action.is_none() && self.outcome.is_none() && self.actor.is_none();
        let all = all && self.from.is_none() && self.to.is_none() && self.limits == Limits::NONE;
        if all { i64::from(self.limit) + 1 } else { LOOKED_AT }
    }

    /// Whether an entry is within the limits: one that is of a tenant, and of a type of credentials if it
    /// is of any, which are there for whoever asks.
    fn admits(&self, record: &AuditRecord) -> bool {
        let is_of_type = |kinds: &[CredentialType]| {
            let named = record.credential_type.as_deref();
            named.is_none_or(|named| kinds.iter().any(|kind| kind.as_str() == named))
        };
        let is_of_tenant = match &record.tenant_id {
            Some(tenant) => self.limits.admit(tenant),
            None => self.limits.tenants().is_none(),
        };
        is_of_tenant && self.limits.types().is_none_or(is_of_type)
    }

    /// The number behind which the page begins.
    pub(super) fn begin(&self) -> i64 {
        let end = if self.order == Order::Oldest { 0 } else { i64::MAX };
        self.after.unwrap_or(end)
    }
}

/// Makes a page of rows that were looked at, each with whether it is as wanted.
pub(super) fn page(rows: Vec<LookedAtRow>, query: &AuditQuery) -> AuditPage {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let looked_at = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let more = looked_at >= query.looked_at();
    let mut page = AuditPage { records: Vec::new(), last: None, more };
    for row in rows {
        let is_wanted = row.wanted && query.admits(&row.record);
        if is_wanted && page.records.len() == limit {
            page.more = true;
            break;
        }
        page.last = row.record.number;
        if is_wanted {
            page.records.push(row.record);
        }
    }
    page
}

/// A row that was looked at, and whether it is what was looked for.
#[derive(FromRow)]
pub(super) struct LookedAtRow {
    #[sqlx(flatten)]
    pub record: AuditRecord,
    pub wanted: bool,
}

/// The row of `tenant_audit_chain`, as far as there is one, and the counts beside it.
#[derive(FromRow)]
pub(super) struct StandingRow {
    #[sqlx(flatten)]
    chain: ChainRow,
    unchained: i64,
    oldest_unchained_ms: Option<i64>,
    beyond: i64,
    behind: i64,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        let age = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        Self {
            chain: row.chain.into_chain(),
            unchained: row.unchained.unsigned_abs(),
            oldest_unchained: row.oldest_unchained_ms.map(age),
            beyond: row.beyond.unsigned_abs(),
            behind: row.behind.unsigned_abs(),
        }
    }
}

/// The row of `tenant_audit_chain`; everything in it is there or nothing.
#[derive(FromRow)]
pub(super) struct ChainRow {
    anchor: Option<i64>,
    anchor_hash: Option<Vec<u8>>,
    anchor_mac: Option<Vec<u8>>,
    head: Option<i64>,
    head_hash: Option<Vec<u8>>,
    head_mac: Option<Vec<u8>>,
    sealed: Option<Vec<u8>>,
    key_id: Option<String>,
    wrapped_key: Option<Vec<u8>>,
}

impl ChainRow {
    pub fn into_chain(self) -> Option<Chain> {
        Some(Chain {
            anchor: Position {
                number: self.anchor?,
                hash: self.anchor_hash?,
                mac: self.anchor_mac?,
            },
            head: Position { number: self.head?, hash: self.head_hash?, mac: self.head_mac? },
            key: Sealed {
                sealed: self.sealed?,
                key_id: self.key_id?,
                wrapped_key: self.wrapped_key?,
            },
        })
    }
}
