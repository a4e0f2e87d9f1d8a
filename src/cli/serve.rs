//! `tenant-service serve`

use crate::app;
use crate::config::ServeOptions;

/// Serve HTTP (the default)
///
/// Migrates the database first; any number of replicas may start at once. On SIGTERM or SIGINT it
/// finishes the requests in flight, for at most 17 s, and ends. On SIGTERM it goes on as before for
/// three seconds first, while /readyz says 503. A second signal cuts short what is left.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(flatten)]
    pub(super) options: ServeOptions,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.options.validate()?;
        super::start_logging(&config.telemetry)?;
        app::serve(config).await
    }
}
