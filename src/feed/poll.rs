//! The poll of the change log: the proof that nothing was missed, and with it the right to serve.
//!
//! One round: renew this replica's row in the database, with what it has applied so far; then read
//! the log; apply all that it holds; and only then move the deadline, counted from the round's
//! beginning. Then, now and then, Redis is told how far everything is revoked there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::apply::BATCH;
use super::{Applier, Proof, connected};
use crate::cache::{EvictedBy, clock};
use crate::coherence::{Bound, Cursor, Fence, Restart, Snapshot, Start, StartStep};
use crate::store::{Store, StoreResult};
use crate::telemetry::logging::chain;

/// Polls that pushes ask for keep at least this distance.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// How often the marker in Redis moves. Whoever connects revokes what it does not see: one that is
/// so much behind costs a second's changes, and one at each poll would be a write at each.
const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// How long to try to take this replica's row out of the table when it stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reads the change log, at an interval and whenever a push shows that something is missing.
pub struct PollTask {
    store: Arc<dyn Store>,
    applier: Arc<Applier>,
    interval: Duration,
    /// None while the replica begins, or begins anew.
    cursor: Option<Cursor>,
    fence: Fence,
    marked: Option<Instant>,
    proof: Arc<Proof>,
    failing: bool,
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
        let mut task = Self {
            store,
            applier,
            interval,
            cursor: None,
            fence: Fence::new(Bound::of(bound)),
            marked: None,
            proof: Arc::new(Proof::begun_at(Instant::now())),
            failing: false,
        };
        task.start().await?;
        connected(EvictedBy::Poll, true);
        Ok(task)
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
            // What is applied before this round's poll, the next one's renewal shows.
            let show_next = applier.take_is_to_show();
            let Some(done) = stop.run_until_cancelled(self.round()).await else { break };
            let show_next = show_next && done.is_ok();
            self.report(began, done);
            let wait = async {
                tokio::time::sleep(SHORTEST_INTERVAL.min(self.interval)).await;
                let rest = self.interval.saturating_sub(SHORTEST_INTERVAL);
                if !show_next {
                    // Elapsed or wanted: poll.
                    drop(tokio::time::timeout(rest, applier.poll_wanted()).await);
                }
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
        let Some(cursor) = &self.cursor else { return self.start().await };
        let renewal = self.fence.begin(clock::now());
        self.store.renew(self.applier.origin(), cursor.snapshot(), self.bound()).await?;
        let renewed = renewal.committed();
        if let Err(restart) = self.poll().await? {
            return self.start_over(restart).await;
        }
        self.fence.complete(renewed);
        self.set_deadline();
        self.mark().await;
        Ok(())
    }

    fn bound(&self) -> Duration {
        self.fence.bound().bound
    }

    fn set_deadline(&self) {
        self.applier.cache().serving().set_deadline(self.fence.deadline());
    }

    fn close(&mut self) {
        self.fence.close();
        self.set_deadline();
    }

    /// Applies every change since the cursor, then moves it; unless the log does not go on there.
    async fn poll(&mut self) -> StoreResult<Result<(), Restart>> {
        let Some(cursor) = &mut self.cursor else { return Ok(Ok(())) };
        let mut page = None;
        loop {
            let read = self.store.log_since(cursor.snapshot(), page.as_ref()).await?;
            // Of every page: between two of them the log may be pruned, or the server replaced.
            if let Err(restart) = cursor.continues_at(&read.head) {
                return Ok(Err(restart));
            }
            for changes in read.changes.chunks(BATCH) {
                self.applier.apply(changes, EvictedBy::Poll, None).await;
            }
            if let Some(last) = read.changes.last() {
                self.applier.seen_up_to(last.seq);
            }
            page = read.next;
            if page.is_none() {
                cursor.advance(read.head.snapshot);
                self.applier.read_up_to(cursor.snapshot());
                return Ok(Ok(()));
            }
        }
    }

    /// Moves the marker in Redis to the cursor, where the connection is trusted. The deadline has
    /// moved by then, and nobody waits.
    async fn mark(&mut self) {
        let (Some(l2), Some(cursor)) = (self.applier.cache().l2(), &self.cursor) else { return };
        if self.marked.is_some_and(|marked| marked.elapsed() < MARK_INTERVAL) {
            return;
        }
        // A failure drops the connection, which is logged there.
        if l2.advance_marker(cursor).await.is_ok() {
            self.marked = Some(Instant::now());
        }
    }

    /// Begins anew, for nobody knows what changed in between.
    async fn start_over(&mut self, why: Restart) -> StoreResult<()> {
        let reason = format!("the change log does not go on where it was left: {why}");
        tracing::error!(reason, "starting over");
        self.start().await
    }

    /// Begins, in the order of the protocol: see [`Start`]. What fails is done again at the next
    /// round, with all that comes before it: until then there is no cursor to go on from.
    async fn start(&mut self) -> StoreResult<()> {
        let (mut start, mut renewed, mut baseline) = (Start::begin(), None, None);
        while start.step() != StartStep::Done {
            match start.step() {
                StartStep::Fence => {
                    self.cursor = None;
                    self.applier.set_following(false);
                    self.close();
                }
                StartStep::Disconnect => self.applier.disconnect(),
                StartStep::Register => {
                    let renewal = self.fence.begin(clock::now());
                    let nothing = Snapshot::up_to(0);
                    self.store.renew(self.applier.origin(), &nothing, self.bound()).await?;
                    renewed = Some(renewal.committed());
                }
                StartStep::Baseline => {
                    baseline = Some(Cursor::starting_at(self.store.log_head().await?));
                }
                StartStep::Clear => {
                    if let Some(baseline) = &baseline {
                        self.applier.start_over(&baseline.identity().database);
                        self.applier.read_up_to(baseline.snapshot());
                    }
                }
                StartStep::Unfence => {
                    if let Some(renewed) = renewed.take() {
                        self.fence.complete(renewed);
                        self.set_deadline();
                    }
                }
                StartStep::Done => {}
            }
            start.done();
        }
        self.cursor = baseline;
        self.applier.set_following(true);
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
