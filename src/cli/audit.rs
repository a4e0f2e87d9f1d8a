//! `tenant-service audit`

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use crate::app::{AuditReport, Kept, verify_audit};
use crate::config::AuditOptions;

/// Look after the audit trail
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(subcommand)]
    command: Audit,
}

#[derive(Debug, Subcommand)]
enum Audit {
    Verify(Verify),
}

/// Say up to where the chain of the audit trail holds
///
/// Each row has a number and a keyed hash over the row before it and its own content. This walks along
/// all of them, and finds what was changed, removed, put in or moved since, the end included as far as
/// the signed head tells. It reads through connections that can't write, and needs the keyring that the
/// replicas have.
///
/// Somebody who can put back an old state of the whole database can put back an old head with it. So the
/// head is printed, and each replica logs it now and then: keep one of them elsewhere, and give it as
/// --expect-head the next time.
///
/// Ends with 0 if the chain holds; with 1 if it does not (the report says at which row, and what is
/// wrong); with 2 if that can't be said: the database is out of reach, the keyring lacks the key, or
/// the row of --expect-head was pruned.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Verify {
    #[command(flatten)]
    options: AuditOptions,

    /// A head that was printed or logged before, NUMBER:HASH. It has to be found in the chain
    #[arg(long, value_name = "NUMBER:HASH")]
    expect_head: Option<String>,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let Audit::Verify(Verify { options, expect_head, json }) = self.command;
        let (database, keyring) = options.validate()?;
        let kept = expect_head.as_deref().map(kept).transpose()?;
        let report = verify_audit(&database, &keyring, kept.as_ref()).await?;
        let text = if json {
            format!("{}\n", serde_json::to_string_pretty(&report)?)
        } else {
            report.to_string()
        };
        // Whoever reads it may have enough; the verdict stands.
        drop(std::io::stdout().lock().write_all(text.as_bytes()));
        Ok(verdict(&report))
    }
}

fn verdict(report: &AuditReport) -> ExitCode {
    if report.broken.is_some() {
        ExitCode::from(1)
    } else if report.unverified.is_some() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

fn kept(text: &str) -> anyhow::Result<Kept> {
    let parsed = text.split_once(':').and_then(|(number, hash)| {
        let is_hash = hash.len() == 66 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = number.parse().ok().filter(|number| *number >= 0)?;
        is_hash.then(|| Kept { number, hash: hash.to_ascii_lowercase() })
    });
    parsed.context("--expect-head: must be the NUMBER:HASH that `audit verify` has printed")
}
