//! How old the proof is that no change was missed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the last poll that was applied to its end began.
#[derive(Debug)]
pub struct Proof(Mutex<Instant>);

impl Proof {
    pub(super) const fn begun_at(instant: Instant) -> Self {
        Self(Mutex::new(instant))
    }

    pub(super) fn renew(&self, began: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// Its age now.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}
