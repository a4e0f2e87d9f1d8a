//! One row a fault: broken under load, held for longer than the bound, and undone.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::bed::{Bed, DEADLINE};
use crate::harness::eventually;
use crate::harness::fault::Fault;
use crate::harness::history::Violation;
use crate::harness::load::{Load, Settings, Tally};
use crate::report::{self, document, markdown};

/// Reads before the fault, and again after it.
const READS: u64 = 10_000;
/// No row takes longer.
const AT_MOST: Duration = Duration::from_mins(3);

/// What a fault did.
pub struct Row {
    pub fault: Fault,
    pub tally: Tally,
    /// Reads that broke the promise.
    pub violations: usize,
    /// How long after an acknowledgement the latest of them began.
    pub latest: Duration,
    /// From the fault's end until all is as before it.
    pub whole_after: Duration,
    /// How often a replica has dropped all that it had in memory.
    pub drops: usize,
    /// Whether Redis' entries are of another epoch than before.
    pub is_redis_flushed: bool,
}

/// Prints the table; `true` if every row is clean.
pub async fn run(only: Option<String>, seed: u64, write: Option<PathBuf>) -> bool {
    let is_wanted = |fault: &Fault| only.as_ref().is_none_or(|text| fault.name().contains(text));
    eprintln!("seed {seed}");
    let mut rows = Vec::new();
    for fault in Fault::ALL.into_iter().filter(is_wanted) {
        eprintln!("… {}", fault.name());
        rows.push(row(fault, seed).await);
    }
    print!("{}", markdown(&rows));
    let is_clean = rows.iter().all(|row| row.violations == 0);
    match write {
        Some(file) if is_clean && only.is_none() => {
            fs::write(&file, document(&rows)).expect("the report can be written");
        }
        Some(file) => eprintln!("{} is left as it is", file.display()),
        None => {}
    }
    is_clean
}

async fn row(fault: Fault, seed: u64) -> Row {
    let mut bed = Bed::start().await;
    let mut load = Load::start(&bed.addresses(), Settings::new(seed, AT_MOST)).await;
    more_reads(&load).await;
    let (epoch, drops) = (bed.is_whole().await, bed.drops());

    fault.cause(&mut bed).await;
    fault.is_felt(&bed).await;
    sleep(fault.lasts()).await;
    fault.undo(&mut bed).await;
    let undone = Instant::now();
    let epoch_after = bed.is_whole().await;
    let whole_after = undone.elapsed();
    more_reads(&load).await;

    let drops = bed.drops().saturating_sub(drops);
    let mut violations = load.judge();
    let (tally, mut last) = load.stop().await;
    violations.append(&mut last);
    report::tell(&violations);
    Row {
        fault,
        tally,
        violations: violations.len(),
        latest: violations.iter().map(Violation::lateness).max().unwrap_or_default(),
        whole_after,
        drops,
        is_redis_flushed: epoch_after != epoch,
    }
}

async fn more_reads(load: &Load) {
    let wanted = load.tally().reads + READS;
    eventually(DEADLINE, "the load goes on", async || {
        let tally = load.tally();
        if tally.reads >= wanted { Ok(()) } else { Err(tally) }
    })
    .await;
}
