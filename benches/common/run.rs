//! How a benchmark runs: for how long, and where it says what.

use std::env;
use std::fmt::Display;

use tokio::runtime;

/// Whether to show that the benchmark works, in a few seconds, instead of measuring.
///
/// `cargo bench` passes `--bench`; `cargo test --all-targets` runs benchmarks without it, and
/// `cargo bench -- --test` asks for the same.
pub fn is_smoke() -> bool {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    given("--test") || !given("--bench")
}

/// A number from the environment, else the one for this kind of run.
///
/// # Panics
/// It is set to something else than a number.
pub fn setting(name: &str, measuring: u32, smoke: u32) -> u32 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) if is_smoke() => smoke,
        Err(_) => measuring,
    }
}

/// Runs the benchmark on a single thread, so that it takes no more than one core from the servers
/// that it measures.
///
/// # Panics
/// There is no runtime, or the benchmark failed.
pub fn run(benchmark: impl Future<Output = ()>) {
    if cfg!(debug_assertions) {
        say("A build without optimisation: the figures mean nothing.");
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(benchmark);
}

/// A result.
#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
pub fn say(text: impl Display) {
    println!("{text}");
}

/// What is being done, for whoever waits.
#[expect(clippy::print_stderr, reason = "beside the results, which can be redirected")]
pub fn progress(text: impl Display) {
    eprintln!("… {text}");
}
