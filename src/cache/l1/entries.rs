//! The entries of L1, bounded by their weight.

use quick_cache::sync::DefaultLifecycle;
use quick_cache::{OptionsBuilder, Weighter};

use super::Cached;
use crate::coherence::Moment;
use crate::domain::{CacheKey, KeyKind};

/// What an entry costs beside its text: key, value, the cache's bookkeeping. As measured in a process'
/// memory with 50,000 to 1,100,000 entries: 160 to 315 bytes, by how full its tables happen to be; and
/// the tables keep the places of some that were evicted.
const OVERHEAD: usize = 320;
/// Of the capacity, what absences may have.
const SHARE_OF_ABSENCES: u64 = 8;
/// Shards are evicted from one by one, so each is to hold many entries; and while one grows, its
/// readers wait, so it is to be small.
const SHARD: u64 = 1 << 20;
const SHARDS_AT_MOST: u64 = 64;
/// About what an entry weighs.
const USUAL_WEIGHT: u64 = 512;

/// Keyed at random, and several times as fast as the standard library's.
type Hasher = ahash::RandomState;
type Cache = quick_cache::sync::Cache<CacheKey, Entry, Weight, Hasher>;

/// Values and absences, apart: whoever asks for numbers at random fills the absences' share, and
/// displaces no value. A key is in one of the two at most.
pub struct Entries {
    values: Cache,
    absences: Cache,
}

/// A value or an absence, until it expires.
#[derive(Debug, Clone)]
pub struct Entry {
    cached: Cached,
    expires: Moment,
}

impl Entry {
    /// What `cached` is until then.
    pub const fn new(cached: Cached, expires: Moment) -> Self {
        Self { cached, expires }
    }

    /// What it holds, unless it has expired.
    pub fn at(self, now: Moment) -> Option<Cached> {
        (now < self.expires).then_some(self.cached)
    }
}

impl Entries {
    /// Room for `capacity` bytes, by estimate.
    pub fn new(capacity: u64) -> Self {
        let absences = capacity / SHARE_OF_ABSENCES;
        Self { values: cache(capacity - absences), absences: cache(absences) }
    }

    pub fn get(&self, key: &CacheKey) -> Option<Entry> {
        self.values.get(key).or_else(|| self.absences.get(key))
    }

    /// The same for a second look, which is not counted as another read.
    pub fn get_again(&self, key: &CacheKey) -> Option<Entry> {
        self.values.peek(key).or_else(|| self.absences.peek(key))
    }

    pub fn insert(&self, key: CacheKey, entry: Entry) {
        let (to, from) = if entry.cached.is_present() {
            (&self.values, &self.absences)
        } else {
            (&self.absences, &self.values)
        };
        from.remove(&key);
        to.insert(key, entry);
    }

    /// Removes the entry, expired or not.
    pub fn remove(&self, key: &CacheKey) -> Option<Entry> {
        let removed = self.values.remove(key).or_else(|| self.absences.remove(key));
        removed.map(|(_, entry)| entry)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        (self.values.len() + self.absences.len()) as u64
    }

    #[cfg(test)]
    pub fn weight(&self) -> u64 {
        self.values.weight() + self.absences.weight()
    }

    /// How many there are of each kind that have not expired. Visits every entry.
    pub fn count(&self, now: Moment) -> [u64; KeyKind::ALL.len()] {
        let mut counts = [0; KeyKind::ALL.len()];
        for (key, entry) in self.values.iter().chain(self.absences.iter()) {
            counts[key.kind() as usize] += u64::from(now < entry.expires);
        }
        counts
    }
}

#[expect(clippy::expect_used, reason = "options that are all set")]
fn cache(capacity: u64) -> Cache {
    let shards = (capacity / SHARD).clamp(1, SHARDS_AT_MOST);
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let options = OptionsBuilder::new()
        .weight_capacity(capacity)
        .estimated_items_capacity(size(capacity / USUAL_WEIGHT))
        .shards(size(shards))
        .build()
        .expect("nothing is left out");
    Cache::with_options(options, Weight, Hasher::new(), DefaultLifecycle::default())
}

#[derive(Debug, Clone, Copy)]
struct Weight;

impl Weighter<CacheKey, Entry> for Weight {
    fn weight(&self, key: &CacheKey, entry: &Entry) -> u64 {
        (key.text_len() + entry.cached.weight() + OVERHEAD) as u64
    }
}
