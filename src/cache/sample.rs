//! A sample of the keys that are cached, for whoever checks entries without walking the cache.
//!
//! Keys are offered when they are filled, so a hit has nothing to do with it. One whose entry has
//! gone meanwhile is found out when it is drawn.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::CacheKey;

/// Keys that are kept, at some 100 bytes each.
const SIZE: usize = 4096;
/// Of about so many of the last fills: what was filled long before has expired, or was evicted.
const WINDOW: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Sample(Mutex<Reservoir>);

#[derive(Debug, Default)]
struct Reservoir {
    keys: Vec<CacheKey>,
    offered: usize,
}

impl Sample {
    /// Takes a key in, or not, so that each of those offered is as likely to be here as any other.
    pub(super) fn offer(&self, key: &CacheKey) {
        let mut sample = self.lock();
        sample.offered = (sample.offered + 1).min(WINDOW);
        if sample.keys.len() < SIZE {
            sample.keys.push(key.clone());
        } else {
            let place = fastrand::usize(..sample.offered);
            if let Some(kept) = sample.keys.get_mut(place) {
                *kept = key.clone();
            }
        }
    }

    /// Takes one out at random. [`Sample::put_back`] those that are still cached.
    pub fn draw(&self) -> Option<CacheKey> {
        let mut sample = self.lock();
        let place = fastrand::usize(..sample.keys.len().max(1));
        (place < sample.keys.len()).then(|| sample.keys.swap_remove(place))
    }

    /// Puts back what was drawn.
    pub fn put_back(&self, key: CacheKey) {
        let mut sample = self.lock();
        if sample.keys.len() < SIZE {
            sample.keys.push(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reservoir> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> CacheKey {
        format!("phone:{n}").parse().unwrap()
    }

    #[test]
    fn early_and_late_keys_are_as_likely_and_memory_is_bounded() {
        let sample = Sample::default();
        let total = 20 * SIZE;
        for n in 0..total {
            sample.offer(&key(n));
        }
        let drawn: Vec<CacheKey> = std::iter::from_fn(|| sample.draw()).collect();
        assert_eq!(drawn.len(), SIZE);
        let late = (total / 2..total).map(key).collect::<std::collections::HashSet<_>>();
        let late = drawn.iter().filter(|key| late.contains(key)).count();
        // Half of them, give or take ten standard deviations.
        assert!(late.abs_diff(SIZE / 2) < 320, "{late} of {SIZE} are from the later half");
        assert_eq!(sample.draw(), None);
    }

    #[test]
    fn what_is_drawn_is_gone_until_it_is_put_back() {
        let sample = Sample::default();
        sample.offer(&key(1));
        assert_eq!(sample.draw(), Some(key(1)));
        assert_eq!(sample.draw(), None);
        sample.put_back(key(1));
        assert_eq!(sample.draw(), Some(key(1)));
    }
}
