//! Looks after the table of the replicas: who is gone without a word is taken out of it, for every
//! write waits for who is in it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Barriers;
use crate::cache::clock;
use crate::coherence::{Bound, Census};
use crate::store::Store;
use crate::telemetry::logging::chain;

/// Reads the table twice a bound.
pub struct CensusTask {
    /// Where the table is.
    pub store: Arc<dyn Store>,
    /// Who reads it.
    pub barriers: Arc<Barriers>,
    /// How long this replica serves on one proof.
    pub bound: Duration,
}

impl CensusTask {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut census = Census::default();
        let mut tick = tokio::time::interval(self.bound / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if stop.run_until_cancelled(self.look(&mut census)).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self, census: &mut Census) {
        let Some(roster) = self.barriers.read().await else { return };
        if !roster.is_settled
            && let Some(identity) = self.barriers.is_to_be_settled()
            && let Err(error) = self.store.settle(&identity).await
        {
            tracing::warn!(error = chain(&error), "could not note that the database is settled");
        }
        let rows = roster.replicas.iter();
        let rows = rows.map(|row| (&row.instance, row.renewals, Bound::of(row.bound)));
        for (instance, renewals) in census.take(rows, clock::now()) {
            // Renewed since, or taken out by another: both are well.
            if let Ok(true) = self.store.bury(&instance, renewals).await {
                tracing::warn!(
                    instance,
                    "a replica has not renewed its row for longer than it may serve; \
                     writes do not wait for it any more"
                );
            }
        }
    }
}
