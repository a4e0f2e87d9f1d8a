//! The write barrier: a write is acknowledged when no replica can serve the old value as current.
//!
//! The writer commits, applies the change itself, publishes it, and only *then* reads the rows of
//! the replicas. A replica that registers later takes its baseline later, and so begins with the new
//! value. Each of the others is done with when it has acknowledged the change, when its row shows
//! that it has applied a snapshot which sees the change, or when a whole bound has passed since the
//! commit: whoever renewed after it has read the log after it, and every deadline that stood on an
//! older proof is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Bound, Moment, Snapshot};

/// A process, from its start to its end: one that was restarted is another.
pub type Instance = String;

/// How a write stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may not be acknowledged yet; it may at this moment, at the latest.
    Waiting(Moment),
    /// It may: every replica has applied it.
    Acked {
        /// How many, beside the writer.
        replicas: usize,
    },
    /// It may: whichever replica has not applied it has to stop serving what it has.
    Fenced,
}

/// A write that is to be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Barrier {
    xid: u64,
    /// The other replicas, as they were when they were first seen.
    replicas: usize,
    /// Who may still serve the old value; `None` as long as nobody can tell.
    waiting: Option<BTreeSet<Instance>>,
    committed: Moment,
    first_seen: Moment,
    bound: Duration,
}

impl Barrier {
    /// The barrier of a change that transaction `xid` committed, at `committed` at the latest, and
    /// that was then applied here and published.
    ///
    /// No write is acknowledged sooner than one bound after `first_seen`, when the database's
    /// identity and timeline were first seen: replicas of the database before this one may still
    /// serve on its proofs, and have no row here. `bound` is the longest that is known.
    #[must_use]
    pub const fn new(xid: u64, committed: Moment, first_seen: Moment, bound: Duration) -> Self {
        Self { xid, replicas: 0, waiting: None, committed, first_seen, bound }
    }

    /// A replica serves for so long on one proof.
    pub fn allow_for(&mut self, bound: Duration) {
        self.bound = self.bound.max(bound);
    }

    /// A replica has applied the change.
    pub fn acknowledged(&mut self, instance: &str) {
        if let Some(waiting) = &mut self.waiting {
            waiting.remove(instance);
        }
    }

    /// The rows of the *other* replicas, by a reading that began after the change was committed,
    /// applied here, and published. Who is in the first one and no longer in a later one serves
    /// nothing from before: it has stopped, or was removed when its deadline had passed. Who came
    /// in between has begun with the new value.
    pub fn observed<'r>(&mut self, rows: impl IntoIterator<Item = (&'r Instance, &'r Snapshot)>) {
        let mut replicas = 0;
        let rows = rows.into_iter().inspect(|_| replicas += 1);
        let behind: BTreeSet<Instance> = behind(self.xid, rows).cloned().collect();
        match &mut self.waiting {
            Some(waiting) => waiting.retain(|instance| behind.contains(instance)),
            None => (self.waiting, self.replicas) = (Some(behind), replicas),
        }
    }

    /// Who is known not to have applied it, as far as that is known.
    #[must_use]
    pub fn waits_for(&self) -> Vec<&Instance> {
        self.waiting.iter().flatten().collect()
    }

    /// Whether the write may be acknowledged now.
    #[must_use]
    pub fn verdict(&self, now: Moment) -> Verdict {
        let not_before = self.first_seen.plus(self.bound);
        let expires = not_before.max(self.committed.plus(self.bound));
        match &self.waiting {
            Some(waiting) if waiting.is_empty() && now >= not_before => {
                Verdict::Acked { replicas: self.replicas }
            }
            Some(waiting) if waiting.is_empty() => Verdict::Waiting(not_before),
            _ if now >= expires => Verdict::Fenced,
            _ => Verdict::Waiting(expires),
        }
    }
}

fn behind<'r>(
    xid: u64,
    rows: impl IntoIterator<Item = (&'r Instance, &'r Snapshot)>,
) -> impl Iterator<Item = &'r Instance> {
    rows.into_iter().filter(move |(_, applied)| !applied.sees(xid)).map(|(instance, _)| instance)
}

/// Rows that stand still. A replica that is gone without a word would have every write wait a whole
/// bound; whoever sees its row unchanged for longer than any deadline lasts removes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Census(BTreeMap<Instance, Standing>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Standing {
    renewals: i64,
    bound: Bound,
    since: Moment,
}

