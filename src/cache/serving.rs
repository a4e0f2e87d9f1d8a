//! Until when, and from what, a replica serves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::clock;
use crate::coherence::{Deadline, Moment, Reading};

/// The replica's deadline, which the poll moves and every read asks; and, once that has passed,
/// whether the database answers.
#[derive(Debug, Default)]
pub struct Serving {
    deadline: AtomicU64,
    store_is_away: AtomicBool,
}

impl Serving {
    /// Begins a read: loads the deadline, before the cache is looked at.
    #[must_use]
    pub fn begin(&self) -> Reading {
        let moment = Moment::from_nanos(self.deadline.load(Ordering::Acquire));
        Reading::begin(Deadline::at(moment))
    }

    /// Whether nothing cached may be served as current now.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.begin().is_fenced(clock::now())
    }

    /// Moves the deadline. What was evicted before this call is seen as evicted by whoever loads
    /// the deadline that it set.
    pub fn set_deadline(&self, deadline: Deadline) {
        self.deadline.store(deadline.moment().as_nanos(), Ordering::Release);
    }

    /// Whether this replica is fenced, and the database did not answer when it was last asked. One
    /// goes on asking; the others need not.
    #[must_use]
    pub fn store_is_away(&self) -> bool {
        self.store_is_away.load(Ordering::Relaxed)
    }

    /// Notes whether the database answers.
    pub fn set_store_is_away(&self, is_away: bool) {
        self.store_is_away.store(is_away, Ordering::Relaxed);
    }
}
