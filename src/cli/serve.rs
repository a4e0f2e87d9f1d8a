//! `tenant-service serve`

use crate::app;
use crate::config::Options;

/// Serves until SIGTERM or SIGINT, then finishes the requests in flight (for at most 20 s).
///
/// Migrates the database first; any number of replicas may start at once.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(flatten)]
    pub(super) options: Options,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        app::serve(super::start(self.options)?).await
    }
}
