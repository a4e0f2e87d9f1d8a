//! The worlds that are explored.

use crate::config::{Config, L2};
use crate::guards::Guards;

/// Worlds in which the protocol is explored.
pub fn all() -> Vec<Config> {
    let small = Config::SMALL;
    let l2 = Config { l2: L2::Trusted, ..small };
    vec![
        Config { name: "tiny", ..small },
        Config { name: "tiny fine", fine: true, ..small },
        Config { name: "L1 1w", writes: 1, ticks: 2, ..small },
        Config { name: "L1 alone", writers: 0b11, writes: 2, ticks: 2, blind: true, ..small },
        Config { name: "L2", ..l2 },
        Config { name: "L2 warm", l2: L2::Warm, ..l2 },
        Config { name: "L2 disconnect", disconnects: 1, ..l2 },
        Config { name: "L2 timeout", timeouts: 1, ..l2 },
        Config { name: "L2 failover", failovers: 1, ..l2 },
    ]
}

/// A guard, and a world in which it is missed.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Which.
    pub guard: &'static str,
    /// The protocol without it.
    pub guards: Guards,
    /// The world.
    pub config: Config,
}

macro_rules! cases {
    ($($guard:ident: $config:expr),* $(,)?) => {
        vec![$(Case {
            guard: stringify!($guard),
            guards: Guards { $guard: false, ..Guards::ALL },
            config: Config { name: stringify!($guard), ..$config },
        }),*]
    };
}

/// Each guard, with a world as small as it can be.
pub fn guards() -> Vec<Case> {
    let two = Config::SMALL;
    let warm = Config { warm_l1: true, ..two };
    let quick = Config { ticks: 0, ..two };
    // One replica is enough where the trouble is with itself.
    let one = Config { up: 1, observed: 0, ticks: 0, l2: L2::Trusted, ..two };
    let both = Config { l2: L2::Trusted, writers: 0b11, ticks: 0, ..two };
    let joiner = Config { up: 1, starts: 1, ..two };
    let joiner_l2 = Config { l2: L2::Trusted, timeouts: 1, ..joiner };
    cases! {
        barrier: Config { ticks: 0, ..warm },
        rows_after_commit: Config { ticks: 0, ..joiner },
        deadline_loaded_first: warm,
        deadline_from_start: warm,
        poll_after_renewal: warm,
        fenced_joins_nothing: two,
        store_in_one_step: quick,
        overtaken_not_stored: quick,
        overtaken_not_joined: quick,
        evict_after_revoke: one,
        drop_before_acknowledging: Config { timeouts: 1, ..one },
        record_at_the_end: Config { timeouts: 1, ..both },
        compare_servers: Config { failovers: 1, disconnects: 1, writers: 0b01, fillers: false, ..both },
        register_before_baseline: joiner_l2,
        clear_after_baseline: Config { psql: 1, prunes: 1, bus: false, ..two },
        replay_after_cursor: joiner_l2,
        start_over_drops_trust: Config { psql: 1, writes: 0, prunes: 1, ticks: 1, ..one },
        replay_before_trust: Config { timeouts: 1, ..one },
        fill_needs_lease: Config { writes: 2, ..one },
        tag_with_lease_epoch: Config { timeouts: 1, flushes: 1, ..one },
        note_epoch_before_trust: Config { timeouts: 1, ..one },
        advance_after_revokes: Config { timeouts: 1, ..one },
        advance_with_trust: Config { timeouts: 1, disconnects: 1, ..one },
        fenced_fills_nothing: Config { psql: 1, prunes: 1, ..two },
    }
}
