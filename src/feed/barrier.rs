//! The write barrier: when a write may be acknowledged. What decides is [`coherence::Barrier`];
//! this brings it the rows of the replicas and what they say over Redis.
//!
//! [`coherence::Barrier`]: crate::coherence::Barrier

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Histogram;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::wire::Acknowledgement;
use crate::cache::clock;
use crate::coherence::{Barrier, Instance, LogIdentity, Moment, Snapshot, Verdict};
use crate::store::{Replica, Roster, Store, StoreResult};
use crate::telemetry::metrics::{WRITE_BARRIER, histogram_of};

/// How long after one reading of the rows the next one follows, for a write that waits. A replica
/// that answers over Redis is done before the second; the others renew their rows at once.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
];
const LONG_AGO: Moment = Moment::from_nanos(0);

/// What an acknowledged write may count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coherence {
    /// Every replica has applied it.
    Acked {
        /// How many, beside this one.
        replicas: usize,
    },
    /// A replica that has not applied it does not serve from its cache any more.
    Fenced,
    /// The caller did not want to wait. Replicas may serve what was before it, for a bound at most.
    Pending(Committed),
}

impl Coherence {
    /// The write, if nobody has waited for the other replicas.
    #[must_use]
    pub const fn pending(self) -> Option<Committed> {
        match self {
            Self::Pending(write) => Some(write),
            Self::Acked { .. } | Self::Fenced => None,
        }
    }
}

/// A write that was committed, applied here, and published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its transaction.
    pub xid: u64,
    /// A moment after its commit.
    pub at: Moment,
}

/// Where writes wait for the other replicas.
pub struct Barriers {
    store: Arc<dyn Store>,
    /// This process, which has applied its own writes.
    instance: String,
    bound: Duration,
    known: Mutex<Known>,
    latest: AsyncMutex<Option<Reading>>,
    waiting: Mutex<BTreeMap<u64, Arc<Heard>>>,
    acked: Histogram,
    fenced: Histogram,
}

/// The database, as this process has seen it last.
struct Known {
    identity: LogIdentity,
    /// When it was first seen; long ago, if another process has waited for a bound since.
    first_seen: Moment,
    /// For how long some replica of it serves on one proof.
    longest: Duration,
}

/// A reading of the rows. `None`: they could not be read.
#[derive(Clone)]
struct Reading {
    began: Moment,
    roster: Option<Arc<Roster>>,
}

/// Who has acknowledged a write so far.
#[derive(Default)]
struct Heard {
    instances: Mutex<BTreeSet<Instance>>,
    changed: Notify,
}

