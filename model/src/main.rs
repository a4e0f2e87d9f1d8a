//! Explores the larger worlds, or the one that is named, and prints a table for `docs/model.md`.
//! With `guards`, takes out each guard instead; with `redundant`, explores the smaller worlds without
//! the one guard that nobody misses.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::num::NonZeroUsize;

use tenant_model::guards::Guards;
use tenant_model::run::{Order, Outcome, explore};
use tenant_model::runs;

/// Steps after which an exploration is given up, and reported as such.
const MOST: usize = 100_000_000;

fn main() {
    let wanted = std::env::args().nth(1);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    if wanted.as_deref() == Some("guards") {
        println!("| without | states | time | shortest counterexample |\n|---|---|---|---|");
        for case in runs::guards() {
            let (first, one) = (Order::BreadthFirst, NonZeroUsize::MIN);
            print("", case.guard, &explore(case.config, case.guards, first, one, MOST));
        }
        return;
    }
    if wanted.as_deref() == Some("redundant") {
        let guards = Guards { fenced_fills_nothing: false, ..Guards::ALL };
        println!("| world | states | longest path | time | |\n|---|---|---|---|---|");
        for config in runs::short() {
            let outcome = explore(config, guards, Order::DepthFirst, threads, MOST);
            print(&format!("{} | ", outcome.depth), config.name, &outcome);
        }
        return;
    }
    println!("| world | states | longest path | time | |\n|---|---|---|---|---|");
    for config in runs::short().into_iter().chain(runs::long()) {
        if wanted.as_deref().is_none_or(|wanted| wanted == config.name) {
            let outcome = explore(config, Guards::ALL, Order::DepthFirst, threads, MOST);
            let depth = format!("{} | ", outcome.depth);
            print(&depth, config.name, &outcome);
        }
    }
}

fn print(depth: &str, name: &str, outcome: &Outcome) {
    let result = match &outcome.counterexample {
        Some(steps) => format!("{} steps", steps.len()),
        None if outcome.complete => "holds".to_owned(),
        None => "holds as far as it went: not finished".to_owned(),
    };
    let (states, seconds) = (outcome.states, outcome.time.as_secs_f64());
    println!("| {name} | {states} | {depth}{seconds:.1} s | {result} |");
}
