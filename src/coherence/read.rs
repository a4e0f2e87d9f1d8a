//! Which answers a read may give.
//!
//! The order of a read: load the deadline → look in L1 → on a miss, note the key's epoch
//! ([`Stripe::admit`](super::Stripe::admit)) → check that L2 is trusted
//! ([`Trust::checked_after`](super::Trust::checked_after)) → ask L2, which answers or gives a lease
//! → ask the database → fill. What was found is asked about here, at the end, before it is given.

use std::time::Duration;

use super::{Deadline, Moment};

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// L1 or L2.
    Cache,
    /// A load that was under way when the read came to it, and may have asked the database before
    /// the read was invoked.
    Joined,
    /// A query of the database that this read began.
    Database,
}

/// A read, from its invocation to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    deadline: Deadline,
}

impl Reading {
    /// Begins, with the deadline as it is *now*, before anything is looked up.
    #[must_use]
    pub const fn begin(deadline: Deadline) -> Self {
        Self { deadline }
    }

    /// Whether it goes to the database at once: it looks in no cache, joins no load that is under
    /// way, leads none that others join, and fills nothing.
    #[must_use]
    pub fn is_fenced(self, now: Moment) -> bool {
        !self.deadline.admits(now)
    }

    /// How long ago the deadline was, for what is given with a label that it may be old. Nothing
    /// where the replica was closed, to start over or to stop: what it holds is of no age.
    #[must_use]
    pub fn fenced_for(self, now: Moment) -> Option<Duration> {
        (self.deadline != Deadline::PASSED).then(|| now.since(self.deadline.moment()))
    }

    /// Whether what came from `source` may be given as current. If not, ask the database.
    #[must_use]
    pub fn may_answer(self, source: Source, now: Moment) -> bool {
        match source {
            Source::Cache | Source::Joined => self.deadline.admits(now),
            // Whatever was acknowledged before the read was invoked was committed before the query.
            Source::Database => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_that_was_loaded_first_counts() {
        let (before, after) = (Moment::from_nanos(4), Moment::from_nanos(5));
        let reading = Reading::begin(Deadline::at(after));
        assert!(!reading.is_fenced(before) && reading.is_fenced(after));
        for source in [Source::Cache, Source::Joined] {
            assert!(reading.may_answer(source, before));
            assert!(!reading.may_answer(source, after));
        }
        assert!(reading.may_answer(Source::Database, after));
    }

    #[test]
    fn what_is_old_has_an_age_unless_the_replica_was_closed() {
        let reading = Reading::begin(Deadline::at(Moment::from_nanos(5)));
        let age = reading.fenced_for(Moment::from_nanos(12));
        assert_eq!(age, Some(Duration::from_nanos(7)));
        assert_eq!(Reading::begin(Deadline::PASSED).fenced_for(Moment::from_nanos(12)), None);
    }
}