impl Barriers {
    /// The barriers of this process' writes. Reads the rows, to learn which database this is.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn begin(
        store: Arc<dyn Store>,
        instance: String,
        bound: Duration,
    ) -> StoreResult<Self> {
        let now = clock::now();
        let roster = store.replicas().await?;
        let of = |outcome| histogram_of(WRITE_BARRIER, &[("outcome", outcome)]);
        let identity = roster.head.identity.clone();
        let barriers = Self {
            store,
            instance,
            bound,
            known: Known { identity, first_seen: now, longest: bound }.into(),
            latest: AsyncMutex::default(),
            waiting: Mutex::default(),
            acked: of("acked"),
            fenced: of("fenced"),
        };
        barriers.take_note(&roster, now);
        Ok(barriers)
    }

    /// Expects acknowledgements of this transaction. To be called before it is published: an answer
    /// to what nobody waits for is forgotten.
    pub(super) fn expect(&self, xid: u64) -> Expected<'_> {
        let heard = Arc::clone(self.waiting().entry(xid).or_default());
        Expected { barriers: self, xid, heard }
    }

    /// A replica has applied transactions of this process.
    pub(super) fn acknowledged(&self, said: &Acknowledgement) {
        // Of another database, the numbers mean other transactions.
        if said.database != self.known().identity.database {
            return;
        }
        let waiting = self.waiting();
        for heard in said.xids.iter().filter_map(|xid| waiting.get(xid)) {
            lock(&heard.instances).insert(said.instance.clone());
            heard.changed.notify_one();
        }
    }

    /// Waits until a write may be acknowledged: for a bound after its commit at most, or after this
    /// database was first seen. Not cancelled by what it waits for: what can't be read is waited out.
    pub async fn wait(&self, write: Committed) -> Coherence {
        self.settled(self.expect(write.xid), write).await
    }

    pub(super) async fn settled(&self, expected: Expected<'_>, write: Committed) -> Coherence {
        let (identity, mut barrier) = {
            let known = self.known();
            let barrier = Barrier::new(write.xid, write.at, known.first_seen, known.longest);
            (known.identity.clone(), barrier)
        };
        let mut pauses = PAUSES.iter();
        let mut look = pin!(self.read_after(Duration::ZERO));
        let verdict = loop {
            for instance in lock(&expected.heard.instances).iter() {
                barrier.acknowledged(instance);
            }
            let until = match barrier.verdict(clock::now()) {
                Verdict::Waiting(until) => until.since(clock::now()),
                decided => break decided,
            };
            tokio::select! {
                () = expected.heard.changed.notified() => {}
                roster = &mut look => {
                    // In another database the rows are those of others, or of nobody.
                    if let Some(roster) = roster.filter(|found| found.head.identity == identity) {
                        roster.replicas.iter().for_each(|row| barrier.allow_for(row.bound));
                        barrier.observed(self.others(&roster));
                    }
                    let [.., longest] = PAUSES;
                    look.set(self.read_after(pauses.next().copied().unwrap_or(longest)));
                }
                () = tokio::time::sleep(until) => {}
            }
        };
        let took = clock::now().since(write.at);
        if let Verdict::Acked { replicas } = verdict {
            self.acked.record(took);
            return Coherence::Acked { replicas };
        }
        self.fenced.record(took);
        tracing::warn!(
            replicas = ?barrier.waits_for(),
            "a write was acknowledged without these replicas, which serve nothing from cache now"
        );
        Coherence::Fenced
    }

    fn others<'r>(&self, roster: &'r Roster) -> impl Iterator<Item = (&'r Instance, &'r Snapshot)> {
        let row = |row: &'r Replica| (&row.instance, &row.applied);
        roster.replicas.iter().map(row).filter(|(instance, _)| **instance != self.instance)
    }

    /// The rows, by a reading that begins after this pause.
    async fn read_after(&self, pause: Duration) -> Option<Arc<Roster>> {
        tokio::time::sleep(pause).await;
        self.read().await
    }

    /// The rows, by a reading that begins after this call. One at a time: whoever comes while one is
    /// under way shares the next one, so however many writes wait, there are few.
    pub(super) async fn read(&self) -> Option<Arc<Roster>> {
        let asked = clock::now();
        let mut latest = self.latest.lock().await;
        if let Some(reading) = latest.as_ref().filter(|reading| reading.began >= asked) {
            return reading.roster.clone();
        }
        let began = clock::now();
        // Why it fails, the poll says, which reads the same database.
        let roster = self.store.replicas().await.ok().map(Arc::new);
        if let Some(roster) = &roster {
            self.take_note(roster, began);
        }
        *latest = Some(Reading { began, roster: roster.clone() });
        roster
    }

    /// Of which database this is.
    fn take_note(&self, roster: &Roster, now: Moment) {
        let mut known = self.known();
        if known.identity != roster.head.identity {
            (known.identity, known.first_seen) = (roster.head.identity.clone(), now);
        }
        let bounds = roster.replicas.iter().map(|row| row.bound);
        known.longest = bounds.fold(self.bound, Duration::max);
        if roster.is_settled {
            known.first_seen = LONG_AGO;
        }
    }

    /// The identity of the database, if a bound has passed since it was first seen.
    pub(super) fn is_to_be_settled(&self) -> Option<LogIdentity> {
        let known = self.known();
        let is_due = clock::now() >= known.first_seen.plus(self.bound);
        is_due.then(|| known.identity.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Heard>>> {
        lock(&self.waiting)
    }
}

/// A write whose acknowledgements are listened for, until it is dropped.
pub(super) struct Expected<'b> {
    barriers: &'b Barriers,
    xid: u64,
    heard: Arc<Heard>,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.barriers.waiting().remove(&self.xid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
