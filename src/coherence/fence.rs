//! The fence: a replica whose proof is too old stops serving from cache.
//!
//! A replica may serve what it has cached until its *deadline*. It moves the deadline by renewing
//! its row in the database, then reading the log of changes, then applying all that it finds. A
//! write that is to be acknowledged waits until every replica has applied it, or until every
//! deadline from before it has passed: whoever renewed later has read the log later, and has seen
//! it. (Gray and Cheriton, "Leases", 1989; the lease here is on the whole cache.)

use std::time::Duration;

use super::Moment;

/// Up to when what is cached may be served. Load it *before* the cache is read, and ask it after:
/// a deadline that moved meanwhile may owe that to an eviction which the read came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Moment);

impl Deadline {
    /// The deadline of a fenced replica: it has passed, whatever the time is.
    pub const PASSED: Self = Self(Moment::from_nanos(0));

    /// The deadline at this moment.
    #[must_use]
    pub const fn at(moment: Moment) -> Self {
        Self(moment)
    }

    /// Its moment.
    #[must_use]
    pub const fn moment(self) -> Moment {
        self.0
    }

    /// Whether a value that was read from the cache since this deadline was loaded may be served
    /// now.
    #[must_use]
    pub fn admits(self, now: Moment) -> bool {
        now < self.0
    }
}

/// How long a replica serves on one proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bound {
    /// How long a write waits for a replica that does not answer: `STALENESS_BOUND_MS`.
    pub bound: Duration,
    /// By how much earlier that replica stops, for clocks that do not run alike.
    pub margin: Duration,
}

impl Bound {
    /// A bound with the margin that goes with it: clocks may differ by a part in twenty, which is
    /// a hundred times what a kernel lets them.
    #[must_use]
    pub fn of(bound: Duration) -> Self {
        Self { bound, margin: bound / 20 }
    }
}

/// When a replica may serve from its cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    bound: Bound,
    generation: u64,
    deadline: Deadline,
}

/// A renewal under way: its row is not yet committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use = "a renewal moves the deadline only when it is completed"]
pub struct Renewal {
    generation: u64,
    began: Moment,
}

/// A renewal whose row is committed. The log is to be read *after* that, and applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use = "a renewal moves the deadline only when it is completed"]
pub struct Renewed(Renewal);

impl Fence {
    /// A fenced replica.
    #[must_use]
    pub const fn new(bound: Bound) -> Self {
        Self { bound, generation: 0, deadline: Deadline::PASSED }
    }

    /// The bound.
    #[must_use]
    pub const fn bound(&self) -> Bound {
        self.bound
    }

    /// The deadline.
    #[must_use]
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Begins a renewal. `now` is read before anything is sent: the deadline counts from here.
    pub const fn begin(&self, now: Moment) -> Renewal {
        Renewal { generation: self.generation, began: now }
    }

    /// Moves the deadline: the row was committed, the log was read after that, and all that it held
    /// has been applied.
    pub fn complete(&mut self, Renewed(renewal): Renewed) {
        // One that a start-over came between speaks of a cache that is no more.
        if renewal.generation == self.generation {
            let until = renewal.began.plus(self.bound.bound).minus(self.bound.margin);
            self.deadline = self.deadline.max(Deadline::at(until));
        }
    }

    /// Fences the replica at once: it starts over, or stops. Renewals under way come to nothing.
    pub const fn close(&mut self) {
        self.generation += 1;
        self.deadline = Deadline::PASSED;
    }
}

impl Renewal {
    /// The row is committed, durably.
    pub const fn committed(self) -> Renewed {
        Renewed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    fn fence() -> Fence {
        Fence::new(Bound::of(Duration::from_secs(1)))
    }

    #[test]
    fn the_deadline_counts_from_the_renewals_beginning() {
        let mut fence = fence();
        assert!(!fence.deadline().admits(at(0)));
        let renewal = fence.begin(at(5_000));
        fence.complete(renewal.committed());
        assert!(fence.deadline().admits(at(5_949)));
        assert!(!fence.deadline().admits(at(5_950)));
    }

    #[test]
    fn renewals_that_overlap_do_not_move_it_back() {
        let mut fence = fence();
        let (early, late) = (fence.begin(at(100)), fence.begin(at(200)));
        fence.complete(late.committed());
        let deadline = fence.deadline();
        fence.complete(early.committed());
        assert_eq!(fence.deadline(), deadline);
    }

    #[test]
    fn a_renewal_from_before_a_start_over_comes_to_nothing() {
        let mut fence = fence();
        let renewal = fence.begin(at(100));
        fence.close();
        fence.complete(renewal.committed());
        assert_eq!(fence.deadline(), Deadline::PASSED);
    }
}
