//! The command line: one file a command.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

mod migrate;
mod openapi;
mod seed;
mod serve;

use clap::{Parser, Subcommand};

use crate::config::{Config, LogFormat, Options};
use crate::telemetry::logging::{self, Style};

/// Resolves WhatsApp phone numbers and Genesys integrations to tenants, and keeps their credentials.
///
/// Without a command it serves. Without any configuration it does so from SQLite in ./data, on
/// 127.0.0.1:3007, with a demo tenant. Replicas share a Postgres database (DATABASE_URL) and,
/// to be faster, a Redis server (REDIS_URL).
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP (the default)
    Serve(serve::Command),
    /// Bring the database's tables up to date, and end
    Migrate(migrate::Command),
    /// Load tenants and credentials from JSON files, through the service
    Seed(seed::Command),
    /// Print the OpenAPI document
    Openapi(openapi::Command),
}

/// Runs what the command line says.
///
/// # Errors
/// Whatever went wrong, as a chain whose first line says what to do.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => serve::Command { options: cli.options }.run().await,
        Some(Command::Serve(command)) => command.run().await,
        Some(Command::Migrate(command)) => command.run().await,
        Some(Command::Seed(command)) => command.run().await,
        Some(Command::Openapi(openapi::Command {})) => openapi::Command::run(),
    }
}

/// Validates the options and begins to log.
fn start(options: Options) -> anyhow::Result<Config> {
    let config = options.validate()?;
    let style = match config.telemetry.format {
        LogFormat::Pretty => Style::Pretty,
        LogFormat::Json => Style::Json,
    };
    logging::install(style, &config.telemetry.filter).map_err(|error| {
        anyhow::anyhow!(
            "RUST_LOG: {error}; it takes levels and targets, such as info,tenant_service=debug"
        )
    })?;
    Ok(config)
}
