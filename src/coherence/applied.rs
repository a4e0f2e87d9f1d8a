//! Which writes a replica may acknowledge.
//!
//! A message speaks of one write, and may come when the one before it was lost. To acknowledge a
//! write is to say that no older state of what its writer has set, or found as it was to become, is
//! served here; and what it found may be of the write before it, whose keys it does not name. So a
//! replica acknowledges a write once it has applied the tenant's writes before it, too. (Writes of
//! one tenant come one after the other.)

use std::collections::BTreeSet;

use super::Snapshot;

/// The writes that a replica has applied, with all those of the same tenant before them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Applied {
    upto: Snapshot,
    beyond: BTreeSet<u64>,
}

impl Default for Applied {
    /// None.
    fn default() -> Self {
        Self { upto: Snapshot::up_to(0), beyond: BTreeSet::new() }
    }
}

impl Applied {
    /// As many as a replica takes note of beyond its cursor; others are seen in its row.
    const MOST: usize = 65_536;

    /// All that this snapshot sees was applied.
    pub fn advance(&mut self, to: &Snapshot) {
        self.upto.clone_from(to);
        self.beyond.retain(|xid| !to.sees(*xid));
    }

    /// The write of transaction `xid` was applied; the tenant's last one before it is `after`.
    /// Returns whether it may be acknowledged.
    pub fn apply(&mut self, xid: u64, after: Option<u64>) -> bool {
        let is_complete = self.covers(xid) || after.is_none_or(|after| self.covers(after));
        if is_complete && self.beyond.len() < Self::MOST {
            self.beyond.insert(xid);
        }
        is_complete
    }

    fn covers(&self, xid: u64) -> bool {
        self.upto.sees(xid) || self.beyond.contains(&xid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a replica hears of one tenant's writes, counted in the order of their commits.
    #[derive(Debug, Clone)]
    enum Heard {
        Message(usize),
        /// A poll, which sees the first so many.
        Poll(usize),
    }

    fn heard(writes: usize) -> impl Strategy<Value = Vec<Heard>> {
        let message = (0..writes).prop_map(Heard::Message);
        let poll = (0..=writes).prop_map(Heard::Poll);
        prop::collection::vec(prop_oneof![4 => message, 1 => poll], 0..40)
    }

    const WRITES: usize = 7;

    proptest! {
        #[test]
        fn whatever_is_lost_a_write_is_acknowledged_only_with_all_before_it(
            // Whoever waits for the tenant's lock may have drawn its number before whoever has it.
            xids in Just((100..100 + WRITES as u64).collect::<Vec<_>>()).prop_shuffle(),
            heard in heard(WRITES),
        ) {
            let mut applied = Applied::default();
            let (mut polled, mut is_done) = (0, [false; WRITES]);
            for event in heard {
                match event {
                    Heard::Message(write) => {
                        let was_in_line = write == 0 || is_done[..write].iter().all(|done| *done);
                        is_done[write] = true;
                        let after = write.checked_sub(1).map(|before| xids[before]);
                        if applied.apply(xids[write], after) {
                            prop_assert!(was_in_line, "write {write} without one before it");
                        }
                        if write <= polled {
                            prop_assert!(applied.apply(xids[write], after), "none is missing");
                        }
                    }
                    Heard::Poll(upto) => {
                        polled = polled.max(upto);
                        is_done[..polled].fill(true);
                        let running = xids[polled..].to_vec();
                        applied.advance(&Snapshot::below(100 + WRITES as u64, running));
                    }
                }
            }
        }
    }

    #[test]
    fn a_write_is_acknowledged_with_those_before_it() {
        let mut applied = Applied::default();
        applied.advance(&"10:12:10".parse().unwrap());
        // Of the one before: seen, still running when the log was read, never heard of.
        assert!(applied.apply(20, Some(11)));
        assert!(!applied.apply(21, Some(10)));
        assert!(!applied.apply(22, Some(12)));
        assert!(applied.apply(23, None), "there is none");
        // Link by link: what follows a gap is not covered by being there.
        assert!(applied.apply(24, Some(20)));
        assert!(!applied.apply(25, Some(21)));
        assert!(!applied.apply(26, Some(25)));
        applied.advance(&"22:22:".parse().unwrap());
        assert!(applied.apply(21, Some(10)) && applied.apply(27, Some(21)));
        assert!(!applied.apply(28, Some(22)));
        assert!(applied.apply(29, Some(24)), "what the log has not come to is kept");
    }
}
