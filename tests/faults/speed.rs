//! How fast the load is: it shares the machine's cores with what it asks.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::bed::Bed;
use crate::harness::load::{Load, Settings};
use crate::report;

const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: u32 = 6;

/// Prints the figures; `true` if no read broke the promise.
pub async fn run() -> bool {
    let bed = Bed::start().await;
    let mut settings = Settings::new(1, Duration::from_mins(1));
    settings.reads_a_second = None;
    let mut load = Load::start(&bed.addresses(), settings).await;
    let mut violations = Vec::new();
    for _ in 0..ROUNDS {
        let (began, before) = (Instant::now(), load.tally());
        sleep(ROUND).await;
        let (took, tally) = (began.elapsed(), load.tally().since(before));
        let judging = Instant::now();
        violations.append(&mut load.judge());
        let per_second = u128::from(tally.reads) * 1000 / took.as_millis().max(1);
        println!(
            "{per_second} reads/s, {} writes; judged in {:?}",
            tally.writes,
            judging.elapsed()
        );
    }
    let (tally, last) = load.stop().await;
    violations.extend(last);
    report::tell(&violations);
    println!("{} reads, {} violations", tally.reads, violations.len());
    violations.is_empty()
}
