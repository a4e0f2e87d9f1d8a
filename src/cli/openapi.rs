//! `tenant-service openapi`

use std::io::{ErrorKind, Write};

/// Print the OpenAPI document
///
/// The one that a running service has at /openapi.json. Reads no variable.
#[derive(Debug, clap::Args)]
pub struct Command {}

impl Command {
    pub fn run() -> anyhow::Result<()> {
        let document = crate::http::document().to_pretty_json()?;
        match writeln!(std::io::stdout().lock(), "{document}") {
            // Whoever reads it has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }
}
