//! How often a client may ask, by its address; and the bearer of a token, by that.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use axum::http::{HeaderMap, HeaderName};

use crate::config::Networks;
use crate::domain::TokenId;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Half a MiB, however many clients there are. Two that share a slot share a rate; which ones do,
/// nobody outside can tell.
const SLOTS: usize = 1 << 16;

/// Whom a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(IpAddr);

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

/// A rate for each client, and who a client is.
pub struct RateLimit {
    counters: Counters,
    proxies: Networks,
}

impl RateLimit {
    /// So many requests a second, and as many at once after a pause. Of whom these proxies speak
    /// for, they tell the address.
    #[must_use]
    pub fn new(per_second: NonZeroU16, proxies: Networks) -> Self {
        Self { counters: Counters::new(per_second), proxies }
    }

    /// Whom a request comes from: the peer, or whom proxies that are trusted say that they speak
    /// for. Each appends to the list who it was asked by, so it is read from its end; what stands
    /// before the first address that is not a proxy's, anybody may have written.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut client = peer.to_canonical();
        let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut told = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
        while self.proxies.contain(client) {
            let Some(next) = told.next().and_then(address) else { break };
            client = next.to_canonical();
        }
        Client(client)
    }

    /// Whether a client may ask now; if so, it has.
    pub fn admits(&self, client: Client, now: Instant) -> bool {
        self.counters.admits(self.slot(client), now)
    }

    fn slot(&self, Client(address): Client) -> usize {
        match address {
            IpAddr::V4(address) => self.counters.slot(address.to_bits()),
            // Whoever has one address of IPv6 has a network of them.
            IpAddr::V6(address) => self.counters.slot(address.to_bits() >> 64),
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

/// An address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let with_port = || text.parse().ok().map(|address: std::net::SocketAddr| address.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn limit(per_second: u16) -> RateLimit {
        let proxies = "10.0.0.0/8, ::1".parse().unwrap();
        RateLimit::new(NonZeroU16::new(per_second).unwrap(), proxies)
    }

    fn client(peer: &str, told: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for list in told {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(list));
        }
        limit(1).client(peer.parse().unwrap(), &headers).0.to_string()
    }

    #[test]
    fn a_client_is_whom_trusted_proxies_name() {
        for (peer, told, expected) in [
            ("1.2.3.4", &[][..], "1.2.3.4"),
            // It is no proxy, so it may say what it likes.
            ("1.2.3.4", &["5.6.7.8"], "1.2.3.4"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["5.6.7.8"], "5.6.7.8"),
            ("::ffff:10.0.0.1", &["5.6.7.8"], "5.6.7.8"),
            // What stands before is what the client itself has said.
            ("10.0.0.1", &["9.9.9.9, 5.6.7.8"], "5.6.7.8"),
            ("10.0.0.1", &["9.9.9.9", "5.6.7.8"], "5.6.7.8"),
            ("10.0.0.1", &["9.9.9.9", "5.6.7.8 , 10.0.0.2"], "5.6.7.8"),
            ("10.0.0.1", &["5.6.7.8:1234"], "5.6.7.8"),
            ("::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            // All that is known is the proxy.
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["5.6.7.8, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, told), expected, "{peer} {told:?}");
        }
    }

    #[test]
    fn a_rate_is_one_second_s_worth_at_once_and_then_that_rate() {
        let limit = limit(10);
        let (one, other) = (Client([1, 2, 3, 4].into()), Client([1, 2, 3, 5].into()));
        // They could share a slot, one time in as many as there are.
        let both = limit.slot(one) != limit.slot(other);
        let at = |ms: u64| limit.counters.began + Duration::from_millis(ms);
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
        let slot = |text: &str| limit.slot(Client(text.parse().unwrap()));
        assert_eq!(slot("2001:db8::1"), slot("2001:db8::ffff:1"));
    }
}
