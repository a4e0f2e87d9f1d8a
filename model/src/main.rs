//! Explores the worlds given by name, or all of them, and prints a table.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::num::NonZeroUsize;

use tenant_model::guards::Guards;
use tenant_model::run::explore;
use tenant_model::runs;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.first().is_some_and(|first| first == "guards") {
        for case in runs::guards() {
            if wanted.len() > 1 && !wanted.iter().any(|name| name == case.guard) {
                continue;
            }
            let outcome = explore(case.config, case.guards, NonZeroUsize::MIN, 6_000_000);
            println!(
                "| {} | {} | {:.2} s | {:?} |",
                case.guard,
                outcome.states,
                outcome.time.as_secs_f64(),
                outcome.counterexample.as_ref().map(Vec::len)
            );
            if wanted.len() > 1 {
                println!("{:?}", outcome.seen);
                for (at, action) in outcome.counterexample.iter().flatten().enumerate() {
                    println!("  {}. {action:?}", at + 1);
                }
            }
        }
        return;
    }
    let threads = NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN);
    for config in runs::all() {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == config.name) {
            continue;
        }
        let outcome = explore(
            config,
            Guards::ALL,
            threads,
            std::env::var("MOST").ok().and_then(|n| n.parse().ok()).unwrap_or(60_000_000),
        );
        println!(
            "| {} | {} | {} | {:.1} s | {} |",
            config.name,
            outcome.states,
            outcome.depth,
            outcome.time.as_secs_f64(),
            if outcome.counterexample.is_some() {
                "violated"
            } else if outcome.complete {
                "holds"
            } else {
                "not finished"
            }
        );
        println!("{:?}", outcome.seen);
        if let Some(actions) = outcome.counterexample {
            for (at, action) in actions.iter().enumerate() {
                println!("  {}. {action:?}", at + 1);
            }
        }
    }
}
