//! What the fence costs a look-up in memory: the same look-up with and without asking the deadline,
//! in this process, in rounds that take turns.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenant_service::cache::{ByPhone, Document, Found, L1, Tiered, Ttl, clock};
use tenant_service::coherence::Deadline;
use tenant_service::domain::PhoneNumberId;
use tokio_util::task::TaskTracker;

use crate::common::figures::Spread;

const HOUR: Duration = Duration::from_hours(1);
const LOOKUPS: u32 = 200_000;

/// The time of one look-up, in nanoseconds, and the ratio of the two over pairs of rounds.
pub struct Cost {
    pub without: Spread,
    pub with: Spread,
    pub ratio: Spread,
}

/// Measures so many pairs of rounds over so many phones, all of them in memory.
pub async fn measure(phones: u32, pairs: u32) -> Cost {
    let ttl = Ttl { present: HOUR, absent: HOUR };
    let tracker = TaskTracker::new();
    let cache = Arc::new(Tiered::new(L1::new(64 << 20), None, ttl, Duration::ZERO, tracker));
    cache.serving().set_deadline(Deadline::at(clock::now().plus(HOUR)));
    let mut ids = Vec::new();
    for n in 0..phones {
        let id: PhoneNumberId = format!("1000{n:06}").parse().expect("a phone's id");
        let load = || async { Ok(Some(Document::new(vec![b'x'; 180], 1))) };
        cache.get(ByPhone(id.clone()), load).await.expect("it is loaded");
        ids.push(id);
    }
    let without = |id: PhoneNumberId| cache.peek_if(ByPhone(id), |_, _| true);
    let with = |id: PhoneNumberId| cache.peek(ByPhone(id));
    let mut figures = Vec::new();
    for pair in 0..=pairs {
        // Each goes first as often as the other: what drifts, drifts for both.
        let (a, b) = if pair % 2 == 0 {
            let a = round(&ids, without);
            (a, round(&ids, with))
        } else {
            let b = round(&ids, with);
            (round(&ids, without), b)
        };
        // The first pair warms up.
        if pair > 0 {
            figures.push((a, b));
        }
    }
    Cost {
        without: Spread::of(figures.iter().map(|pair| pair.0)),
        with: Spread::of(figures.iter().map(|pair| pair.1)),
        ratio: Spread::of(figures.iter().map(|pair| pair.1 / pair.0)),
    }
}

fn round(ids: &[PhoneNumberId], look: impl Fn(PhoneNumberId) -> Option<Found<Document>>) -> f64 {
    let began = Instant::now();
    for id in ids.iter().cycle().take(LOOKUPS as usize) {
        assert!(black_box(look(black_box(id.clone()))).is_some());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS)
}
