//! Learning of changes, and telling of them.
//!
//! Three sources feed one idempotent path, [`Applier::apply`]: messages over Redis (fastest),
//! messages over Postgres LISTEN/NOTIFY, and the poll of the change log. The buses are
//! accelerators; the log is the proof, and only the poll moves the cursor.
//!
//! A change flows one way: `service` commits and calls [`Publisher::after_commit`]; the buses carry
//! it; every replica's [`Applier`] evicts, and says so; the writer waits for that ([`Barriers`]).

mod apply;
mod barrier;
mod census;
mod intake;
mod link;
mod notify;
mod poll;
mod proof;
mod publish;
mod recent;
mod redis;
pub mod wire;

use std::time::Duration;

pub use self::apply::Applier;
pub use self::barrier::{Barriers, Coherence};
pub use self::census::CensusTask;
pub use self::link::LinkTask;
pub use self::notify::{ListenTask, NotifyQueue, NotifyTask, notify_queue};
pub use self::poll::{PollTask, prune};
pub use self::proof::Proof;
pub use self::publish::{Publisher, Wait};
pub use self::redis::SubscribeTask;

use crate::cache::EvictedBy;
use crate::telemetry::metrics::{FEED_CONNECTED, gauge_of};

/// The channel on which changes are announced, in Redis (behind `REDIS_PREFIX`) and in Postgres.
pub const CHANNEL: &str = "tenant_changes";

/// What a message may hold: Postgres takes less than 8,000 bytes a notification.
const LONGEST_MESSAGE: usize = 7_900;
/// Stands for changes that fit no message: the log has them. (It decodes as none, which asks for a
/// poll.)
const POLL_NOW: &str = "poll";

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A bus that has been silent for so long has to show that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// And has so long to do it.
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(2);

/// Waits before another attempt to connect: longer each time, with jitter, so that replicas do not
/// come back in step.
struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    const fn new() -> Self {
        Self::between(FIRST_BACKOFF, LONGEST_BACKOFF)
    }

    const fn between(first: Duration, longest: Duration) -> Self {
        Self { first, next: first, longest }
    }

    /// Begins anew after a connection that has lasted; one that is lost at once counts as a failure.
    fn reset_after(&mut self, lasted: Duration) {
        if lasted > HEARTBEAT {
            self.next = self.first;
        }
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

/// The channel in Redis on which a writer is told that its writes were applied.
fn acknowledgements_of(origin: &str) -> String {
    format!("tenant_acks:{origin}")
}

/// Says in the metrics whether a source is connected. One that is not configured is not in them.
fn connected(source: EvictedBy, connected: bool) {
    let gauge = gauge_of(FEED_CONNECTED, &[("source", source.label())]);
    gauge.set(if connected { 1.0 } else { 0.0 });
}
