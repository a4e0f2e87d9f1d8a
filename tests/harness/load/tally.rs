//! What became of the requests.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::Cache;

/// Counters that all tasks share.
#[derive(Default)]
pub struct Counters([AtomicU64; COUNTERS]);

const COUNTERS: usize = 12;

#[derive(Clone, Copy)]
pub enum Event {
    Read(Cache),
    ReadFailed,
    WriteAcknowledged,
    WriteFenced,
    WriteRefused,
    WriteFailed,
    /// A token, beside the write that did it.
    Revoked,
}

impl Counters {
    pub fn count(&self, event: Event) {
        self.0[event.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub fn tally(&self) -> Tally {
        let count = |event: Event| self.0[event.index()].load(Ordering::Relaxed);
        let caches =
            [Cache::L1, Cache::L2, Cache::Miss, Cache::Fenced, Cache::Stale, Cache::Unsaid];
        let fenced = count(Event::WriteFenced);
        Tally {
            reads: caches.into_iter().map(|cache| count(Event::Read(cache))).sum(),
            from_memory: count(Event::Read(Cache::L1)),
            around_the_cache: count(Event::Read(Cache::Fenced)),
            labelled: count(Event::Read(Cache::Stale)),
            reads_failed: count(Event::ReadFailed),
            writes: count(Event::WriteAcknowledged) + fenced,
            fenced,
            refused: count(Event::WriteRefused),
            writes_failed: count(Event::WriteFailed),
            revoked: count(Event::Revoked),
        }
    }
}

impl Event {
    const fn index(self) -> usize {
        match self {
            Self::Read(cache) => cache as usize,
            Self::ReadFailed => 6,
            Self::WriteAcknowledged => 7,
            Self::WriteFenced => 8,
            Self::WriteRefused => 9,
            Self::WriteFailed => 10,
            Self::Revoked => 11,
        }
    }
}

/// A moment's counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Answered, in whatever way.
    pub reads: u64,
    pub from_memory: u64,
    /// Read from the database by a replica whose proof is too old.
    pub around_the_cache: u64,
    /// Labelled as possibly old.
    pub labelled: u64,
    /// A 5xx, or no answer.
    pub reads_failed: u64,
    /// Acknowledged.
    pub writes: u64,
    /// Acknowledged after a wait for a whole bound.
    pub fenced: u64,
    /// A 4xx: that should not be.
    pub refused: u64,
    /// A 5xx, or no answer.
    pub writes_failed: u64,
    /// Tokens that were taken back, acknowledged.
    pub revoked: u64,
}

impl Tally {
    /// What was counted since.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            from_memory: self.from_memory - earlier.from_memory,
            around_the_cache: self.around_the_cache - earlier.around_the_cache,
            labelled: self.labelled - earlier.labelled,
            reads_failed: self.reads_failed - earlier.reads_failed,
            writes: self.writes - earlier.writes,
            fenced: self.fenced - earlier.fenced,
            refused: self.refused - earlier.refused,
            writes_failed: self.writes_failed - earlier.writes_failed,
            revoked: self.revoked - earlier.revoked,
        }
    }

    /// How many of all requests were answered.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
    pub fn availability(self) -> f64 {
        let answered = self.reads + self.writes + self.refused;
        let all = answered + self.reads_failed + self.writes_failed;
        if all == 0 { 1.0 } else { answered as f64 / all as f64 }
    }
}
