//! Faults at random, for as long as one likes.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::time::sleep;

use crate::harness::bed::Bed;
use crate::harness::fault::Fault;
use crate::harness::load::{Load, Settings};
use crate::report;

/// What was read is judged so often.
const ROUND: Duration = Duration::from_secs(1);
/// For what is still under way at the end.
const GRACE: Duration = Duration::from_mins(5);
const LONGEST_PAUSE: u64 = 5_000;
const LONGEST_FAULT: u64 = 6_000;

/// Prints what happened; `true` if no read broke the promise.
pub async fn run(minutes: u64, seed: u64, reads_a_second: u32) -> bool {
    let (began, lasts) = (Instant::now(), Duration::from_mins(minutes));
    eprintln!("seed {seed}, {minutes} minutes");
    let mut rng = Rng::with_seed(seed);
    let mut bed = Bed::start().await;
    let mut settings = Settings::new(rng.u64(..), lasts + GRACE);
    settings.reads_a_second = Some(reads_a_second);
    let mut load = Load::start(&bed.addresses(), settings).await;
    // One that takes longer than those here last is for the matrix.
    let longest = Duration::from_millis(LONGEST_FAULT);
    let faults: Vec<Fault> =
        Fault::ALL.into_iter().filter(|fault| fault.lasts() <= longest).collect();
    let (mut violations, mut log) = (0, Vec::new());
    while began.elapsed() < lasts {
        violations += going_on(&mut load, &mut rng, LONGEST_PAUSE).await;
        let Some(&fault) = rng.choice(&faults) else { break };
        let (at, before) = (began.elapsed(), load.tally());
        fault.cause(&mut bed).await;
        fault.is_felt(&bed).await;
        let mut found = going_on(&mut load, &mut rng, LONGEST_FAULT).await;
        fault.undo(&mut bed).await;
        let undone = Instant::now();
        bed.is_whole().await;
        let whole_after = undone.elapsed();
        // What one round takes, the next one judges.
        found += judged(&mut load) + judged(&mut load);
        violations += found;
        let tally = load.tally().since(before);
        let line = format!(
            "{:7.1} s  {:34} {:8} reads  {found} old  {} failed  whole after {} ms",
            at.as_secs_f64(),
            fault.name(),
            tally.reads,
            tally.reads_failed + tally.writes_failed,
            whole_after.as_millis(),
        );
        eprintln!("{line}");
        log.push(line);
    }
    let (tally, last) = load.stop().await;
    report::tell(&last);
    violations += last.len();
    println!("faults:\n  {}", log.join("\n  "));
    println!(
        "seed {seed}: {} reads ({} from memory, {} labelled stale), {} writes ({} fenced), \
         {violations} violations, availability {:.4} %, {} + {} failed",
        tally.reads,
        tally.from_memory,
        tally.labelled,
        tally.writes,
        tally.fenced,
        100.0 * tally.availability(),
        tally.reads_failed,
        tally.writes_failed,
    );
    violations == 0
}

/// Lets things be as they are for a while; how many violations came to light.
async fn going_on(load: &mut Load, rng: &mut Rng, longest: u64) -> usize {
    let mut left = Duration::from_millis(rng.u64(0..longest));
    let mut violations = 0;
    while !left.is_zero() {
        let round = left.min(ROUND);
        sleep(round).await;
        left -= round;
        violations += judged(load);
    }
    violations
}

fn judged(load: &mut Load) -> usize {
    let violations = load.judge();
    report::tell(&violations);
    violations.len()
}
