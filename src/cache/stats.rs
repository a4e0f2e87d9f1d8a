//! What the cache counts. Handles are made once: counting on the hot path is one atomic addition.

use metrics::Counter;

use crate::domain::KeyKind;
use crate::telemetry::metrics::{CACHE_EVICTIONS, CACHE_FILLS, CACHE_REQUESTS, counter_of};

/// Whose delivery of a change removed an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictedBy {
    /// This replica's own write.
    Local,
    /// A message over Redis.
    Redis,
    /// A message over Postgres NOTIFY.
    Notify,
    /// The poll of the change log.
    Poll,
}

impl EvictedBy {
    /// Every source, in the order of its discriminant.
    pub const ALL: [Self; 4] = [Self::Local, Self::Redis, Self::Notify, Self::Poll];

    /// The source's label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Redis => "redis",
            Self::Notify => "notify",
            Self::Poll => "poll",
        }
    }
}

/// How a look-up in a tier ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Hit,
    NegativeHit,
    Miss,
    /// The tier was not asked: out of reach, fenced, or another replica is filling it.
    Bypass,
    /// A hit that may be out of date, and says so.
    Stale,
}

impl Outcome {
    const LABELS: [&'static str; 5] = ["hit", "negative_hit", "miss", "bypass", "stale"];

    /// A hit, of a value or of an absence.
    pub const fn hit(present: bool) -> Self {
        if present { Self::Hit } else { Self::NegativeHit }
    }
}

/// The counters of one tier.
#[derive(Debug)]
pub(super) struct TierStats {
    requests: [[Counter; 5]; KeyKind::ALL.len()],
    evictions: [[Counter; 4]; KeyKind::ALL.len()],
    stored: Counter,
    refused: Counter,
}

impl TierStats {
    pub fn new(tier: &'static str) -> Self {
        let requests = |kind: KeyKind, outcome| {
            let labels = [("tier", tier), ("kind", kind.label()), ("outcome", outcome)];
            counter_of(CACHE_REQUESTS, &labels)
        };
        let evictions = |kind: KeyKind, source: EvictedBy| {
            let labels = [("tier", tier), ("kind", kind.label()), ("source", source.label())];
            counter_of(CACHE_EVICTIONS, &labels)
        };
        let fills = |outcome| counter_of(CACHE_FILLS, &[("tier", tier), ("outcome", outcome)]);
        Self {
            requests: KeyKind::ALL.map(|kind| Outcome::LABELS.map(|o| requests(kind, o))),
            evictions: KeyKind::ALL.map(|kind| EvictedBy::ALL.map(|s| evictions(kind, s))),
            stored: fills("stored"),
            refused: fills("refused"),
        }
    }

    pub fn request(&self, kind: KeyKind, outcome: Outcome) {
        self.requests[kind as usize][outcome as usize].increment(1);
    }

    pub fn evicted(&self, kind: KeyKind, source: EvictedBy, entries: u64) {
        if entries > 0 {
            self.evictions[kind as usize][source as usize].increment(entries);
        }
    }

    /// The counters of evictions by this source, one of each kind.
    pub fn evictions_by(&self, source: EvictedBy) -> [Counter; KeyKind::ALL.len()] {
        self.evictions.each_ref().map(|by_source| by_source[source as usize].clone())
    }

    pub fn fill(&self, stored: bool) {
        let counter = if stored { &self.stored } else { &self.refused };
        counter.increment(1);
    }
}
