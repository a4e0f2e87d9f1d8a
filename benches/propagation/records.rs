//! What the replicas and Postgres themselves have noted of a write, by the one clock of the
//! machine.

use std::time::{Duration, SystemTime};

use crate::harness::Metrics;

const SOURCES: [&str; 4] = ["local", "redis", "notify", "poll"];
const BARRIER: &str = "tenant_write_barrier_seconds";
const PROPAGATION: &str = "tenant_change_propagation_seconds";

/// How often a replica has evicted by each source, and the ages of these changes together.
///
/// The histogram's buckets are coarse, but its sum is not: after one more change, the difference of
/// two sums is that change's own figure, to the microsecond.
#[derive(Debug, Clone, Copy)]
pub struct Records {
    evicted: [(f64, f64); SOURCES.len()],
    /// The same of writes that every other replica has acknowledged.
    acknowledged: (f64, f64),
}

/// The eviction of one change on one replica.
#[derive(Debug, Clone, Copy)]
pub struct Evicted {
    /// Who brought the change.
    pub source: &'static str,
    /// From the change's row being written to its eviction.
    pub age: Duration,
}

impl Records {
    pub fn of(metrics: &Metrics) -> Self {
        let of = |name: &str, label: (&str, &str)| {
            let value = |suffix| metrics.value(&format!("{name}_{suffix}"), &[label]);
            (value("count"), value("sum"))
        };
        Self {
            evicted: SOURCES.map(|source| of(PROPAGATION, ("source", source))),
            acknowledged: of(BARRIER, ("outcome", "acked")),
        }
    }

    /// How long the one write since has waited for the other replicas after its commit.
    pub fn waited_since(&self, before: &Self) -> Duration {
        let ((after, sum), (count, before)) = (self.acknowledged, before.acknowledged);
        assert!((after - count - 1.0).abs() < 0.5, "the write was acknowledged by all");
        Duration::from_secs_f64((sum - before).max(0.0))
    }

    /// The first eviction since; nothing as long as there is none.
    pub fn first_since(&self, before: &Self) -> Option<Evicted> {
        let sources = SOURCES.into_iter().zip(self.evicted.iter().zip(&before.evicted));
        let new = sources.filter_map(|(source, (after, before))| {
            let count = after.0 - before.0;
            assert!(count < 1.5, "{source} brought one change {count} times");
            let age = Duration::from_secs_f64((after.1 - before.1).max(0.0));
            (count > 0.5).then_some(Evicted { source, age })
        });
        // Two sources at the very same time both count: who was first has evicted.
        new.min_by_key(|evicted| evicted.age)
    }
}

/// A change in the log.
#[derive(Debug, Clone, Copy)]
pub struct Committed {
    /// When its row was written, within the transaction: what ages count from.
    pub written: SystemTime,
    /// From there to the commit.
    to_commit: Duration,
}

impl Committed {
    /// From microseconds since 1970: of the row, and of the commit.
    pub fn new(written: i64, committed: i64) -> Self {
        let micros = |micros: i64| Duration::from_micros(micros.try_into().expect("after 1970"));
        let to_commit = micros(committed).checked_sub(micros(written));
        Self {
            written: SystemTime::UNIX_EPOCH + micros(written),
            to_commit: to_commit.expect("a row is written before its transaction commits"),
        }
    }

    /// From the commit to a moment that is given from the row on.
    pub fn until(&self, age: Duration) -> Duration {
        age.saturating_sub(self.to_commit)
    }
}
