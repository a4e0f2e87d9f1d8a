//! Each guard, taken out, is missed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets what it does not expect ends, and says how large its world was"
)]

use std::num::NonZeroUsize;

use tenant_model::guards::Guards;
use tenant_model::run::{Order, explore};
use tenant_model::runs;

/// Generous: the largest takes a tenth of it.
const MOST: usize = 20_000_000;

/// A fenced replica that fills is not found out: what it filled is evicted before it is unfenced.
const REDUNDANT: &str = "fenced_fills_nothing";

fn is_missed(guard: &str) {
    let case = runs::guards().into_iter().find(|case| case.guard == guard).unwrap();
    let without = explore(case.config, case.guards, Order::BreadthFirst, NonZeroUsize::MIN, MOST);
    let steps = without.counterexample.unwrap_or_else(|| panic!("nobody misses {guard}"));
    println!("{guard}: {} steps, {} states", steps.len(), without.states);
}

macro_rules! each_is_missed {
    ($($guard:ident),* $(,)?) => {
        $(#[test]
        fn $guard() {
            is_missed(stringify!($guard));
        })*

        #[test]
        fn there_is_a_test_for_each() {
            let tested = [$(stringify!($guard)),*];
            let mut guards: Vec<_> = runs::guards().iter().map(|case| case.guard).collect();
            // And a world for each switch.
            let switches = format!("{:?}", Guards::ALL).matches(": true").count();
            assert_eq!(guards.len(), switches);
            guards.retain(|guard| *guard != REDUNDANT);
            assert_eq!(guards, tested);
        }
    };
}

each_is_missed!(
    barrier,
    rows_after_commit,
    deadline_loaded_first,
    deadline_from_start,
    poll_after_renewal,
    fenced_joins_nothing,
    store_in_one_step,
    overtaken_not_stored,
    overtaken_not_joined,
    evict_after_revoke,
    drop_before_acknowledging,
    record_at_the_end,
    compare_servers,
    register_before_baseline,
    clear_after_baseline,
    replay_after_cursor,
    start_over_drops_trust,
    replay_before_trust,
    fill_needs_lease,
    tag_with_lease_epoch,
    note_epoch_before_trust,
    advance_after_revokes,
    advance_with_trust,
);
