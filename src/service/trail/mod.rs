//! The audit trail, as far as no write carries it: reveals, which wait until their entry is committed,
//! and what was denied or came to nothing, which nobody waits for.
//!
//! Reveals are committed in groups: whatever gathers while one statement runs goes into the next one.
//! There is no timer, so a reveal that comes alone waits for its own commit and for nothing else.

mod chain;
mod notes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use self::chain::ChainTask;
use self::notes::Notes;
use super::ServiceError;
use crate::domain::{Entry, Outcome};
use crate::store::{Store, StoreResult};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{AUDIT_ENTRIES, AUDIT_FAILURES, counter_of};

/// Reveals that may wait at a time. Those beyond are refused: where so many wait, the database does
/// not keep up.
const MOST_WAITING: usize = 1_024;
/// Entries of one statement.
const LARGEST_GROUP: usize = 256;
/// How long a reveal waits for its entry.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often notes are written down.
const NOTED_EVERY: Duration = Duration::from_secs(1);
/// How long the last notes may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where entries are handed in. Cheap to clone.
#[derive(Clone)]
pub struct Trail(Arc<Parts>);

struct Parts {
    queue: mpsc::Sender<Waiting>,
    notes: Mutex<Notes>,
    meters: Meters,
}

/// An entry, and who waits for it.
struct Waiting {
    entry: Entry,
    committed: oneshot::Sender<Result<(), ServiceError>>,
}

/// What becomes of entries, for the metrics.
struct Meters {
    /// By outcome, in the order of [`Outcome::ALL`].
    entries: [Counter; Outcome::ALL.len()],
    failures: Counter,
}

impl Meters {
    fn new() -> Self {
        let of = |outcome: Outcome| counter_of(AUDIT_ENTRIES, &[("outcome", outcome.as_str())]);
        let meters =
            Self { entries: Outcome::ALL.map(of), failures: counter_of(AUDIT_FAILURES, &[]) };
        // There before there is a failure: of one that only then begins at 1, no rise is ever seen.
        meters.failures.increment(0);
        meters
    }

    fn written(&self, outcome: Outcome, times: u64) {
        let of = Outcome::ALL.into_iter().zip(&self.entries);
        for (_, counter) in of.filter(|(known, _)| *known == outcome) {
            counter.increment(times);
        }
    }
}

impl Trail {
    /// A trail in this store, and the task that writes it.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> (Self, TrailTask) {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let notes = Mutex::new(Notes::begin(Instant::now()));
        let trail = Self(Arc::new(Parts { queue, notes, meters: Meters::new() }));
        (trail.clone(), TrailTask { store, trail, waiting })
    }

    /// Adds an entry, and returns when it is committed.
    ///
    /// # Errors
    /// [`ServiceError::Audit`]: it is not, or not in time.
    pub async fn commit(&self, entry: Entry) -> Result<(), ServiceError> {
        let (committed, answer) = oneshot::channel();
        let answer = match self.0.queue.try_send(Waiting { entry, committed }) {
            Ok(()) => timeout(PATIENCE, answer).await,
            Err(_) => return Err(self.failed("more reveals wait for their audit entry than may")),
        };
        match answer {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err(self.failed("the audit trail is not written any more")),
            Err(_) => Err(self.failed("the audit entry was not committed in time")),
        }
    }

    /// Adds an entry that nobody waits for, soon. What is alike within a minute is counted together.
    pub fn note(&self, entry: Entry) {
        self.notes().add(entry);
    }

    /// A write has committed entries of its own.
    pub(super) fn written(&self, entries: u64) {
        self.0.meters.written(Outcome::Ok, entries);
    }

    /// An entry could not be written.
    pub(super) fn failed(&self, why: impl Into<Arc<str>>) -> ServiceError {
        self.0.meters.failures.increment(1);
        ServiceError::Audit(why.into())
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is handed in. One a process.
pub struct TrailTask {
    store: Arc<dyn Store>,
    trail: Trail,
    waiting: mpsc::Receiver<Waiting>,
}

impl TrailTask {
    /// Runs until `stop`. By then whoever is to wait for an entry has been answered.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, trail, waiting } = self;
        // Side by side: a flood of what is denied must not hold up reveals.
        tokio::join!(
            commits(store.as_ref(), &trail, waiting, &stop),
            keep_notes(store.as_ref(), &trail, &stop)
        );
    }
}

async fn commits(
    store: &dyn Store,
    trail: &Trail,
    mut waiting: mpsc::Receiver<Waiting>,
    stop: &CancellationToken,
) {
    let mut group = Vec::with_capacity(LARGEST_GROUP);
    while stop.run_until_cancelled(waiting.recv_many(&mut group, LARGEST_GROUP)).await.is_some() {
        // Who has gone away is shown nothing.
        group.retain(|waiting: &Waiting| !waiting.committed.is_closed());
        if group.is_empty() {
            continue;
        }
        let (entries, waiting): (Vec<Entry>, Vec<_>) =
            group.drain(..).map(|waiting| (waiting.entry, waiting.committed)).unzip();
        let written = write(store, trail, &entries).await;
        let answer = written.map_err(|error| ServiceError::Audit(chain(&error).into()));
        for committed in waiting {
            // Whoever does not wait any more was answered that it took too long.
            drop(committed.send(answer.clone()));
        }
    }
}

async fn keep_notes(store: &dyn Store, trail: &Trail, stop: &CancellationToken) {
    let mut tick = interval(NOTED_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let failed = write_notes(store, trail, false).await.is_err();
        if failed && !std::mem::replace(&mut is_failing, failed) {
            tracing::error!("what was denied can't be written to the audit trail; it is kept");
        }
        is_failing = failed;
    }
    if !matches!(timeout(FAREWELL, write_notes(store, trail, true)).await, Ok(Ok(()))) {
        tracing::error!("what was denied lately could not be written to the audit trail");
    }
}

/// Writes the notes that are due; keeps them where that fails.
async fn write_notes(store: &dyn Store, trail: &Trail, is_last: bool) -> StoreResult<()> {
    let due = trail.notes().take_due(Instant::now(), is_last);
    let mut left = due.as_slice();
    while !left.is_empty() {
        let (entries, rest) = left.split_at(left.len().min(LARGEST_GROUP));
        let written = write(store, trail, entries).await;
        if written.is_err() {
            let mut notes = trail.notes();
            for entry in left {
                notes.put_back(entry.clone());
            }
            return written;
        }
        left = rest;
    }
    Ok(())
}

async fn write(store: &dyn Store, trail: &Trail, entries: &[Entry]) -> StoreResult<()> {
    let written = store.append(entries).await;
    match &written {
        Ok(()) => {
            for entry in entries {
                trail.0.meters.written(entry.outcome, entry.times);
            }
        }
        Err(_) => trail.0.meters.failures.increment(1),
    }
    written
}
