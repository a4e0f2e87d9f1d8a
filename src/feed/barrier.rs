//! The write barrier: when a write may be acknowledged. What decides is [`coherence::Barrier`];
//! this brings it the rows of the replicas and what they say over Redis.
//!
//! [`coherence::Barrier`]: crate::coherence::Barrier

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Histogram;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::task::TaskTracker;

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
    Pending,
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
    /// Whether acknowledgements over Redis arrive, as far as is known.
    hear: AtomicBool,
    readings: TaskTracker,
    acked: Histogram,
    fenced: Histogram,
}

/// The database, as this process has seen it last.
struct Known {
    identity: LogIdentity,
    /// When it was first seen; long ago, if another process has waited for a bound since.
    first_seen: Moment,
    /// For how long some replica of it serves on one proof, or served from the one before it.
    longest: Duration,
    /// This process was served by another one before. Then it does not matter how long ago others
    /// first saw this one: replicas may only now be leaving the other.
    has_moved: bool,
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
    /// The barriers of this process' writes. Reads the rows, to learn which database this is; later
    /// on `readings`.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn begin(
        store: Arc<dyn Store>,
        instance: String,
        bound: Duration,
        readings: TaskTracker,
    ) -> StoreResult<Self> {
        let roster = store.replicas().await?;
        let now = clock::now();
        let of = |outcome| histogram_of(WRITE_BARRIER, &[("outcome", outcome)]);
        let identity = roster.head.identity.clone();
        let barriers = Self {
            store,
            instance,
            bound,
            known: Known { identity, first_seen: now, longest: bound, has_moved: false }.into(),
            latest: AsyncMutex::default(),
            waiting: Mutex::default(),
            hear: AtomicBool::new(false),
            readings,
            acked: of("acked"),
            fenced: of("fenced"),
        };
        barriers.take_note(&roster);
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

    /// Notes whether acknowledgements over Redis arrive from now on.
    pub(super) fn set_hear(&self, hear: bool) {
        self.hear.store(hear, Ordering::Relaxed);
    }

    /// Whether they do.
    pub(super) fn hear(&self) -> bool {
        self.hear.load(Ordering::Relaxed)
    }

    /// Waits until a write may be acknowledged that was committed before `committed`: for a bound at
    /// most, after that or after this database was first seen.
    pub(super) async fn wait(&self, expected: &Expected<'_>, committed: Moment) -> Coherence {
        let (identity, mut barrier) = {
            let known = self.known();
            let barrier = Barrier::new(expected.xid, committed, known.first_seen, known.longest);
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
        let took = clock::now().since(committed);
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
        // In a task, so that a write which is acknowledged meanwhile does not cut it off, and its
        // connection with it. Why it fails, the poll says, which reads the same database.
        let store = Arc::clone(&self.store);
        let reading = self.readings.spawn(async move { store.replicas().await.ok() });
        let roster = reading.await.ok().flatten().map(Arc::new);
        if let Some(roster) = &roster {
            self.take_note(roster);
        }
        *latest = Some(Reading { began, roster: roster.clone() });
        roster
    }

    /// Of which database this is, right after the rows were read: that the reading began in the one
    /// before says nothing, for there it may have hung while others still renewed their proofs.
    fn take_note(&self, roster: &Roster) {
        let now = clock::now();
        let mut known = self.known();
        let bounds = roster.replicas.iter().map(|row| row.bound);
        let longest = bounds.fold(self.bound, Duration::max);
        if known.identity != roster.head.identity {
            // Of the other one's replicas, no row is here.
            let longest = longest.max(known.longest);
            let identity = roster.head.identity.clone();
            *known = Known { identity, first_seen: now, longest, has_moved: true };
        }
        // Over by now: what the first bound was waited for, and bounds of who is here no more.
        if now >= known.first_seen.plus(known.longest) {
            (known.first_seen, known.longest) = (LONG_AGO, longest);
        }
        known.longest = known.longest.max(longest);
        if roster.is_settled && !known.has_moved {
            known.first_seen = LONG_AGO;
        }
    }

    /// The identity of the database, if a bound has passed since it was first seen.
    pub(super) fn is_to_be_settled(&self) -> Option<LogIdentity> {
        let known = self.known();
        let is_due = clock::now() >= known.first_seen.plus(known.longest);
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
