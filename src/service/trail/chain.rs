//! Chains what was committed, prunes what is old, and tells how the trail stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::crypto::Link;
use crate::store::{Break, Position, Standing, Store, StoreError, StoreResult};
use crate::telemetry::logging;
use crate::telemetry::metrics::{
    AUDIT_FAILURES, AUDIT_UNCHAINED, AUDIT_UNCHAINED_AGE, counter_of, gauge_of,
};

/// How often a replica looks whether there is something to be chained.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// How often old rows are removed.
const PRUNED_EVERY: Duration = Duration::from_hours(1);
/// How often the log has where the chain ends: what is kept elsewhere tells if the end is cut off.
const TOLD_EVERY: Duration = Duration::from_hours(1);
/// Batches of one look; the next look goes on.
const BATCHES: usize = 100;

/// See the module. Each replica runs one; the database lets one of them at the chain at a time.
pub struct ChainTask {
    /// Where the trail is.
    pub store: Arc<dyn Store>,
    /// How long rows are kept; for ever, if it is not said.
    pub retention: Option<Duration>,
}

/// What a replica remembers from look to look.
#[derive(Default)]
struct Memory {
    /// Where the chain ended when this replica last looked.
    head: Option<Position>,
    told: Option<(Instant, i64)>,
    pruned: Option<Instant>,
    /// What was told of a failure that lasts.
    told_failure: Option<String>,
}

impl ChainTask {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let failures = counter_of(AUDIT_FAILURES, &[]);
        let mut memory = Memory::default();
        let mut tick = interval(LOOKED_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let Some(done) = stop.run_until_cancelled(self.look(&mut memory)).await else { break };
            match done {
                Ok(()) => memory.told_failure = None,
                Err(error) => {
                    failures.increment(1);
                    let error = logging::chain(&error);
                    // Once a failure, not once a look.
                    if memory.told_failure.as_ref() != Some(&error) {
                        tracing::error!(
                            target: logging::AUDIT,
                            error,
                            "the audit trail is not chained"
                        );
                        memory.told_failure = Some(error);
                    }
                }
            }
        }
    }

    async fn look(&self, memory: &mut Memory) -> StoreResult<()> {
        let mut standing = self.store.audit_standing().await?;
        // Also where the chain is broken: what waits to be chained is what is to be seen then.
        show(&standing);
        // Each time, and also where nothing is to be chained: a chain that was cut off is told while
        // somebody still knows of it.
        memory.compare(&standing)?;
        if standing.unchained > 0 {
            for _ in 0..BATCHES {
                match self.store.chain().await? {
                    Some(chained) if chained.more => {}
                    _ => break,
                }
            }
            standing = self.store.audit_standing().await?;
            memory.compare(&standing)?;
            show(&standing);
        }
        memory.tell();
        self.prune(memory).await
    }

    async fn prune(&self, memory: &mut Memory) -> StoreResult<()> {
        let Some(retention) = self.retention else { return Ok(()) };
        if memory.pruned.is_some_and(|pruned| pruned.elapsed() < PRUNED_EVERY) {
            return Ok(());
        }
        memory.pruned = Some(Instant::now());
        let (mut rows, mut batches) = (0, 0);
        while batches < BATCHES
            && let Some(batch @ 1..) = self.store.prune_audit(retention).await?
        {
            (rows, batches) = (rows + batch, batches + 1);
        }
        if batches == BATCHES {
            // What is left is removed in the next round: chaining is not to wait for it.
            memory.pruned = None;
        }
        if rows > 0 {
            tracing::info!(rows, "removed old rows of the audit trail");
        }
        Ok(())
    }
}

impl Memory {
    /// Whether the chain goes on from where this replica has seen it.
    fn compare(&mut self, standing: &Standing) -> StoreResult<()> {
        let head = standing.chain.as_ref().map(|chain| &chain.head);
        let before = self.head.take();
        let goes_on = match (&before, head) {
            (Some(before), Some(head)) => head.number > before.number || head == before,
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.head = head.cloned();
        if !goes_on {
            let number = before.map_or(0, |before| before.number);
            return Err(StoreError::Chain(Break::Head { number }));
        }
        if standing.beyond > 0 || standing.behind > 0 {
            let rows = standing.beyond + standing.behind;
            return Err(StoreError::Chain(Break::Outside { rows }));
        }
        Ok(())
    }

    /// Says now and then where the chain ends.
    fn tell(&mut self) {
        let Some(head) = &self.head else { return };
        let is_due = self
            .told
            .is_none_or(|(told, number)| told.elapsed() >= TOLD_EVERY && number != head.number);
        if is_due && let Some(link) = Link::stored(&head.hash) {
            self.told = Some((Instant::now(), head.number));
            let (number, hash) = (head.number, link.to_string());
            tracing::info!(
                target: logging::AUDIT,
                number,
                hash,
                "the audit trail is chained up to here"
            );
        }
    }
}

fn show(standing: &Standing) {
    // Counted up to 100,000.
    #[expect(clippy::cast_precision_loss, reason = "far below a float's last integer")]
    gauge_of(AUDIT_UNCHAINED, &[]).set(standing.unchained as f64);
    let age = standing.oldest_unchained.unwrap_or_default();
    gauge_of(AUDIT_UNCHAINED_AGE, &[]).set(age.as_secs_f64());
}
