//! The worlds that are explored.

use crate::config::{Config, L2};
use crate::guards::Guards;

/// Worlds that the tests explore to the end.
pub fn short() -> Vec<Config> {
    let l1 = Config::SMALL;
    let l2 = Config { l2: L2::Trusted, ..l1 };
    let one = Config { up: 1, observed: 0, ..l2 };
    vec![
        Config { name: "L1, every step by itself", fine: true, ..l1 },
        Config {
            name: "L1, rows unreadable",
            writers: 0b11,
            writes: 2,
            ticks: 2,
            blind: true,
            ..l1
        },
        Config { name: "L1, two keys", writers: 0b11, writes: 2, keys: 2, ..l1 },
        Config { name: "L1, log pruned", writers: 0b11, psql: 1, prunes: 1, ..l1 },
        Config { name: "L1, crash", crashes: 1, starts: 1, ticks: 2, census: true, ..l1 },
        Config { name: "L2 empty", l2: L2::Empty, ..l2 },
        Config { name: "L2 unknown to all", l2: L2::Warm, ..l2 },
        Config { name: "L2, one replica, time-out", timeouts: 1, ..one },
        Config { name: "L2, time-out", timeouts: 1, ticks: 0, ..l2 },
        Config { name: "L2, time-out, psql", timeouts: 1, psql: 1, writes: 0, ..l2 },
        Config { name: "L2, failover", failovers: 1, fillers: false, ..l2 },
    ]
}

/// Worlds that take minutes.
pub fn long() -> Vec<Config> {
    let l1 = Config::SMALL;
    let l2 = Config { l2: L2::Trusted, ..l1 };
    let one = Config { up: 1, observed: 0, ..l2 };
    let faults = Config { timeouts: 1, disconnects: 1, flushes: 1, ..one };
    vec![
        Config { name: "L1, three writes", writers: 0b11, writes: 3, ticks: 2, ..l1 },
        Config { name: "L2, time-out, a tick", timeouts: 1, ..l2 },
        Config { name: "L2, time-out of the observed writer", timeouts: 1, writers: 0b10, ..l2 },
        Config { name: "L2, disconnect", disconnects: 1, ..l2 },
        Config { name: "L2, failover, both load", failovers: 1, ..l2 },
        Config {
            name: "L2, failover, disconnect",
            failovers: 1,
            disconnects: 1,
            ticks: 0,
            fillers: false,
            ..l2
        },
        Config { name: "L2, restart", restarts: 1, ..l2 },
        Config {
            name: "L2, pruned, time-out, psql",
            prunes: 1,
            timeouts: 1,
            psql: 1,
            writes: 0,
            fillers: false,
            ..l2
        },
        Config { name: "L2, joiner, time-out", up: 1, starts: 1, timeouts: 1, ticks: 0, ..l2 },
        Config { name: "L2, one replica, every step by itself", fine: true, timeouts: 1, ..one },
        Config { name: "L2, every step by itself", fine: true, ticks: 0, writers: 0b10, ..l2 },
        Config { name: "L2, two keys", keys: 2, ticks: 0, ..l2 },
        Config { name: "L2, crash", crashes: 1, starts: 1, ticks: 0, fillers: false, ..l2 },
        Config { name: "L2, two writes, time-out", writes: 2, timeouts: 1, ticks: 0, ..l2 },
        Config { name: "L2, one replica, all faults", writes: 2, ticks: 0, ..faults },
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
