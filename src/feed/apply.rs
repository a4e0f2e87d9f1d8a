//! The one path by which a change takes effect on a replica, whatever brought it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use metrics::{Counter, Histogram};
use tokio::sync::{Notify, watch};

use super::recent::{Fingerprint, Generation, Recent};
use super::wire::{Acknowledgement, Message};
use super::{POLL_NOW, acknowledgements_of};
use crate::cache::l2::L2Error;
use crate::cache::{EvictedBy, Tiered};
use crate::coherence::{Application, Snapshot, Step};
use crate::domain::{CacheKey, Change, ChangeKind};
use crate::telemetry::metrics::{
    CHANGE_PROPAGATION, CHANGES_DUPLICATE, CHANGES_RECEIVED, counter_of, histogram_of,
};

/// Changes that are applied together: their keys go to Redis in one round trip.
pub(super) const BATCH: usize = 100;

/// A write of another replica, which waits for an acknowledgement.
struct Write {
    origin: String,
    hears: bool,
    xid: u64,
    after: Option<u64>,
}

/// What changes are about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// These keys.
    Keys(Vec<CacheKey>),
    /// Any key: a table was emptied.
    Everything,
}

impl Touched {
    pub fn by<'a>(changes: impl Iterator<Item = &'a Change>) -> Self {
        let mut keys = BTreeSet::new();
        for change in changes {
            if change.kind == ChangeKind::Reset {
                return Self::Everything;
            }
            keys.extend(&change.keys);
        }
        Self::Keys(keys.into_iter().cloned().collect())
    }
}

/// It is not known what L2 holds.
struct Unrevoked;

impl From<L2Error> for Unrevoked {
    /// The connection that failed has said so, and is gone.
    fn from(_: L2Error) -> Self {
        Self
    }
}

struct SourceStats {
    received: Counter,
    duplicate: Counter,
    propagation: Histogram,
}

/// Applies changes to this replica's cache, each at least once.
pub struct Applier {
    cache: Arc<Tiered>,
    recent: Mutex<Recent>,
    /// The highest sequence number seen, to notice gaps.
    last_seq: AtomicI64,
    poll_wanted: Notify,
    is_to_show: AtomicBool,
    is_following: watch::Sender<bool>,
    origin: String,
    database: RwLock<Arc<str>>,
    stats: [SourceStats; 4],
}

impl Applier {
    /// An applier to `cache`. `origin` names this process among all that ever ran, `database` the
    /// one whose log is followed.
    #[must_use]
    pub fn new(cache: Arc<Tiered>, origin: String, database: &str) -> Self {
        let stats = EvictedBy::ALL.map(|source| {
            let label = [("source", source.label())];
            SourceStats {
                received: counter_of(CHANGES_RECEIVED, &label),
                duplicate: counter_of(CHANGES_DUPLICATE, &label),
                propagation: histogram_of(CHANGE_PROPAGATION, &label),
            }
        });
        Self {
            cache,
            recent: Mutex::default(),
            last_seq: AtomicI64::new(0),
            poll_wanted: Notify::new(),
            is_to_show: AtomicBool::new(false),
            is_following: watch::Sender::new(false),
            origin,
            database: RwLock::new(database.into()),
            stats,
        }
    }

