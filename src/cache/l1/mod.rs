//! L1: entries in memory, bounded by their weight.
//!
//! A hit takes no lock of ours. Filling and evicting are each one step under the lock of the key's
//! stripe: *check the epoch and store*, and *bump the epoch and remove*. (Check, then insert
//! without the lock, leaves stale entries: an eviction fits in between.)

mod entries;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use self::entries::{Entries, Entry};
use super::tiered::FlightResult;
use super::{CredentialViews, Document, TokenEntry, clock};
use crate::coherence::{Admission, Epoch, Stripe};
use crate::domain::{CacheKey, KeyKind};

/// Enough that unrelated keys seldom share an epoch, at 4,096 × 80 bytes.
const STRIPES: usize = 4096;

/// A cached value or, as `None`, a cached absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// A tenant, or the answer to a look-up.
    Document(Option<Document>),
    /// Credentials.
    Credentials(Option<Arc<CredentialViews>>),
    /// An access token.
    Token(Option<Arc<TokenEntry>>),
}

impl Cached {
    /// Whether it is a value.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        matches!(self, Self::Document(Some(_)) | Self::Credentials(Some(_)) | Self::Token(Some(_)))
    }

    fn weight(&self) -> usize {
        match self {
            Self::Document(Some(document)) => document.body.len() + document.etag.len(),
            Self::Credentials(Some(views)) => views.weight(),
            Self::Token(Some(token)) => token.weight(),
            Self::Document(None) | Self::Credentials(None) | Self::Token(None) => 0,
        }
    }
}

/// How the result of a running load is awaited.
pub(super) type FlightHandle = watch::Receiver<Option<FlightResult>>;

/// What a request that missed does next.
pub(super) enum Entered {
    /// It was filled in the meantime.
    Hit(Cached),
    /// Another request's load is under way.
    Join(FlightHandle),
    /// This request loads, and tells the others.
    Lead(Epoch, watch::Sender<Option<FlightResult>>),
}

/// The memory tier.
pub struct L1 {
    entries: ArcSwap<Entries>,
    capacity: u64,
    stripes: Box<[Mutex<Stripe<CacheKey, FlightHandle>>]>,
    hasher: RandomState,
}

impl L1 {
    /// A cache of at most `capacity` bytes, by estimate.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let entries = ArcSwap::from_pointee(Entries::new(capacity));
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { entries, capacity, stripes, hasher: RandomState::new() }
    }

    /// What is under `key`.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Cached> {
        self.look(key)?.at(clock::now())
    }

    /// The entry under `key`, which may have expired: for who reads the clock anyway.
    pub(super) fn look(&self, key: &CacheKey) -> Option<Entry> {
        self.entries.load().get(key)
    }

    /// After a miss: notes the epoch, and joins or begins the load of `key`.
    pub(super) fn enter(&self, key: &CacheKey) -> Entered {
        let mut stripe = self.stripe(key);
        // A load that landed between our miss and this lock has stored its result.
        let entry = self.entries.load().get_again(key);
        if let Some(cached) = entry.and_then(|entry| entry.at(clock::now())) {
            return Entered::Hit(cached);
        }
        let mut sender = None;
        let admission = stripe.admit(key, || {
            let (tell, told) = watch::channel(None);
            sender = Some(tell);
            told
        });
        match (admission, sender) {
            (Admission::Lead(epoch), Some(sender)) => Entered::Lead(epoch, sender),
            (Admission::Join(handle), _) => Entered::Join(handle),
            // `admit` calls the closure exactly when it lets its caller lead.
            (Admission::Lead(_), None) => unreachable!("a lead without its handle"),
        }
    }

    /// Stores what a load that began in `began` has read, unless an eviction overtook it.
    pub(super) fn fill(&self, key: &CacheKey, began: Epoch, cached: Cached, ttl: Duration) -> bool {
        let stripe = self.stripe(key);
        let stored = stripe.may_store(began);
        if stored {
            let entry = Entry::new(cached, clock::now().plus(ttl));
            self.entries.load().insert(key.clone(), entry);
        }
        drop(stripe);
        stored
    }

    /// Ends a load, so that the next miss begins another.
    pub(super) fn land(&self, key: &CacheKey, began: Epoch) {
        self.stripe(key).land(key, began);
    }

    /// Evicts `key`; loads under way may neither store nor be joined. Returns whether an entry
    /// was there.
    pub fn evict(&self, key: &CacheKey) -> bool {
        let mut stripe = self.stripe(key);
        stripe.evict();
        let removed = self.entries.load().remove(key);
        removed.is_some_and(|entry| entry.at(clock::now()).is_some())
    }

    /// Evicts everything, by putting empty entries in their place: to free what there is takes
    /// a second where there are a million.
    #[must_use = "what was evicted takes a while to be freed"]
    pub fn clear(&self) -> Evicted {
        let replacement = Arc::new(Entries::new(self.capacity));
        // All locks at once, in order: no fill comes between the epochs and the entries.
        let mut stripes: Vec<_> = self.stripes.iter().map(lock).collect();
        for stripe in &mut stripes {
            stripe.evict();
        }
        let evicted = self.entries.swap(replacement);
        drop(stripes);
        Evicted(evicted)
    }

    /// How many entries there are, with those that have expired and were not looked at since.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries.load().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, key: &CacheKey) -> MutexGuard<'_, Stripe<CacheKey, FlightHandle>> {
        // The remainder is below STRIPES, so it fits.
        #[expect(clippy::cast_possible_truncation, reason = "reduced modulo a small constant")]
        let index = (self.hasher.hash_one(key) % STRIPES as u64) as usize;
        lock(&self.stripes[index])
    }
}

/// Everything that [`L1::clear`] has evicted, not yet freed.
pub struct Evicted(Arc<Entries>);

impl Evicted {
    /// Frees the entries, and returns how many of each kind there were. With a million of them that
    /// takes a second: it is for a thread of its own.
    pub fn free(mut self) -> [u64; KeyKind::ALL.len()] {
        // Whoever was reading when they were replaced has them for a moment yet, and must not be
        // the last: a request would do the freeing.
        let entries = loop {
            match Arc::try_unwrap(self.0) {
                Ok(entries) => break entries,
                Err(shared) => self.0 = shared,
            }
            std::thread::yield_now();
        };
        entries.count(clock::now())
    }
}

/// A poisoned stripe is as good as any: each change of it is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
