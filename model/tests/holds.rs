//! With every guard on, no read is answered with less than what was settled when it was invoked.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use tenant_model::coverage::EVENTS;
use tenant_model::guards::Guards;
use tenant_model::run::{Order, explore};
use tenant_model::runs;

/// What lies beyond is for `scripts/model`.
const MOST: usize = 60_000_000;

#[test]
fn the_property_holds_and_everything_happens() {
    let two = NonZeroUsize::new(2).unwrap();
    let mut seen = BTreeSet::new();
    for config in runs::short() {
        let name = config.name;
        let outcome = explore(config, Guards::ALL, Order::DepthFirst, two, MOST);
        println!("{name}: {} states, {:.1} s", outcome.states, outcome.time.as_secs_f64());
        assert!(outcome.counterexample.is_none(), "{name}: {:?}", outcome.counterexample);
        assert!(outcome.complete, "{name} is too large");
        seen.extend(outcome.seen.iter().map(|event| format!("{event:?}")));
    }
    // A protocol under which nothing happens would hold as well.
    let all: BTreeSet<String> = EVENTS.iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(seen, all, "something that is to be possible never happened");
}
