//! The entries of L1, bounded by their weight.

use std::time::{Duration, Instant};

use moka::Expiry;

use super::Cached;
use crate::domain::{CacheKey, KeyKind};

/// What an entry costs beside its text: key, value, moka's bookkeeping. As measured in a process'
/// memory with 200,000 entries: 495 bytes with an absence, 536 with a document.
const OVERHEAD: usize = 512;
/// Of the capacity, what absences may have.
const SHARE_OF_ABSENCES: u64 = 8;

/// Keyed at random, and several times as fast as the standard library's.
type Hasher = ahash::RandomState;
type Cache = moka::sync::Cache<CacheKey, Entry, Hasher>;

/// Values and absences, apart: whoever asks for numbers at random fills the absences' share, and
/// displaces no value. (Admission by frequency, as moka has it, does not keep them out: a flood of
/// reads wears down the counts of everything that is read less.)
pub struct Entries {
    values: Cache,
    absences: Cache,
}

#[derive(Debug, Clone)]
struct Entry {
    cached: Cached,
    ttl: Duration,
}

impl Entries {
    /// Room for `capacity` bytes, by estimate.
    pub fn new(capacity: u64) -> Self {
        let absences = capacity / SHARE_OF_ABSENCES;
        Self { values: cache(capacity - absences), absences: cache(absences) }
    }

    pub fn get(&self, key: &CacheKey) -> Option<Cached> {
        let entry = self.values.get(key).or_else(|| self.absences.get(key));
        entry.map(|entry| entry.cached)
    }

    /// The same for a second look, which where it finds nothing is not counted as another read.
    pub fn get_again(&self, key: &CacheKey) -> Option<Cached> {
        let there = self.values.contains_key(key) || self.absences.contains_key(key);
        there.then(|| self.get(key)).flatten()
    }

    pub fn insert(&self, key: CacheKey, cached: Cached, ttl: Duration) {
        let cache = if cached.is_present() { &self.values } else { &self.absences };
        cache.insert(key, Entry { cached, ttl });
    }

    /// Says whether there was an entry.
    pub fn remove(&self, key: &CacheKey) -> bool {
        // Both: what the one has not lost yet must not come to light when the other has.
        let (value, absence) = (self.values.remove(key), self.absences.remove(key));
        value.is_some() || absence.is_some()
    }

    /// How many there are, about.
    pub fn len(&self) -> u64 {
        self.values.entry_count() + self.absences.entry_count()
    }

    /// How many there are of each kind, exactly where nobody writes. Visits every entry.
    pub fn count(&self) -> [u64; KeyKind::ALL.len()] {
        let mut counts = [0; KeyKind::ALL.len()];
        for (key, _) in self.values.iter().chain(self.absences.iter()) {
            counts[key.kind() as usize] += 1;
        }
        counts
    }
}

fn cache(capacity: u64) -> Cache {
    moka::sync::Cache::builder()
        .max_capacity(capacity)
        .weigher(|key: &CacheKey, entry: &Entry| {
            let bytes = key.text_len() + entry.cached.weight() + OVERHEAD;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        })
        .expire_after(OwnTtl)
        .build_with_hasher(Hasher::new())
}

struct OwnTtl;

impl Expiry<CacheKey, Entry> for OwnTtl {
    fn expire_after_create(&self, _: &CacheKey, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}
