//! The order in which a change takes effect on a replica.
//!
//! L2 before L1: the other way round, a load in between would bring the old value from L2 back into
//! L1. And the acknowledgement last: whoever hears it may count on all the rest.

/// What is to be done next for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Evict its keys from L1, to save the time of the round trip to L2 in staleness. A load may
    /// bring the old value back from L2 until that is revoked, so this one does not count.
    EvictEarly,
    /// Revoke its keys in L2, over the connection that there is, trusted or not.
    Revoke,
    /// Drop the connection to L2, and with it the trust in what L2 holds.
    DropConnection,
    /// Evict its keys from L1.
    Evict,
    /// Record that it was applied: from now on, and not before, another delivery of it may be
    /// skipped.
    Record,
    /// Tell its writer.
    Acknowledge,
    /// Nothing.
    Done,
}

/// A change that is being applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Application {
    step: Step,
    must_revoke: bool,
}

impl Application {
    /// Begins. `revoked_on` is the Redis server on which the change's writer has revoked its keys,
    /// `connected_to` the one at the other end of this replica's connection.
    #[must_use]
    pub fn begin(revoked_on: Option<&str>, connected_to: Option<&str>) -> Self {
        let must_revoke = connected_to.is_some() && connected_to != revoked_on;
        Self { step: Step::EvictEarly, must_revoke }
    }

    /// What is to be done.
    #[must_use]
    pub const fn step(&self) -> Step {
        self.step
    }

    /// It was done, and that succeeded. (Of all steps only a revocation can fail.)
    pub const fn done(&mut self) {
        self.step = match self.step {
            Step::EvictEarly if self.must_revoke => Step::Revoke,
            Step::EvictEarly | Step::Revoke | Step::DropConnection => Step::Evict,
            Step::Evict => Step::Record,
            Step::Record => Step::Acknowledge,
            Step::Acknowledge | Step::Done => Step::Done,
        };
    }

    /// The revocation failed, or did not answer in time: nobody knows what L2 holds.
    pub const fn failed(&mut self) {
        self.step = Step::DropConnection;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(mut application: Application, revocation_fails: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        while application.step() != Step::Done {
            steps.push(application.step());
            if application.step() == Step::Revoke && revocation_fails {
                application.failed();
            } else {
                application.done();
            }
        }
        steps
    }

    #[test]
    fn l2_first_and_the_acknowledgement_last() {
        use Step::{Acknowledge, DropConnection, Evict, EvictEarly, Record, Revoke};
        let revoked = [EvictEarly, Revoke, Evict, Record, Acknowledge];
        let skipped = [EvictEarly, Evict, Record, Acknowledge];
        let dropped = [EvictEarly, Revoke, DropConnection, Evict, Record, Acknowledge];
        let begin = Application::begin;
        assert_eq!(steps(begin(None, Some("a")), false), revoked);
        assert_eq!(steps(begin(Some("b"), Some("a")), false), revoked);
        assert_eq!(steps(begin(Some("a"), Some("a")), false), skipped);
        assert_eq!(steps(begin(None, None), false), skipped);
        assert_eq!(steps(begin(None, Some("a")), true), dropped);
    }
}
