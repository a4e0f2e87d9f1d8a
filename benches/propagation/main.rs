//! From the commit of a credential write to its eviction on all of three replicas, over Redis and
//! over NOTIFY alone. See `docs/benchmarks.md` for what exactly is measured.

#![expect(clippy::expect_used, reason = "a benchmark that meets what it does not expect ends")]

#[path = "../common/mod.rs"]
pub mod common;
mod fleet;
#[path = "../../tests/harness/mod.rs"]
pub mod harness;
mod read;
mod records;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use self::common::figures::{Times, millis};
use self::common::run::{progress, run, say, setting};
use self::common::table::Table;
use self::common::tenants::{put, token};
use self::fleet::{Fleet, cluster};
use self::records::{Committed, Evicted};

const TENANTS: u32 = 100;

fn main() {
    run(benchmark());
}

async fn benchmark() {
    let writes = setting("BENCH_WRITES", 500, 5);
    progress("starting Postgres");
    let cluster = cluster().await;
    for (name, with_redis) in [("Redis and NOTIFY", true), ("NOTIFY alone", false)] {
        progress(format!("{name}: starting three replicas"));
        let mut fleet = Fleet::start(&cluster, with_redis, TENANTS).await;
        progress(format!("{name}: {writes} writes, each with its eviction on three replicas"));
        let evictions = Evictions::measure(&mut fleet, writes).await;
        progress(format!("{name}: {writes} writes, each read on the other replicas at once"));
        let reads = read::measure(&mut fleet, writes).await;
        say(format!("\n{name}: {writes} credential writes\n"));
        let mut table = Table::new(&["", "p50", "p90", "p99", "most"]);
        evictions.report(&mut table);
        reads.report(&mut table);
        table.print();
        say(format!("\nFirst to bring the change to the other two: {}", evictions.sources()));
        say(format!("{}\n", reads.summary()));
    }
}

/// A write as the client saw it, and as each replica did, the writer first.
struct Write {
    took: Duration,
    acknowledged: SystemTime,
    waited: Duration,
    evicted: Vec<Evicted>,
}

struct Evictions {
    writes: Vec<Write>,
    committed: Vec<Committed>,
}

impl Evictions {
    /// Writes one by one. All keys that a write touches are cached everywhere before it, and while
    /// it travels nothing else is asked: the replicas themselves tell afterwards what happened.
    async fn measure(fleet: &mut Fleet, count: u32) -> Self {
        let start = fleet.log_end().await;
        let mut before = fleet.records().await;
        let mut writes = Vec::new();
        for n in 0..count {
            fleet.warm(n % TENANTS).await;
            fleet.quiet().await;
            let request = put(n % TENANTS, &token(n));
            let sent = Instant::now();
            fleet.connections[0].ask(&request).await.expecting(200);
            let (took, acknowledged) = (sent.elapsed(), SystemTime::now());
            let (after, evicted) = fleet.evicted_since(&before).await;
            let waited = after[0].waited_since(&before[0]);
            before = after;
            writes.push(Write { took, acknowledged, waited, evicted });
        }
        let committed = fleet.committed_since(start).await;
        assert_eq!(committed.len(), writes.len(), "one change a write, in their order");
        Self { writes, committed }
    }

    fn report(&self, table: &mut Table) {
        let after_commit = |of: fn(&[Evicted]) -> Duration| -> Times {
            let writes = self.writes.iter().zip(&self.committed);
            writes.map(|(write, commit)| commit.until(of(&write.evicted))).collect()
        };
        add(table, "commit to eviction on the writer", &after_commit(|evicted| evicted[0].age));
        add(
            table,
            "commit to eviction on both others",
            &after_commit(|evicted| slowest(&evicted[1..])),
        );
        add(table, "commit to eviction on all three", &after_commit(slowest));
        let late = self.writes.iter().zip(&self.committed).map(|(write, commit)| {
            let evicted = commit.written + slowest(&write.evicted);
            evicted.duration_since(write.acknowledged).unwrap_or_default()
        });
        add(table, "acknowledgement to eviction on all three", &late.collect());
        add(
            table,
            "commit to acknowledgement (the write barrier)",
            &self.writes.iter().map(|w| w.waited).collect(),
        );
        add(
            table,
            "the write, as its client sees it",
            &self.writes.iter().map(|w| w.took).collect(),
        );
    }

    /// How often which source was the first.
    fn sources(&self) -> String {
        let mut counts = BTreeMap::new();
        for evicted in self.writes.iter().flat_map(|write| &write.evicted[1..]) {
            *counts.entry(evicted.source).or_insert(0) += 1;
        }
        let counts = counts.iter().map(|(source, count)| format!("{source} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

/// Of the last of these replicas.
fn slowest(evicted: &[Evicted]) -> Duration {
    evicted.iter().map(|evicted| evicted.age).max().expect("there are replicas")
}

fn add(table: &mut Table, name: &str, times: &Times) {
    let figures = [500, 900, 990, 1000].map(|permille| millis(times.permille(permille)));
    table.row([name.to_owned()].into_iter().chain(figures).collect());
}
