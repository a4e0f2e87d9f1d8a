//! How a replica begins, and how it begins anew when its log does not go on where it left it.

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartStep {
    /// Fence: [`Fence::close`](super::Fence::close). There is no cursor from here to the baseline.
    Fence,
    /// Drop the connection to L2. What it was trusted for is that every change was revoked over it,
    /// and those between the old cursor and the baseline never will be. The next connection is
    /// introduced when there is a cursor, and not before, for the same reason.
    Disconnect,
    /// Begin a renewal and commit the replica's row: from now on every write waits for it.
    Register,
    /// Take the snapshot at which the cursor begins. It sees every write that did not wait.
    Baseline,
    /// Drop everything from L1, and overtake every load that is under way.
    Clear,
    /// Move the deadline, by the renewal of [`Register`](Self::Register).
    Unfence,
    /// Nothing.
    Done,
}

/// A replica that begins. The connection to L2 is its own business from [`StartStep::Disconnect`]
/// on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Start {
    step: StartStep,
}

impl Start {
    /// Begins, for a process that has just started as for one that starts over.
    #[must_use]
    pub const fn begin() -> Self {
        Self { step: StartStep::Fence }
    }

    /// What is to be done.
    #[must_use]
    pub const fn step(&self) -> StartStep {
        self.step
    }

    /// It was done. (What failed is done again.)
    pub const fn done(&mut self) {
        use StartStep::{Baseline, Clear, Disconnect, Done, Fence, Register, Unfence};
        self.step = match self.step {
            Fence => Disconnect,
            Disconnect => Register,
            Register => Baseline,
            Baseline => Clear,
            Clear => Unfence,
            Unfence | Done => Done,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_row_before_the_baseline_and_empty_before_it_serves() {
        use StartStep::{Baseline, Clear, Disconnect, Done, Fence, Register, Unfence};
        let mut start = Start::begin();
        for step in [Fence, Disconnect, Register, Baseline, Clear, Unfence, Done, Done] {
            assert_eq!(start.step(), step);
            start.done();
        }
    }
}
