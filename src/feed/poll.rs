//! The poll of the change log: the proof that nothing was missed, and with it the right to serve.
//!
//! One round: renew this replica's row in the database, with what it has applied so far; then read
//! the log; apply all that it holds; and only then move the deadline, counted from the round's
//! beginning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::apply::BATCH;
use super::{Applier, Proof, connected};
use crate::cache::{EvictedBy, clock};
use crate::coherence::{Bound, Cursor, Fence, Restart};
use crate::store::{Store, StoreResult};
use crate::telemetry::logging::chain;

/// Polls that pushes ask for keep at least this distance.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// How long to try to take this replica's row out of the table when it stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reads the change log, at an interval and whenever a push shows that something is missing.
pub struct PollTask {
    store: Arc<dyn Store>,
    applier: Arc<Applier>,
    interval: Duration,
    cursor: Cursor,
    fence: Fence,
    proof: Arc<Proof>,
    failing: bool,
}

/// Why a replica starts over.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the change log does not go on where it was left: {0}")]
    Log(Restart),
    #[error("this replica was taken for dead; it was cut off, or stood still, for too long")]
    Row,
}

impl PollTask {
    /// Enters this replica into the table of those that serve, takes the baseline, and opens the
    /// cache: what is cached from now on is followed by the poll.
    ///
    /// # Errors
    /// The database is out of reach, or is a standby.
    pub async fn begin(
        store: Arc<dyn Store>,
        applier: Arc<Applier>,
        interval: Duration,
        bound: Duration,
    ) -> StoreResult<Self> {
        let mut fence = Fence::new(Bound::of(bound));
        let (began, renewal) = (Instant::now(), fence.begin(clock::now()));
        store.register(applier.origin()).await?;
        let renewed = renewal.committed();
        let cursor = Cursor::starting_at(store.log_head().await?);
        // Nothing is cached yet.
        fence.complete(renewed);
        applier.cache().serving().set_deadline(fence.deadline());
        connected(EvictedBy::Poll, true);
        let proof = Arc::new(Proof::begun_at(began));
        Ok(Self { store, applier, interval, cursor, fence, proof, failing: false })
    }

    /// The age of what this task has proven.
    #[must_use]
    pub fn proof(&self) -> Arc<Proof> {
        Arc::clone(&self.proof)
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let applier = Arc::clone(&self.applier);
        loop {
            let began = Instant::now();
            let Some(done) = stop.run_until_cancelled(self.round()).await else { break };
            self.report(began, done);
            let wait = async {
                tokio::time::sleep(SHORTEST_INTERVAL.min(self.interval)).await;
                let rest = self.interval.saturating_sub(SHORTEST_INTERVAL);
                // Elapsed or wanted: poll.
                drop(tokio::time::timeout(rest, applier.poll_wanted()).await);
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                break;
            }
        }
        // No write has to wait for a replica that serves nothing from its cache any more.
        self.close();
        let farewell = self.store.deregister(self.applier.origin());
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::warn!("this replica could not sign off; writes wait for it once more");
        }
    }

    /// See the head of this file.
    async fn round(&mut self) -> StoreResult<()> {
        let renewal = self.fence.begin(clock::now());
        if !self.store.renew(self.applier.origin(), self.cursor.snapshot()).await? {
            return self.start_over(Lost::Row).await;
        }
        let renewed = renewal.committed();
        self.poll().await?;
        // After a start-over this one comes to nothing.
        self.fence.complete(renewed);
        self.applier.cache().serving().set_deadline(self.fence.deadline());
        Ok(())
    }

    fn close(&mut self) {
        self.fence.close();
        self.applier.cache().serving().set_deadline(self.fence.deadline());
    }

    /// Applies every change since the cursor, then moves it.
    async fn poll(&mut self) -> StoreResult<()> {
        let mut page = None;
        loop {
            let read = self.store.log_since(self.cursor.snapshot(), page.as_ref()).await?;
            // Of every page: between two of them the log may be pruned, or the server replaced.
            if let Err(restart) = self.cursor.continues_at(&read.head) {
                return self.start_over(Lost::Log(restart)).await;
            }
            for changes in read.changes.chunks(BATCH) {
                self.applier.apply(changes, EvictedBy::Poll, None).await;
            }
            if let Some(last) = read.changes.last() {
                self.applier.seen_up_to(last.seq);
            }
            page = read.next;
            if page.is_none() {
                self.cursor.advance(read.head.snapshot);
                return Ok(());
            }
        }
    }

    /// Begins anew, for nobody knows what changed in between.
    async fn start_over(&mut self, why: Lost) -> StoreResult<()> {
        self.close();
        tracing::error!(reason = %why, "starting over");
        let renewal = self.fence.begin(clock::now());
        self.store.register(self.applier.origin()).await?;
        let renewed = renewal.committed();
        // The new baseline first: a change between it and the drop is in the next poll.
        let head = self.store.log_head().await?;
        self.applier.start_over(&head.identity.database);
        self.cursor = Cursor::starting_at(head);
        self.fence.complete(renewed);
        Ok(())
    }

    fn report(&mut self, began: Instant, polled: StoreResult<()>) {
        connected(EvictedBy::Poll, polled.is_ok());
        match polled {
            Ok(()) => {
                self.proof.renew(began);
                self.failing = false;
            }
            // Once an outage, not once a poll.
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::warn!(error = chain(&error), "the change log can't be read");
            }
            Err(_) => {}
        }
    }
}

/// Prunes the log now and then, until `stop`.
pub async fn prune(store: Arc<dyn Store>, retention: Duration, stop: CancellationToken) {
    // Often enough that a run removes little, seldom enough to cost nothing.
    let interval = (retention / 24).clamp(Duration::from_mins(1), Duration::from_hours(1));
    loop {
        let pause = interval.mul_f64(0.5 + fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        match store.prune_log(retention).await {
            Ok(Some(rows)) if rows > 0 => tracing::info!(rows, "pruned the change log"),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = chain(&error), "pruning the change log failed");
            }
        }
    }
}