impl Census {
    /// Takes note of the rows as they were when they were read, from `now` on: of each, its counter,
    /// and how long its process serves on one proof. Returns those to be removed, each if its counter
    /// is still the one given.
    pub fn take<'r>(
        &mut self,
        rows: impl IntoIterator<Item = (&'r Instance, i64, Bound)>,
        now: Moment,
    ) -> Vec<(Instance, i64)> {
        let stand = |(instance, renewals, bound): (&Instance, i64, Bound)| {
            let before = self.0.get(instance).filter(|standing| standing.renewals == renewals);
            let since = before.map_or(now, |standing| standing.since);
            (instance.clone(), Standing { renewals, bound, since })
        };
        self.0 = rows.into_iter().map(stand).collect();
        let is_dead = |Standing { bound, since, .. }: &Standing| {
            now.since(*since) > bound.bound + bound.margin
        };
        let dead = self.0.iter().filter(|(_, standing)| is_dead(standing));
        dead.map(|(instance, standing)| (instance.clone(), standing.renewals)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(1);
    const LONG_AGO: Moment = Moment::from_nanos(0);

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    fn rows(applied: &[(&str, &str)]) -> Vec<(Instance, Snapshot)> {
        let row = |(name, snapshot): &(&str, &str)| ((*name).into(), snapshot.parse().unwrap());
        applied.iter().map(row).collect()
    }

    fn pairs(rows: &[(Instance, Snapshot)]) -> impl Iterator<Item = (&Instance, &Snapshot)> {
        rows.iter().map(|(instance, applied)| (instance, applied))
    }

    fn waiting_for(rows: &[(Instance, Snapshot)]) -> Barrier {
        let mut barrier = Barrier::new(10, at(5_000), LONG_AGO, BOUND);
        barrier.observed(pairs(rows));
        barrier
    }

    #[test]
    fn each_replica_says_in_its_own_way_that_it_is_done() {
        let before = rows(&[("a", "9:9:"), ("b", "9:9:"), ("c", "11:11:"), ("d", "9:9:")]);
        let mut barrier = waiting_for(&before);
        barrier.acknowledged("a");
        barrier.acknowledged("nobody");
        assert_eq!(barrier.verdict(at(5_001)), Verdict::Waiting(at(6_000)));
        // `b` has applied it, `d` is gone, and a newcomer concerns nobody.
        let after = rows(&[("a", "9:9:"), ("b", "9:12:9"), ("c", "11:11:"), ("e", "9:9:")]);
        barrier.observed(pairs(&after));
        assert_eq!(barrier.verdict(at(5_002)), Verdict::Acked { replicas: 4 });
    }

    #[test]
    fn who_does_not_answer_is_fenced_after_one_bound() {
        let frozen = rows(&[("a", "9:9:")]);
        let mut barrier = waiting_for(&frozen);
        // Its snapshot goes on and still does not see the change.
        barrier.observed(pairs(&rows(&[("a", "10:12:10")])));
        assert_eq!(barrier.verdict(at(5_999)), Verdict::Waiting(at(6_000)));
        assert_eq!(barrier.verdict(at(6_000)), Verdict::Fenced);
    }

    #[test]
    fn nobody_to_ask_is_not_nobody_there() {
        let mut blind = Barrier::new(10, at(5_000), LONG_AGO, BOUND);
        // Who is heard of may not be all who are there.
        blind.acknowledged("a");
        assert_eq!(blind.verdict(at(5_999)), Verdict::Waiting(at(6_000)));
        assert_eq!(blind.verdict(at(6_000)), Verdict::Fenced);
        blind.observed([]);
        assert_eq!(blind.verdict(at(5_000)), Verdict::Acked { replicas: 0 });
    }

    #[test]
    fn a_database_that_was_just_found_may_have_a_past() {
        let mut alone = Barrier::new(10, at(4_000), at(4_500), BOUND);
        alone.observed([]);
        assert_eq!(alone.verdict(at(5_499)), Verdict::Waiting(at(5_500)));
        assert_eq!(alone.verdict(at(5_500)), Verdict::Acked { replicas: 0 });
    }

    #[test]
    fn the_longest_bound_counts() {
        let frozen = rows(&[("a", "9:9:")]);
        let mut barrier = waiting_for(&frozen);
        barrier.allow_for(2 * BOUND);
        barrier.allow_for(BOUND / 2);
        assert_eq!(barrier.verdict(at(6_999)), Verdict::Waiting(at(7_000)));
        assert_eq!(barrier.verdict(at(7_000)), Verdict::Fenced);
    }

    #[test]
    fn a_row_that_stands_still_is_removed_and_one_that_moves_is_not() {
        let bound = Bound::of(BOUND);
        let (dead, alive) = ("dead".to_owned(), "alive".to_owned());
        let mut census = Census::default();
        assert!(census.take([(&dead, 7, bound), (&alive, 1, bound)], at(1_000)).is_empty());
        assert!(census.take([(&dead, 7, bound), (&alive, 2, bound)], at(2_050)).is_empty());
        let removed = census.take([(&dead, 7, bound), (&alive, 2, bound)], at(2_051));
        assert_eq!(removed, [(dead.clone(), 7)]);
        // It was seen, gone, and seen again: that is a new beginning.
        census.take([(&alive, 3, bound)], at(2_052));
        assert!(census.take([(&dead, 7, bound)], at(2_053)).is_empty());
    }
}
