//! `tenant-service migrate`

use crate::app::Core;
use crate::config::Options;

/// Brings the database's tables up to date, and ends.
///
/// Safe to run at any time, by any number of processes at once. A database whose tables another
/// program made is refused and left as it is.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(flatten)]
    options: Options,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        let config = super::start(self.options)?;
        Core::build(&config).await?.close().await;
        tracing::info!("the database is up to date");
        Ok(())
    }
}
