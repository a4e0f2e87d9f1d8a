//! A cached lookup against a bare axum handler that returns the same bytes.
//!
//! Both are processes, with the same number of worker threads, under the same load in short rounds
//! that take turns: what else the machine does meets both alike. See `docs/benchmarks.md`.

#![expect(clippy::expect_used, reason = "a benchmark that meets what it does not expect ends")]

mod bare;
#[path = "../common/mod.rs"]
pub mod common;
#[path = "../../tests/harness/mod.rs"]
pub mod harness;
mod load;
mod rows;
mod servers;

use std::time::Duration;
use std::{env, thread};

use self::bare::Canned;
use self::common::figures::{Times, median_and_range, micros, thousands};
use self::common::run::{progress, run, say, setting};
use self::common::table::Table;
use self::common::wire::Connection;
use self::load::{Round, round};
use self::rows::Row;
use self::servers::{Backing, Server};

const CONNECTIONS: usize = 32;

fn main() {
    let mut arguments = env::args().skip_while(|argument| argument != bare::ARGUMENT).skip(1);
    match arguments.next() {
        Some(answers) => {
            // As the service's own `main` builds it.
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(bare::serve(&answers));
        }
        None => run(benchmark()),
    }
}

async fn benchmark() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).expect("fewer cores than that");
    let workers = setting("BENCH_WORKERS", cores, cores);
    let tenants = setting("BENCH_TENANTS", 256, 8);
    let pairs = setting("BENCH_PAIRS", 8, 1);
    let length = Duration::from_millis(setting("BENCH_ROUND_MS", 1200, 100).into());

    progress("starting the service and what it stands on");
    let backing = Backing::chosen().await;
    let service = Server::service(&backing, workers).await;
    let mut connection = Connection::open(&service.address).await;
    progress(format!("{tenants} tenants with credentials, all of them cached"));
    rows::create(&mut connection, tenants).await;
    let mut rows = rows::rows(&mut connection, tenants).await;
    let answers: Vec<Canned> = rows.iter().map(|row| row.canned.clone()).collect();
    let bare = Server::bare(&answers, workers).await;
    let mut connection = Connection::open(&bare.address).await;
    for row in &mut rows {
        row.learn(&mut connection).await;
    }

    let mut rates = Table::new(&["answers a second", "bare", "service", "ratio", "min–max"]);
    let mut times = Table::new(&["latency", "bare p50", "p99", "service p50", "p99"]);
    let mut cpu =
        Table::new(&["processor time", "bare", "service", "difference", "ratio", "min–max"]);
    for row in &rows {
        let pairs = if row.main { pairs } else { pairs.div_ceil(3) };
        progress(format!("{}: {pairs} × 2 rounds of {length:?}", row.name));
        let pairs = measure(row, &bare, &service, pairs, length).await;
        rates.row(rates_of(row, &pairs));
        times.row(times_of(row, &pairs));
        cpu.row(cpu_of(row, &pairs));
    }
    say(format!(
        "\nEach server with {workers} worker threads; {CONNECTIONS} connections; {tenants} tenants. Figures are\n\
         medians over rounds, ratios medians over pairs of rounds. In full, each answer of the\n\
         service also writes a line of audit.\n"
    ));
    for table in [rates, times, cpu] {
        table.print();
        say("");
    }
}

/// A round of each server, one right after the other.
struct Pair {
    bare: Round,
    service: Round,
}

async fn measure(
    row: &Row,
    bare: &Server,
    service: &Server,
    pairs: u32,
    length: Duration,
) -> Vec<Pair> {
    let mut measured = Vec::new();
    for pair in 0..pairs {
        // Each goes first as often as the other: what drifts, drifts for both.
        let (first, second) = if pair % 2 == 0 { (bare, service) } else { (service, bare) };
        let exchanges = |server| if std::ptr::eq(server, bare) { &row.bare } else { &row.service };
        let first = round(first, exchanges(first), CONNECTIONS, length).await;
        let second = round(second, exchanges(second), CONNECTIONS, length).await;
        let (bare, service) = if pair % 2 == 0 { (first, second) } else { (second, first) };
        measured.push(Pair { bare, service });
    }
    measured
}

fn rates_of(row: &Row, pairs: &[Pair]) -> Vec<String> {
    let rate = |of: fn(&Pair) -> f64| {
        // A rate is far below the limit, and a fraction of an answer is none.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let whole = median_and_range(pairs.iter().map(of)).0 as u64;
        thousands(whole)
    };
    let (ratio, least, most) =
        median_and_range(pairs.iter().map(|pair| pair.service.rate / pair.bare.rate));
    vec![
        row.name.to_owned(),
        rate(|pair| pair.bare.rate),
        rate(|pair| pair.service.rate),
        format!("{ratio:.3}"),
        format!("{least:.3}–{most:.3}"),
    ]
}

fn times_of(row: &Row, pairs: &[Pair]) -> Vec<String> {
    let of_rounds = |permille, of: fn(&Pair) -> &Times| {
        let rounds = pairs.iter().map(|pair| of(pair).permille(permille).as_secs_f64());
        micros(Duration::from_secs_f64(median_and_range(rounds).0))
    };
    vec![
        row.name.to_owned(),
        of_rounds(500, |pair| &pair.bare.times),
        of_rounds(990, |pair| &pair.bare.times),
        of_rounds(500, |pair| &pair.service.times),
        of_rounds(990, |pair| &pair.service.times),
    ]
}

fn cpu_of(row: &Row, pairs: &[Pair]) -> Vec<String> {
    let name = row.name.to_owned();
    let known = pairs.iter().filter_map(|pair| Some((pair.bare.cpu?, pair.service.cpu?)));
    let known: Vec<(f64, f64)> = known.collect();
    if known.is_empty() {
        return vec![name, "not told by this system".to_owned()];
    }
    let median = |of: fn(&(f64, f64)) -> f64| median_and_range(known.iter().map(of)).0;
    let (ratio, least, most) = median_and_range(known.iter().map(|(bare, service)| bare / service));
    vec![
        name,
        format!("{:.2} µs", median(|cpu| cpu.0)),
        format!("{:.2} µs", median(|cpu| cpu.1)),
        format!("{:.2} µs", median(|cpu| cpu.1 - cpu.0)),
        format!("{ratio:.3}"),
        format!("{least:.3}–{most:.3}"),
    ]
}
