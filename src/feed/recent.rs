//! Which changes have been applied, to tell duplicates.

use std::collections::{HashSet, VecDeque};

/// The sequence numbers of the last applied changes, up to a limit.
///
/// A change that fell out of it is applied once more when it comes again, which is harmless.
#[derive(Debug, Default)]
pub struct Recent {
    known: HashSet<i64>,
    order: VecDeque<i64>,
}

impl Recent {
    const LIMIT: usize = 65_536;

    /// Whether this change was applied to the end.
    pub fn contains(&self, seq: i64) -> bool {
        self.known.contains(&seq)
    }

    /// Records a change that was applied to the end.
    pub fn insert(&mut self, seq: i64) {
        if self.known.insert(seq) {
            self.order.push_back(seq);
            if self.order.len() > Self::LIMIT
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    /// Forgets everything: the numbers of another log mean other changes.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_up_to_its_limit() {
        let limit = i64::try_from(Recent::LIMIT).unwrap();
        let mut recent = Recent::default();
        for seq in 0..=limit {
            recent.insert(seq);
            recent.insert(seq);
        }
        assert!(!recent.contains(0));
        assert!(recent.contains(1) && recent.contains(limit));
        recent.clear();
        assert!(!recent.contains(limit));
    }
}
