//! What one credential write costs with 1,000, 100,000 and 1,000,000 cached phones in Redis.
//!
//! The three sizes exist side by side, and writes take turns among them: what else the machine does
//! meets all three alike. See `docs/benchmarks.md`.

#![expect(clippy::expect_used, reason = "a benchmark that meets what it does not expect ends")]

#[path = "../common/mod.rs"]
pub mod common;
#[path = "../../tests/harness/mod.rs"]
pub mod harness;
mod rig;
mod server_stats;

use std::time::{Duration, Instant};

use self::common::figures::{Times, micros, millis, thousands};
use self::common::run::{is_smoke, progress, run, say, setting};
use self::common::table::Table;
use self::common::tenants::{put, token};
use self::rig::Rig;
use self::server_stats::Stats;

const TENANTS: u32 = 50;

fn main() {
    run(benchmark());
}

/// A write, and what it was to Redis.
struct Write {
    took: Duration,
    redis: Stats,
}

async fn benchmark() {
    let writes = setting("BENCH_WRITES", 300, 5);
    let sizes = if is_smoke() { [100, 1_000, 10_000] } else { [1_000, 100_000, 1_000_000] };
    let mut rigs = Vec::new();
    for size in sizes {
        progress(format!("{} phones: starting two replicas, filling Redis", thousands(size)));
        rigs.push(Rig::start(size, TENANTS).await);
    }
    progress(format!("{writes} writes to each in turn"));
    let mut measured: Vec<Vec<Write>> = rigs.iter().map(|_| Vec::new()).collect();
    for n in 0..writes {
        for (rig, measured) in rigs.iter_mut().zip(&mut measured) {
            measured.push(measure(rig, n).await);
        }
    }

    let mut table = Table::new(&[
        "phones in Redis",
        "keys",
        "write p50",
        "p99",
        "Redis p50",
        "p99",
        "commands",
        "KEYS phone:*",
    ]);
    let mut medians = Vec::new();
    for (rig, writes) in rigs.iter_mut().zip(&measured) {
        let took: Times = writes.iter().map(|write| write.took).collect();
        let redis: Times = writes.iter().map(|write| write.redis.busy).collect();
        let mut commands: Vec<u64> = writes.iter().map(|write| write.redis.commands).collect();
        commands.sort_unstable();
        let keys = rig.redis_keys().await;
        medians.push(took.median());
        table.row(vec![
            thousands(rig.size),
            thousands(keys),
            millis(took.median()),
            millis(took.permille(990)),
            micros(redis.median()),
            micros(redis.permille(990)),
            commands[commands.len() / 2].to_string(),
            millis(rig.what_keys_would_take().await),
        ]);
    }
    say(format!(
        "\n{writes} credential writes at each size. Redis: what of its time one write takes.\n\
         KEYS: what of its time the command takes that the service never gives, once, afterwards.\n"
    ));
    table.print();
    let ratio = medians[2].as_secs_f64() / medians[0].as_secs_f64();
    say(format!("\nMedian with the most phones : median with the fewest = {ratio:.3}\n"));
}

/// One write, of keys that are cached on both replicas and in Redis, with nothing else under way.
async fn measure(rig: &mut Rig, n: u32) -> Write {
    rig.warm(n % TENANTS).await;
    let before = rig.stats().await;
    let request = put(n % TENANTS, &token(n));
    let began = Instant::now();
    rig.writer.ask(&request).await.expecting(200);
    let took = began.elapsed();
    rig.quiet().await;
    Write { took, redis: rig.stats().await.since(&before) }
}
