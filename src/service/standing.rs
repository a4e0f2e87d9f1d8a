//! Whether this replica may take traffic, and what it answers from.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError};
use crate::cache::{LoadError, Standing};
use crate::store::Store;

/// How often a fenced replica asks whether the database is there.
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// How long the database has for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a replica may take traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It may, and this is what look-ups are answered from.
    Serving(Standing),
    /// It may not: it was told to stop.
    Stopping,
}

impl Service {
    /// Whether this replica may take traffic. It exists only once the database has been migrated
    /// and the change log is being read.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Readiness::Stopping;
        }
        Readiness::Serving(self.0.cache.standing())
    }

    /// Has [`Service::readiness`] tell load balancers to send no more.
    pub fn begin_stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Finds out whether the database answers at all while this replica is fenced, until `stop`. Why
    /// it is fenced does not tell: the poll may fail by itself, on a lock or a limit of its own.
    pub async fn watch_store(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let serving = self.0.cache.serving();
            let (mut tick, mut was_away) = (interval(ASKED_EVERY), false);
            loop {
                tick.tick().await;
                let is_away = serving.is_fenced() && !self.is_answered().await;
                if is_away != was_away {
                    was_away = is_away;
                    serving.set_store_is_away(is_away);
                    if is_away {
                        tracing::error!("the database does not answer; not asking it for now");
                    } else {
                        tracing::info!("the database answers again");
                    }
                }
            }
        })
        .await;
    }

    /// An answer that is late is asked for once more: it may have been this process that stood
    /// still, and then the time it took says nothing.
    async fn is_answered(&self) -> bool {
        for _ in 0..2 {
            if let Ok(answer) = timeout(PATIENCE, self.0.store.ping()).await {
                return answer.is_ok();
            }
        }
        false
    }

    /// The database, unless it is known to be away: whoever would wait in vain hears so at once.
    pub(super) fn store(&self) -> Result<&Arc<dyn Store>, ServiceError> {
        let is_away = self.0.cache.serving().store_is_away();
        if is_away { Err(LoadError::away().into()) } else { Ok(&self.0.store) }
    }
}
