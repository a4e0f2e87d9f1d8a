//! The poll of the change log: the proof that nothing was missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::apply::BATCH;
use super::{Applier, Proof, connected};
use crate::cache::EvictedBy;
use crate::coherence::{Cursor, Restart};
use crate::store::{Store, StoreResult};
use crate::telemetry::logging::chain;

/// Polls that pushes ask for keep at least this distance.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Reads the change log, at an interval and whenever a push shows that something is missing.
pub struct PollTask {
    store: Arc<dyn Store>,
    applier: Arc<Applier>,
    interval: Duration,
    cursor: Cursor,
    proof: Arc<Proof>,
    failing: bool,
}

impl PollTask {
    /// Takes the baseline: what is read and cached from now on is followed by the poll.
    ///
    /// # Errors
    /// The database is out of reach, or is a standby.
    pub async fn begin(
        store: Arc<dyn Store>,
        applier: Arc<Applier>,
        interval: Duration,
    ) -> StoreResult<Self> {
        let proof = Arc::new(Proof::begun_at(Instant::now()));
        let cursor = Cursor::starting_at(store.log_head().await?);
        connected(EvictedBy::Poll, true);
        Ok(Self { store, applier, interval, cursor, proof, failing: false })
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
            let polled = stop.run_until_cancelled(self.poll()).await;
            let Some(polled) = polled else { return };
            self.report(began, polled);
            let wait = async {
                tokio::time::sleep(SHORTEST_INTERVAL.min(self.interval)).await;
                let rest = self.interval.saturating_sub(SHORTEST_INTERVAL);
                // Elapsed or wanted: poll.
                drop(tokio::time::timeout(rest, applier.poll_wanted()).await);
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    /// Applies every change since the cursor, then moves it.
    async fn poll(&mut self) -> StoreResult<()> {
        let mut page = None;
        loop {
            let read = self.store.log_since(self.cursor.snapshot(), page.as_ref()).await?;
            // Of every page: between two of them the log may be pruned, or the server replaced.
            if let Err(restart) = self.cursor.continues_at(&read.head) {
                return self.start_over(restart).await;
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

    /// Nobody knows what changed in between.
    async fn start_over(&mut self, why: Restart) -> StoreResult<()> {
        tracing::error!(reason = %why, "the change log does not go on where it was left");
        // The new baseline first: a change between it and the drop is in the next poll.
        let head = self.store.log_head().await?;
        self.applier.start_over(&head.identity.database);
        self.cursor = Cursor::starting_at(head);
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
