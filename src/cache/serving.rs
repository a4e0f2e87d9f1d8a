//! Until when, and from what, a replica serves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::clock;
use crate::coherence::{Deadline, Moment};

/// The replica's deadline, which the poll moves and every read asks, and whether the database
/// answers, as the poll has seen it last.
#[derive(Debug, Default)]
pub struct Serving {
    deadline: AtomicU64,
    store_is_away: AtomicBool,
}

impl Serving {
    /// The deadline: to be loaded before the cache is read.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        Deadline::at(Moment::from_nanos(self.deadline.load(Ordering::Acquire)))
    }

    /// Whether nothing cached may be served as current now.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        !self.deadline().admits(clock::now())
    }

    /// How long ago the deadline was.
    #[must_use]
    pub fn fenced_for(&self) -> Duration {
        clock::now().since(self.deadline().moment())
    }

    /// Moves the deadline. What was evicted before this call is seen as evicted by whoever loads
    /// the deadline that it set.
    pub fn set_deadline(&self, deadline: Deadline) {
        self.deadline.store(deadline.moment().as_nanos(), Ordering::Release);
    }

    /// Whether the database did not answer the last time it was asked for changes.
    #[must_use]
    pub fn store_is_away(&self) -> bool {
        self.store_is_away.load(Ordering::Relaxed)
    }

    /// Notes whether the database answers.
    pub fn set_store_is_away(&self, is_away: bool) {
        self.store_is_away.store(is_away, Ordering::Relaxed);
    }
}