    /// This process, as its messages name it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The database whose log is followed.
    #[must_use]
    pub fn database(&self) -> Arc<str> {
        Arc::clone(&self.database.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The cache to which changes are applied.
    #[must_use]
    pub const fn cache(&self) -> &Arc<Tiered> {
        &self.cache
    }

    /// Applies what a bus brought; asks for a poll where it shows that other changes are missing.
    pub(super) async fn receive(&self, texts: &[String], source: EvictedBy) {
        let (ours, began) = (self.database(), self.generation());
        let mut numbers = Vec::with_capacity(texts.len());
        let mut writes = Vec::with_capacity(texts.len());
        // What was revoked on the same server goes together: usually all of it.
        let mut by_server: BTreeMap<Option<String>, Vec<Change>> = BTreeMap::new();
        for text in texts {
            match Message::decode(text) {
                Some(message) if message.origin == self.origin => {}
                Some(Message { origin, database, redis, hears, after, changes })
                    if *database == *ours =>
                {
                    numbers.extend(changes.iter().map(|change| change.seq));
                    let xid = changes.last().map(|change| change.xid);
                    writes.extend(xid.map(|xid| Write { origin, hears, xid, after }));
                    by_server.entry(redis).or_default().extend(changes);
                }
                // Somebody waits for what it can't tell.
                None if text == POLL_NOW => self.show(),
                // None of ours; or of a database that shares our Redis; or ours was replaced: the
                // log tells.
                _ => self.want_poll(),
            }
        }
        for (redis, changes) in by_server {
            self.apply(&changes, source, redis.as_deref()).await;
        }
        self.acknowledge(writes, began, &ours).await;
        for seq in numbers {
            let before = self.last_seq.fetch_max(seq, Ordering::Relaxed);
            if seq > before.saturating_add(1) {
                self.want_poll();
            }
        }
    }

    /// Tells the writers, over Redis where they hear it, that this replica has applied their writes,
    /// now or before. Others see it in this replica's row, which is renewed at once for them.
    async fn acknowledge(&self, writes: Vec<Write>, began: Generation, database: &str) {
        let mut by_origin: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for Write { origin, hears, xid, after } in writes {
            if self.recent().apply(began, xid, after) && hears {
                by_origin.entry(origin).or_default().push(xid);
            } else {
                self.show();
            }
        }
        for (origin, xids) in by_origin {
            let (instance, database) = (self.origin.clone(), database.to_owned());
            let said = Acknowledgement { instance, database, xids };
            let (Some(l2), Ok(text)) = (self.cache.l2(), serde_json::to_string(&said)) else {
                self.show();
                continue;
            };
            // A failure drops the connection, which is logged there.
            if l2.publish(&acknowledgements_of(&origin), &text).await.is_err() {
                self.show();
            }
        }
    }

    /// To be noted before a write of this replica is applied here.
    pub(super) fn generation(&self) -> Generation {
        self.recent().generation()
    }

    /// Has this replica's row say soon what it has applied: there is a writer who waits for that.
    fn show(&self) {
        self.is_to_show.store(true, Ordering::Release);
        self.want_poll();
    }

    /// Whether the row is to be renewed again as soon as it was, with what was applied meanwhile.
    pub(super) fn take_is_to_show(&self) -> bool {
        self.is_to_show.swap(false, Ordering::AcqRel)
    }

    /// Applies changes. `revoked_on` names the Redis server on which their writer revoked the keys.
    /// Returns the Redis server on which they have been revoked here.
    ///
    /// The order is the protocol's: see [`Application`].
    pub async fn apply(
        &self,
        changes: &[Change],
        source: EvictedBy,
        revoked_on: Option<&str>,
    ) -> Option<String> {
        let stats = &self.stats[source as usize];
        stats.received.increment(changes.len() as u64);
        let (new, began): (Vec<(&Change, Fingerprint)>, _) = {
            let recent = self.recent();
            let marked = changes.iter().map(|change| (change, Fingerprint::of(change)));
            // This replica's own write is applied whatever a bus has said before.
            let own = source == EvictedBy::Local;
            let new = marked.filter(|(_, mark)| own || !recent.contains(*mark)).collect();
            (new, recent.generation())
        };
        stats.duplicate.increment((changes.len() - new.len()) as u64);
        if new.is_empty() {
            return None;
        }
        if source == EvictedBy::Poll {
            // No message of them has come here. Their writers wait for this replica's row.
            self.show();
        }
        let touched = Touched::by(new.iter().map(|(change, _)| *change));
        if touched == Touched::Everything {
            tracing::warn!("a table was emptied; dropping everything that is cached");
        }
        let connected_to = self.cache.l2().and_then(|l2| l2.server_identity());
        let mut application = Application::begin(revoked_on, connected_to.as_deref());
        let mut server = None;
        while application.step() != Step::Done {
            match application.step() {
                Step::EvictEarly | Step::Evict => self.evict(&touched, source),
                Step::Revoke => match self.revoke(&touched, source).await {
                    Ok(on) => server = on,
                    Err(Unrevoked) => {
                        application.failed();
                        continue;
                    }
                },
                Step::DropConnection => self.disconnect(),
                Step::Record => self.record(&new, began, stats),
                // The caller's: it knows who waits for it.
                Step::Acknowledge | Step::Done => {}
            }
            application.done();
        }
        server
    }

    fn evict(&self, touched: &Touched, source: EvictedBy) {
        match touched {
            Touched::Keys(keys) => self.cache.evict(keys, source),
            Touched::Everything => self.cache.clear(source),
        }
    }

    /// Revokes in L2, and says on which server; on none where there is no connection any more.
    async fn revoke(
        &self,
        touched: &Touched,
        source: EvictedBy,
    ) -> Result<Option<String>, Unrevoked> {
        let Some(l2) = self.cache.l2() else { return Ok(None) };
        // What can't be named can't be revoked. The connection goes, as after a revocation that
        // failed, and the next one begins a new epoch: it finds the reset in the log.
        let Touched::Keys(keys) = touched else { return Err(Unrevoked) };
        let revoked = l2.revoke(keys).await?;
        Ok(revoked.map(|revoked| {
            self.cache.count_revoked(keys, &revoked.removed, source);
            revoked.server
        }))
    }

    fn record(&self, applied: &[(&Change, Fingerprint)], began: Generation, stats: &SourceStats) {
        let now = Timestamp::now();
        let mut recent = self.recent();
        for (change, mark) in applied {
            recent.insert(began, *mark);
            let age = now.duration_since(change.occurred_at);
            stats.propagation.record(age.as_secs_f64().max(0.0));
        }
    }

    /// Drops the connection to L2, and with it the trust in what L2 holds.
    pub(super) fn disconnect(&self) {
        if let Some(l2) = self.cache.l2() {
            l2.disconnect();
        }
    }

    /// Follows the log of this database from now on. All that is cached is dropped: nobody knows
    /// what changed before.
    pub(super) fn start_over(&self, database: &str) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database.into();
        if let Some(l2) = self.cache.l2() {
            l2.follow(database);
        }
        self.cache.clear(EvictedBy::Poll);
        self.recent().clear();
        self.last_seq.store(0, Ordering::Relaxed);
    }

    /// Notes whether the log is followed: there is a cursor, and the poll finds whatever is
    /// committed after it.
    pub(super) fn set_following(&self, is_following: bool) {
        self.is_following.send_replace(is_following);
    }

    /// Whether the log is followed.
    pub(super) fn is_following(&self) -> bool {
        *self.is_following.borrow()
    }

    /// Returns once the log is followed.
    pub(super) async fn following(&self) {
        // The sender is `self`, so it does not end before this.
        drop(self.is_following.subscribe().wait_for(|is_following| *is_following).await);
    }

    /// Has the poll run at once.
    pub fn want_poll(&self) {
        self.poll_wanted.notify_one();
    }

    pub(super) async fn poll_wanted(&self) {
        self.poll_wanted.notified().await;
    }

    /// This replica's own changes follow on what it has seen: the next one of another is no gap.
    pub(super) fn wrote(&self, began: Generation, write: (u64, Option<u64>), changes: &[Change]) {
        // Nobody is to be told; what follows on it, this replica may acknowledge to others.
        self.recent().apply(began, write.0, write.1);
        for change in changes {
            let (before, relaxed) = (change.seq - 1, Ordering::Relaxed);
            // Where it does not follow, the gap stays one.
            let _ = self.last_seq.compare_exchange(before, change.seq, relaxed, relaxed);
        }
    }

    /// The poll has applied everything that this snapshot sees.
    pub(super) fn read_up_to(&self, snapshot: &Snapshot) {
        self.recent().advance(snapshot);
    }

    /// The poll has seen everything up to this number.
    pub(super) fn seen_up_to(&self, seq: i64) {
        self.last_seq.fetch_max(seq, Ordering::Relaxed);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::cache::{ByPhone, L1, Ttl, Via, clock};
    use crate::coherence::Deadline;

    pub fn applier() -> Arc<Applier> {
        let hour = Duration::from_hours(1);
        let ttl = Ttl { present: hour, absent: hour };
        let cache = Tiered::new(L1::new(1 << 20), None, ttl, Duration::ZERO, TaskTracker::new());
        cache.serving().set_deadline(Deadline::at(clock::now().plus(hour)));
        let cache = Arc::new(cache);
        Arc::new(Applier::new(cache, "us".into(), "database"))
    }

    pub fn change(seq: i64) -> Change {
        Change {
            seq,
            xid: seq.unsigned_abs(),
            tenant_id: None,
            kind: ChangeKind::TenantUpdated,
            version: None,
            keys: vec!["phone:1".parse().unwrap()],
            occurred_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// Reads a phone that is nobody's; says from where that was learned.
    async fn read(applier: &Applier) -> Via {
        let load = || async { Ok(None) };
        applier.cache.get(ByPhone("1".parse().unwrap()), load).await.unwrap().via
    }

    #[tokio::test]
    async fn a_change_evicts_once() {
        for kind in [ChangeKind::TenantUpdated, ChangeKind::Reset] {
            let applier = applier();
            let change = Change { kind, ..change(1) };
            assert_eq!(read(&applier).await, Via::Store);
            applier.apply(std::slice::from_ref(&change), EvictedBy::Redis, None).await;
            assert_eq!(read(&applier).await, Via::Store, "{kind} evicts");
            applier.apply(&[change], EvictedBy::Poll, None).await;
            assert_eq!(read(&applier).await, Via::L1, "{kind} again does not");
        }
    }

    #[tokio::test]
    async fn a_change_of_before_a_start_over_may_come_again() {
        let applier = applier();
        applier.apply(&[change(1)], EvictedBy::Poll, None).await;
        assert_eq!(read(&applier).await, Via::Store);
        applier.start_over("another");
        assert_eq!(&*applier.database(), "another");
        assert_eq!(read(&applier).await, Via::Store, "everything was dropped");
        applier.apply(&[change(1)], EvictedBy::Poll, None).await;
        assert_eq!(read(&applier).await, Via::Store, "it evicts like any other");
    }
}
