//! How often a client may ask, by its address; and the bearer of a token, by that.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;

use super::client::Client;
use crate::domain::TokenId;

/// Half a MiB, however many clients there are. Two that share a slot share a rate; which ones do,
/// nobody outside can tell.
const SLOTS: usize = 1 << 16;

/// A rate for each of whoever asks, in a fixed number of counters.
struct Counters {
    /// Between two requests of one who uses the whole rate.
    interval: u64,
    began: Instant,
    hasher: RandomState,
    /// Until when each one's requests so far would take at its rate, in nanoseconds since the
    /// beginning.
    slots: Box<[AtomicU64]>,
}

impl Counters {
    /// So many requests a second, and as many at once after a pause.
    fn new(per_second: NonZeroU16) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.get());
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let (began, hasher) = (Instant::now(), RandomState::new());
        Self { interval, began, hasher, slots }
    }

    /// Whether one more request is admitted now; if so, it counts.
    fn admits(&self, slot: usize, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.began);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        // What was used before `now` is over; the rest may not be more than a second's worth.
        let burst = u64::try_from(Duration::from_secs(1).as_nanos()).unwrap_or(u64::MAX);
        let used = |until: u64| {
            let until = until.max(now).saturating_add(self.interval);
            (until - now <= burst).then_some(until)
        };
        self.slots[slot].fetch_update(Ordering::Relaxed, Ordering::Relaxed, used).is_ok()
    }

    fn slot(&self, of: impl Hash) -> usize {
        // Of a remainder of 2^16 nothing is cut off.
        usize::try_from(self.hasher.hash_one(of) % SLOTS as u64).unwrap_or(0)
    }
}

/// A rate for each client.
pub struct RateLimit(Counters);

impl RateLimit {
    /// So many requests a second, and as many at once after a pause.
    #[must_use]
    pub fn new(per_second: NonZeroU16) -> Self {
        Self(Counters::new(per_second))
    }

    /// Whether a client may ask now; if so, it has.
    pub fn admits(&self, client: Client, now: Instant) -> bool {
        self.0.admits(self.slot(client), now)
    }

    fn slot(&self, client: Client) -> usize {
        match client.address() {
            IpAddr::V4(address) => self.0.slot(address.to_bits()),
            // Whoever has one address of IPv6 has a network of them.
            IpAddr::V6(address) => self.0.slot(address.to_bits() >> 64),
        }
    }
}

/// A rate for each token.
pub struct TokenRates(Counters);

impl TokenRates {
    /// So many requests a second, and as many at once after a pause.
    #[must_use]
    pub fn new(per_second: NonZeroU16) -> Self {
        Self(Counters::new(per_second))
    }

    /// Whether the bearer of a token may ask now; if so, they have.
    pub fn admits(&self, token: &TokenId, now: Instant) -> bool {
        self.0.admits(self.0.slot(token), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u16) -> RateLimit {
        RateLimit::new(NonZeroU16::new(per_second).unwrap())
    }

    #[test]
    fn a_rate_is_one_second_s_worth_at_once_and_then_that_rate() {
        let limit = limit(10);
        let (one, other) = (Client::at([1, 2, 3, 4].into()), Client::at([1, 2, 3, 5].into()));
        // They could share a slot, one time in as many as there are.
        let both = limit.slot(one) != limit.slot(other);
        let at = |ms: u64| limit.0.began + Duration::from_millis(ms);
        let asks = |client, ms: u64| (0..100).filter(|_| limit.admits(client, at(ms))).count();
        assert_eq!(asks(one, 0), 10);
        assert_eq!(asks(one, 99), 0);
        assert_eq!(asks(one, 100), 1);
        assert_eq!(asks(one, 400), 3);
        if both {
            assert_eq!(asks(other, 400), 10);
        }
        // A pause saves up no more than that.
        assert_eq!(asks(one, 60_000), 10);
        // What is refused uses nothing up.
        assert_eq!(asks(one, 60_100), 1);
    }

    #[test]
    fn a_token_has_a_rate_of_its_own() {
        let limit = TokenRates::new(NonZeroU16::new(3).unwrap());
        let (one, other): (TokenId, TokenId) =
            ("0123456789abcdef".parse().unwrap(), "0123456789abcdeg".parse().unwrap());
        let both = limit.0.slot(&one) != limit.0.slot(&other);
        let asks = |id| (0..10).filter(|_| limit.admits(id, limit.0.began)).count();
        assert_eq!(asks(&one), 3);
        if both {
            assert_eq!(asks(&other), 3);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let limit = limit(1);
        let slot = |text: &str| limit.slot(Client::at(text.parse().unwrap()));
        assert_eq!(slot("2001:db8::1"), slot("2001:db8::ffff:1"));
    }
}
