//! A cached lookup against a bare axum handler that returns the same bytes.
//!
//! Both are processes, with the same number of worker threads, under the same load in short rounds
//! that take turns: what else the machine does meets both alike. See `docs/benchmarks.md`.

#![expect(clippy::expect_used, reason = "a benchmark that meets what it does not expect ends")]

mod bare;
#[path = "../common/mod.rs"]
pub mod common;
mod fence;
#[path = "../../tests/harness/mod.rs"]
pub mod harness;
mod load;
mod rows;
mod servers;

use std::time::Duration;
use std::{env, thread};

use self::bare::Canned;
use self::common::figures::{Spread, Times, micros, thousands};
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
    let pairs = setting("BENCH_PAIRS", 24, 1);
    let length = Duration::from_millis(setting("BENCH_ROUND_MS", 500, 100).into());

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

    let ratio = ["ratio", "middle half", "min–max"];
    let table = |name, columns: &[&str]| Table::new(&[&[name], columns].concat());
    let mut rates = table("answers a second", &[&["bare", "service"], &ratio[..]].concat());
    let mut times = table("latency", &["bare p50", "p99", "service p50", "p99"]);
    let mut cpu = table("processor time", &[&["bare", "service"], &ratio[..]].concat());
    for row in &rows {
        let pairs = if row.main { pairs } else { pairs.div_ceil(3) };
        progress(format!("{}: {pairs} × 2 rounds of {length:?}", row.name));
        let pairs = measure(row, &bare, &service, pairs, length).await;
        rates.row(rates_of(row, &pairs));
        times.row(times_of(row, &pairs));
        cpu.row(cpu_of(row, &pairs));
    }
    progress("the fence, with and without");
    let fence = fence::measure(tenants, 5 * pairs).await;
    say(format!(
        "\nEach server with {workers} worker threads; {CONNECTIONS} connections; {tenants} tenants. Figures are\n\
         medians over rounds, ratios over pairs of rounds, above 1 where the service is the\n\
         better. In full, each answer of the service waits for its row of the audit trail.\n"
    ));
    for table in [rates, times, cpu] {
        table.print();
        say("");
    }
    let columns = ["without", "with", "ratio", "middle half", "min–max"];
    let mut table = Table::new(&[&["the fence, in memory"], &columns[..]].concat());
    let time = |spread: &Spread| format!("{:.1} ns", spread.median);
    let times = ["look-up by phone".to_owned(), time(&fence.without), time(&fence.with)];
    table.row(times.into_iter().chain(fence.ratio.cells()).collect());
    table.print();
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
    for (server, exchanges) in [(bare, &row.bare), (service, &row.service)] {
        round(server, exchanges, CONNECTIONS, length / 5).await;
    }
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
        // A fraction of an answer is none.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let whole = Spread::of(pairs.iter().map(of)).median as u64;
        thousands(whole)
    };
    let ratio = Spread::of(pairs.iter().map(|pair| pair.service.rate / pair.bare.rate));
    let rates = [rate(|pair| pair.bare.rate), rate(|pair| pair.service.rate)];
    [row.name.to_owned()].into_iter().chain(rates).chain(ratio.cells()).collect()
}

fn times_of(row: &Row, pairs: &[Pair]) -> Vec<String> {
    let of_rounds = |permille, of: fn(&Pair) -> &Times| {
        let rounds = pairs.iter().map(|pair| of(pair).permille(permille).as_secs_f64());
        micros(Duration::from_secs_f64(Spread::of(rounds).median))
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
    let known = pairs.iter().filter_map(|pair| Some((pair.bare.cpu?, pair.service.cpu?)));
    let known: Vec<(f64, f64)> = known.collect();
    if known.is_empty() {
        return vec![row.name.to_owned(), "not told".to_owned()];
    }
    let time =
        |of: fn(&(f64, f64)) -> f64| format!("{:.2} µs", Spread::of(known.iter().map(of)).median);
    let ratio = Spread::of(known.iter().map(|(bare, service)| bare / service));
    let times = [time(|cpu| cpu.0), time(|cpu| cpu.1)];
    [row.name.to_owned()].into_iter().chain(times).chain(ratio.cells()).collect()
}
