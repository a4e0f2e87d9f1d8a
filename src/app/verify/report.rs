//! What was found, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;

use super::compare::Violation;
use super::probe::Probed;
use super::propagation::Percentiles;
use super::replica::Source;

/// Violations that a report names for people; a machine gets ten times as many.
const SHOWN: usize = 20;

/// What was found.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// The replicas that were asked.
    pub replicas: Vec<String>,
    /// Tenants that were drawn.
    pub tenants: u64,
    /// Keys that were looked at.
    pub keys: u64,
    /// Answers, of all replicas together.
    pub answers: u64,
    /// Answers by their source; what came from the database says nothing of a cache.
    pub from_memory: u64,
    /// See [`Report::from_memory`].
    pub from_redis: u64,
    /// See [`Report::from_memory`].
    pub from_database: u64,
    /// Answers that may be old, and say so.
    pub stale: u64,
    /// Answers that were out of date, and right by the time they had to be.
    pub in_flight: u64,
    /// Questions without an answer that says anything.
    pub unanswered: u64,
    /// Why the first of them had none.
    pub unanswered_because: Option<String>,
    /// Differences that could not be looked into: too many, or changed again each time.
    pub unsettled: u64,
    /// Answers that stayed wrong for longer than the bound.
    pub violations: u64,
    /// Which ones, up to a point.
    pub violated: Vec<Violation>,
    /// How long changes have taken to be evicted, in seconds, by the source that brought them, since
    /// the replicas started.
    pub propagation: BTreeMap<String, Percentiles>,
    /// What the probe has measured.
    pub probe: Option<Probed>,
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All was checked, and is right.
    Clean,
    /// An old value was answered as current.
    Violated,
    /// Nothing wrong was found, and not all was checked.
    Incomplete,
}

impl Report {
    pub(super) fn of<'a>(replicas: impl Iterator<Item = &'a str>) -> Self {
        Self { replicas: replicas.map(str::to_owned).collect(), ..Self::default() }
    }

    pub(super) const fn count(&mut self, source: Source) {
        match source {
            Source::Memory => self.from_memory += 1,
            Source::Redis => self.from_redis += 1,
            Source::Database => self.from_database += 1,
            Source::Stale => self.stale += 1,
        }
    }

    pub(super) fn unanswered(&mut self, why: String) {
        self.unanswered += 1;
        self.unanswered_because.get_or_insert(why);
    }

    pub(super) fn violation(&mut self, violation: Violation) {
        self.violations += 1;
        if self.violated.len() < 10 * SHOWN {
            self.violated.push(violation);
        }
    }

    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let (old, missing) =
            self.probe.as_ref().map_or((0, 0), |probe| (probe.violations, probe.unanswered));
        if self.violations + old > 0 {
            Verdict::Violated
        } else if self.unanswered + self.unsettled + missing > 0 {
            Verdict::Incomplete
        } else {
            Verdict::Clean
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenants, keys, answers, from_memory, from_redis, from_database, .. } = self;
        writeln!(
            f,
            "checked      {keys} keys, of {} and of late changes, at {}: {answers} answers",
            counted(*tenants, "tenant"),
            counted(self.replicas.len() as u64, "replica")
        )?;
        writeln!(
            f,
            "             {from_memory} from memory, {from_redis} from Redis, {from_database} from the database"
        )?;
        writeln!(f, "stale        {} (may be old, and say so)", self.stale)?;
        writeln!(f, "in flight    {} (out of date, and right within the bound)", self.in_flight)?;
        if let Some(why) = &self.unanswered_because {
            writeln!(f, "unanswered   {}; the first one: {why}", self.unanswered)?;
        }
        if self.unsettled > 0 {
            writeln!(f, "unsettled    {} (too many, or changed all the time)", self.unsettled)?;
        }
        writeln!(f, "violations   {}", self.violations)?;
        for Violation { replica, key, answered, current } in self.violated.iter().take(SHOWN) {
            writeln!(
                f,
                "             {key} at {replica}: {answered}; the database has: {current}"
            )?;
        }
        if self.violations > SHOWN as u64 {
            writeln!(f, "             … and {} more", self.violations - SHOWN as u64)?;
        }
        if 2 * self.violations > *answers {
            writeln!(
                f,
                "             (Most of it differs: is this the database of these replicas?)"
            )?;
        }
        for (source, times) in &self.propagation {
            writeln!(f, "propagation  by {source}: {times}")?;
        }
        if let Some(Probed { changes, seconds, violations, unanswered }) = &self.probe {
            writeln!(
                f,
                "probe        {changes} changes; old answers after an acknowledgement: {violations}; no new answer: {unanswered}"
            )?;
            if let Some(times) = seconds {
                writeln!(f, "             from acknowledgement to answer: {times}")?;
            }
        }
        Ok(())
    }
}

fn counted(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99] = [self.p50, self.p95, self.p99].map(|seconds| seconds * 1e3);
        write!(f, "p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms ({} times)", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_only_what_was_checked_as_a_whole() {
        let clean = || Report { keys: 5, answers: 5, stale: 1, in_flight: 1, ..Report::default() };
        assert_eq!(clean().verdict(), Verdict::Clean);
        let probed = |violations, unanswered| {
            Some(Probed { changes: 1, seconds: None, violations, unanswered })
        };
        for report in [
            Report { unanswered: 1, ..clean() },
            Report { unsettled: 1, ..clean() },
            Report { probe: probed(0, 1), ..clean() },
        ] {
            assert_eq!(report.verdict(), Verdict::Incomplete);
        }
        for report in [
            Report { violations: 1, unanswered: 1, ..clean() },
            Report { probe: probed(1, 1), ..clean() },
        ] {
            assert_eq!(report.verdict(), Verdict::Violated);
        }
    }
}
