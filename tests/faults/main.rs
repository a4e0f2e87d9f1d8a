//! The service under load while things go wrong: `scripts/faults` and `scripts/soak`.
//!
//! Real servers and replicas, a network that can be broken, and a history of every answer. The
//! instruments have tests of their own, in `tests/it/faults`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a report, and ends where something is not as expected"
)]

#[path = "../harness/mod.rs"]
pub mod harness;

mod matrix;
mod report;
mod rotation;
mod soak;
mod speed;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime;

use crate::harness::rotation::Plan;

/// The service under load while things go wrong.
#[derive(Parser)]
#[command(name = "faults")]
struct Arguments {
    /// As `cargo bench` says it: nothing is done then.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Every fault, one at a time, as a table. Exit code 1 where an old answer came after an
    /// acknowledgement.
    Matrix {
        /// Only faults whose name contains this.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        #[arg(long, default_value_t = fastrand::u64(..))]
        seed: u64,
        /// Write the table to this file, if no row has a violation and none was left out.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Faults at random for some minutes. Exit code 1 on any violation.
    Soak {
        #[arg(long)]
        minutes: u64,
        #[arg(long, default_value_t = fastrand::u64(..))]
        seed: u64,
        #[arg(long, default_value_t = 10_000)]
        reads_a_second: u32,
    },
    /// A key replaced under load, by a command that is killed again and again. Exit code 1 where a
    /// read has failed.
    Rotation {
        #[arg(long, default_value_t = 100_000)]
        versions: usize,
        #[arg(long, default_value_t = 10)]
        kills: usize,
        #[arg(long, default_value_t = 2_000)]
        rows_per_second: usize,
        /// Write what came of it to this file, if no read has failed.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// As many reads as go, with nothing broken.
    Speed,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.expect("a runtime").block_on(async {
        match command {
            Some(Command::Matrix { only, seed, write }) => matrix::run(only, seed, write).await,
            Some(Command::Soak { minutes, seed, reads_a_second }) => {
                soak::run(minutes, seed, reads_a_second).await
            }
            Some(Command::Rotation { versions, kills, rows_per_second, write }) => {
                rotation::run(&Plan { versions, kills, rows_per_second }, write).await
            }
            Some(Command::Speed) => speed::run().await,
            None => {
                println!("Nothing to do: see scripts/faults, scripts/soak and scripts/rotation.");
                true
            }
        }
    });
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
