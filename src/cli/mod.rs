//! The command line: one file a command.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

mod audit;
mod keys;
mod migrate;
mod openapi;
mod seed;
mod serve;
mod token;
mod verify;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{LogFormat, ServeOptions, Telemetry};
use crate::telemetry::logging::{self, Stream, Style};

/// Resolves WhatsApp phone numbers and Genesys integrations to tenants, and keeps their credentials.
///
/// Without a command it serves. Without any configuration it does so from SQLite in ./data, on
/// 127.0.0.1:3007, with a demo tenant. Replicas share a Postgres database (DATABASE_URL) and,
/// to be faster, a Redis server (REDIS_URL); and a keyring (KEYRING_FILE), by which credentials are
/// sealed.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    options: ServeOptions,
}

// Documented at each command: a word here would stand in the place of its whole text.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Command>),
    Migrate(migrate::Command),
    Audit(Box<audit::Command>),
    Keys(keys::Command),
    Seed(seed::Command),
    Token(token::Command),
    Openapi(openapi::Command),
    Verify(Box<verify::Command>),
}

impl Cli {
    /// What this process was told to do. Ends it where that is not understood, or was to show help.
    #[must_use]
    pub fn given() -> Self {
        let matches = without_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// A variable that is set to nothing counts as not set, so that `PORT=` in a file leaves the
/// default in place. An empty flag is left for validation to judge: somebody wrote it.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |argument: &Arg| {
        let value = argument.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.to_str().is_some_and(|text| text.trim().is_empty()))
    };
    command
        .mut_args(
            |argument| {
                if is_empty(&argument) { argument.env(Resettable::Reset) } else { argument }
            },
        )
        .mut_subcommands(without_empty_variables)
}

/// Why a command ended, and with which code.
#[derive(Debug)]
pub struct Failure {
    /// As a chain whose first line says what to do.
    pub error: anyhow::Error,
    /// What the process is to end with.
    pub code: ExitCode,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, code: ExitCode::FAILURE }
    }
}

/// Runs what the command line says, and tells with which code the process is to end.
///
/// # Errors
/// Whatever went wrong.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        None => serve::Command { options: cli.options }.run().await?,
        Some(Command::Serve(command)) => command.run().await?,
        Some(Command::Migrate(command)) => command.run().await?,
        Some(Command::Keys(command)) => return command.run().await,
        Some(Command::Seed(command)) => command.run().await?,
        Some(Command::Token(command)) => command.run().await?,
        Some(Command::Openapi(openapi::Command {})) => openapi::Command::run()?,
        Some(Command::Audit(command)) => {
            // 1 is for what it has found.
            let code = ExitCode::from(2);
            return command.run().await.map_err(|error| Failure { error, code });
        }
        Some(Command::Verify(command)) => {
            // 1 is for what it has found.
            let code = ExitCode::from(2);
            return command.run().await.map_err(|error| Failure { error, code });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins to log.
fn start_logging(telemetry: &Telemetry) -> anyhow::Result<()> {
    log_to(Stream::Output, telemetry)
}

/// The same for a command that prints what it makes: standard output is for that alone.
fn start_logging_to_stderr(telemetry: &Telemetry) -> anyhow::Result<()> {
    log_to(Stream::Error, telemetry)
}

fn log_to(stream: Stream, telemetry: &Telemetry) -> anyhow::Result<()> {
    let style = match telemetry.format {
        LogFormat::Pretty => Style::Pretty,
        LogFormat::Json => Style::Json,
    };
    // Validation has parsed it, and has told what it accepts; this error quotes it.
    let installed = logging::install(style, stream, &telemetry.filter);
    installed.map_err(|_| anyhow::anyhow!("RUST_LOG is no filter"))
}
