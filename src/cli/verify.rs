//! `tenant-service verify`

use std::io::Write;
use std::process::ExitCode;

use crate::app::{Verdict, verify};
use crate::config::VerifyOptions;

/// Compare what replicas answer with the database
///
/// Asks each replica over HTTP, as a client would, for tenants drawn at random (by id, by phone
/// number and by integration, and for their credentials as they are shown masked), for what the
/// latest changes have touched, and for some that are nobody's. An answer that differs from the
/// database is asked for again once --bound has passed, for its change may have been on its way; it
/// is a violation if it is the same wrong answer still. Answers that say that they may be old
/// (Cache-Status: …; detail=stale) are counted apart.
///
/// Reads the database through connections that can't write, with the keyring of the replicas, and
/// migrates nothing. The replicas need to grant a caller without a token lookup:read, tenants:read
/// and credentials:read; with --probe, tenants:write too. No secret is asked for. What is asked for
/// is cached like for any client.
///
///   tenant-service verify --replica http://10.0.0.7:3007 --replica http://10.0.0.8:3007
///
/// Ends with 0 if all was checked and is right; with 1 if there is a violation; with 2 if nothing,
/// or not all, could be checked.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Command {
    #[command(flatten)]
    options: VerifyOptions,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let (plan, database, keyring) = self.options.validate()?;
        let report = verify(&plan, &database, &keyring).await?;
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&report)?)
        } else {
            report.to_string()
        };
        // Whoever reads it may have enough; the verdict stands.
        drop(std::io::stdout().lock().write_all(text.as_bytes()));
        Ok(match report.verdict() {
            Verdict::Clean => ExitCode::SUCCESS,
            Verdict::Violated => ExitCode::from(1),
            Verdict::Incomplete => ExitCode::from(2),
        })
    }
}
