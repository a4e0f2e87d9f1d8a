//! Exploring a world.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::action::Action;
use crate::config::Config;
use crate::coverage::{Coverage, Event};
use crate::guards::Guards;
use crate::protocol::{NEVER_OLDER, Protocol};

/// What an exploration found.
#[derive(Debug)]
pub struct Outcome {
    /// Distinct worlds.
    pub states: usize,
    /// Steps from the beginning to the farthest of them.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Whether there is nothing more to explore.
    pub complete: bool,
    /// The steps to an answer that is too old.
    pub counterexample: Option<Vec<Action>>,
    /// What has happened.
    pub seen: Vec<Event>,
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// On one thread the counterexample is a shortest one.
    BreadthFirst,
    /// Takes far less memory.
    DepthFirst,
}

/// Explores until a counterexample, the end, or so many steps.
pub fn explore(
    config: Config,
    guards: Guards,
    order: Order,
    threads: NonZeroUsize,
    most: usize,
) -> Outcome {
    let coverage = Arc::<Coverage>::default();
    let protocol = Protocol { config, guards, coverage: Arc::clone(&coverage) };
    let began = Instant::now();
    let checker = protocol.checker().threads(threads.get()).target_state_count(most);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    match order {
        Order::BreadthFirst => outcome(&checker.spawn_bfs().join(), began, most, &coverage),
        Order::DepthFirst => outcome(&checker.spawn_dfs().join(), began, most, &coverage),
    }
}

fn outcome(
    checker: &impl Checker<Protocol>,
    began: Instant,
    most: usize,
    coverage: &Coverage,
) -> Outcome {
    let counterexample = checker.discovery(NEVER_OLDER).map(stateright::Path::into_actions);
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth().saturating_sub(1),
        time: began.elapsed(),
        complete: counterexample.is_none() && checker.state_count() < most,
        counterexample,
        seen: coverage.seen(),
    }
}
