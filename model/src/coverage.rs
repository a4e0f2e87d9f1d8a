//! Whether what should be possible has happened: a model in which nothing happens is right too.

use std::sync::atomic::{AtomicU64, Ordering};

/// What should be possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    L1Hit,
    L2Hit,
    DatabaseRead,
    JoinedAnswer,
    FencedRead,
    LateRead,
    Acknowledged,
    AcknowledgedByRow,
    AcknowledgedByTime,
    TrustByReplay,
    NewEpoch,
    EpochRaceLost,
    MarkerAdvanced,
    StartedOver,
    RevocationSkipped,
    RevocationFailed,
    FillRefused,
    L2Filled,
}

/// All of them.
pub const EVENTS: [Event; 18] = [
    Event::L1Hit,
    Event::L2Hit,
    Event::DatabaseRead,
    Event::JoinedAnswer,
    Event::FencedRead,
    Event::LateRead,
    Event::Acknowledged,
    Event::AcknowledgedByRow,
    Event::AcknowledgedByTime,
    Event::TrustByReplay,
    Event::NewEpoch,
    Event::EpochRaceLost,
    Event::MarkerAdvanced,
    Event::StartedOver,
    Event::RevocationSkipped,
    Event::RevocationFailed,
    Event::FillRefused,
    Event::L2Filled,
];

/// How often each has happened, over all steps that were tried. (Kept beside the states, which it
/// would multiply.)
#[derive(Debug, Default)]
pub struct Coverage([AtomicU64; EVENTS.len()]);

impl Coverage {
    /// It has happened.
    pub fn note(&self, event: Event) {
        // Whether is what counts; a store a step would have the threads wait for each other.
        if self.0[event as usize].load(Ordering::Relaxed) == 0 {
            self.0[event as usize].store(1, Ordering::Relaxed);
        }
    }

    /// Those that have happened.
    pub fn seen(&self) -> Vec<Event> {
        let happened = |event: &Event| self.0[*event as usize].load(Ordering::Relaxed) > 0;
        EVENTS.into_iter().filter(happened).collect()
    }
}
