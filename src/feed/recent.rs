//! Which changes have been applied, to tell duplicates.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::coherence::{Applied, Snapshot};
use crate::domain::Change;

/// What tells one change from another. Not its number alone: a message on a bus may have been made
/// up, or come from another log, and must not pass for the change of that number in ours. Number,
/// transaction and keys of the next change can be guessed, or be given twice by a server that lost
/// the first; the microsecond of its writing can't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of this change.
    pub fn of(change: &Change) -> Self {
        let mut hasher = DefaultHasher::new();
        (change.seq, change.xid, change.occurred_at, &change.keys).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Counts how often everything was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation(u64);

/// The last changes that were applied to their end, up to a limit.
///
/// A change that fell out of it is applied once more when it comes again, which is harmless.
#[derive(Debug, Default)]
pub struct Recent {
    generation: Generation,
    known: HashSet<Fingerprint>,
    order: VecDeque<Fingerprint>,
    applied: Applied,
}

impl Recent {
    const LIMIT: usize = 65_536;

    /// To be noted before changes are applied.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether this change was applied to its end.
    pub fn contains(&self, change: Fingerprint) -> bool {
        self.known.contains(&change)
    }

    /// Records a change that was applied to its end, unless everything was forgotten since it began.
    pub fn insert(&mut self, began: Generation, change: Fingerprint) {
        if began != self.generation || !self.known.insert(change) {
            return;
        }
        self.order.push_back(change);
        if self.order.len() > Self::LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Notes that a write was applied, unless everything was forgotten since that began. Returns
    /// whether it may be acknowledged.
    pub fn apply(&mut self, began: Generation, xid: u64, after: Option<u64>) -> bool {
        began == self.generation && self.applied.apply(xid, after)
    }

    /// Notes that everything which this snapshot sees was applied.
    pub fn advance(&mut self, to: &Snapshot) {
        self.applied.advance(to);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self { generation: Generation(self.generation.0 + 1), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ChangeKind;

    #[test]
    fn remembers_up_to_its_limit() {
        let limit = Recent::LIMIT as u64;
        let mut recent = Recent::default();
        let began = recent.generation();
        for number in 0..=limit {
            recent.insert(began, Fingerprint(number));
            recent.insert(began, Fingerprint(number));
        }
        assert!(!recent.contains(Fingerprint(0)));
        assert!(recent.contains(Fingerprint(1)) && recent.contains(Fingerprint(limit)));
    }

    #[test]
    fn what_began_before_everything_was_forgotten_is_not_recorded() {
        let mut recent = Recent::default();
        let began = recent.generation();
        recent.clear();
        recent.insert(began, Fingerprint(1));
        assert!(!recent.contains(Fingerprint(1)));
        recent.insert(recent.generation(), Fingerprint(1));
        assert!(recent.contains(Fingerprint(1)));
        recent.clear();
        assert!(!recent.contains(Fingerprint(1)));
    }

    #[test]
    fn a_change_is_more_than_its_number() {
        let change = Change {
            seq: 1,
            xid: 2,
            tenant_id: None,
            kind: ChangeKind::TenantUpdated,
            version: None,
            keys: vec!["phone:1".parse().unwrap()],
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let forged = Change { keys: Vec::new(), ..change.clone() };
        let other_log = Change { xid: 3, ..change.clone() };
        let later = jiff::Timestamp::from_microsecond(1).unwrap();
        let guessed = Change { occurred_at: later, ..change.clone() };
        assert_eq!(Fingerprint::of(&change), Fingerprint::of(&change.clone()));
        assert_ne!(Fingerprint::of(&change), Fingerprint::of(&forged));
        assert_ne!(Fingerprint::of(&change), Fingerprint::of(&other_log));
        assert_ne!(Fingerprint::of(&change), Fingerprint::of(&guessed));
    }
}
