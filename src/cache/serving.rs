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
    times_opened: AtomicU64,
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
        if self.is_fenced() && deadline.admits(clock::now()) {
            self.times_opened.fetch_add(1, Ordering::Relaxed);
        }
        self.deadline.store(deadline.moment().as_nanos(), Ordering::Release);
    }

    /// How many times the cache was opened: by the start, and after each time that it was fenced,
    /// however short that was.
    #[must_use]
    pub fn times_opened(&self) -> u64 {
        self.times_opened.load(Ordering::Relaxed)
    }

    /// Whether this replica is fenced, and the database did not answer when it was last asked. One
    /// goes on asking; the others need not.
    #[must_use]
    pub fn store_is_away(&self) -> bool {
        // A deadline that has moved tells sooner than the next answer.
        self.store_is_away.load(Ordering::Relaxed) && self.is_fenced()
    }

    /// Notes whether the database answers.
    pub fn set_store_is_away(&self, is_away: bool) {
        self.store_is_away.store(is_away, Ordering::Relaxed);
    }
}
