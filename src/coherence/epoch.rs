//! Filling without racing an eviction.
//!
//! A load that began before an eviction may carry the old value. So a load notes its key's epoch
//! before it reads anything, an eviction moves the epoch on, and only a load whose epoch is still
//! current may be stored, or joined by another request. Each of the methods here is one step: the
//! caller holds the lock of the stripe over the call *and* over what it does to the cache.

use std::collections::BTreeMap;

/// How many evictions a stripe has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Epoch(u64);

/// One slice of the key space: its epoch, and the loads under way in it.
///
/// Keys share an epoch with the others of their stripe. That refuses a fill now and then that
/// would have been right, and never admits a wrong one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stripe<K, F> {
    epoch: Epoch,
    flights: BTreeMap<K, Flight<F>>,
}

/// A load under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flight<F> {
    /// The epoch that was current when the load began.
    pub began: Epoch,
    /// By what its result can be awaited.
    pub handle: F,
}

/// What a request that found nothing in the cache does.
#[derive(Debug)]
pub enum Admission<F> {
    /// Wait for the load that is under way.
    Join(F),
    /// Load it, under this epoch.
    Lead(Epoch),
}

impl<K, F> Default for Stripe<K, F> {
    fn default() -> Self {
        Self { epoch: Epoch::default(), flights: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, F: Clone> Stripe<K, F> {
    /// Joins the running load of `key`, or makes `handle` the one that others join.
    ///
    /// A load that an eviction has overtaken is not joined: it may return the old value.
    pub fn admit(&mut self, key: &K, handle: impl FnOnce() -> F) -> Admission<F> {
        if let Some(flight) = self.flights.get(key)
            && flight.began == self.epoch
        {
            return Admission::Join(flight.handle.clone());
        }
        let flight = Flight { began: self.epoch, handle: handle() };
        self.flights.insert(key.clone(), flight);
        Admission::Lead(self.epoch)
    }

    /// Whether what a load that began in `began` has read may be stored.
    #[must_use]
    pub fn may_store(&self, began: Epoch) -> bool {
        self.epoch == began
    }

    /// Ends the load of `key` that began in `began`; a later one of the same key goes on.
    pub fn land(&mut self, key: &K, began: Epoch) {
        if self.flights.get(key).is_some_and(|flight| flight.began == began) {
            self.flights.remove(key);
        }
    }

    /// An eviction: whatever is being loaded may not be stored, and no request joins it.
    pub fn evict(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestStripe = Stripe<&'static str, u32>;

    fn lead(stripe: &mut TestStripe, key: &'static str, handle: u32) -> Epoch {
        match stripe.admit(&key, || handle) {
            Admission::Lead(epoch) => epoch,
            Admission::Join(other) => panic!("joined {other}"),
        }
    }

    #[test]
    fn a_running_load_is_joined() {
        let mut stripe = TestStripe::default();
        let began = lead(&mut stripe, "a", 1);
        assert!(matches!(stripe.admit(&"a", || 2), Admission::Join(1)));
        stripe.land(&"a", began);
        lead(&mut stripe, "a", 3);
    }

    #[test]
    fn an_overtaken_load_is_neither_stored_nor_joined() {
        let mut stripe = TestStripe::default();
        let old = lead(&mut stripe, "a", 1);
        assert!(stripe.may_store(old));
        stripe.evict();
        assert!(!stripe.may_store(old));
        let new = lead(&mut stripe, "a", 2);
        assert!(stripe.may_store(new));
        // The old load ends last; the new one can still be joined.
        stripe.land(&"a", old);
        assert!(matches!(stripe.admit(&"a", || 3), Admission::Join(2)));
    }
}
