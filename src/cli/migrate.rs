//! `tenant-service migrate`

use crate::app;
use crate::config::MigrateOptions;

/// Bring the database's tables up to date, and end
///
/// Safe to run at any time, by any number of processes at once. A database whose tables another
/// program made is refused and left as it is. Credentials that an older version stored in plaintext
/// are sealed. `serve` and `seed` do the same before they begin.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(flatten)]
    options: MigrateOptions,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        let (database, keyring, telemetry) = self.options.validate()?;
        super::start_logging(&telemetry)?;
        let (store, _) = app::open(&database, &keyring).await?;
        app::close_store(store.as_ref()).await;
        tracing::info!("the database is up to date");
        Ok(())
    }
}
