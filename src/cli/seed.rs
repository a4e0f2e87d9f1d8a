//! `tenant-service seed`

use std::path::PathBuf;

use anyhow::Context;

use crate::app::{Core, DEMO, SeedReport, seed};
use crate::config::Options;
use crate::service::Service;
use crate::telemetry::logging::chain;

/// Loads tenants and credentials from JSON files, through the service: validated like any request,
/// and told to all replicas.
///
/// A file is an object with a list `tenants`; each has the fields of `POST /api/tenants`, its `id`
/// among them, and may have `credentials` by type. Without a file the demo tenant is loaded. A
/// tenant that exists is left as it is, so it is safe to run again. A file with a mistake in it is
/// refused before anything is written.
#[derive(Debug, clap::Args)]
pub struct Command {
    /// Files to load [default: the demo tenant]
    files: Vec<PathBuf>,

    #[command(flatten)]
    options: Options,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        let config = super::start(self.options)?;
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("reading {}", path.display()))?;
            anyhow::Ok((path.display().to_string(), text))
        };
        let files = if self.files.is_empty() {
            vec![("the demo".to_owned(), DEMO.to_owned())]
        } else {
            self.files.into_iter().map(read).collect::<Result<_, _>>()?
        };
        let core = Core::build(&config).await?;
        if let Some(l2) = &core.l2
            && let Err(error) = l2.connect().await
        {
            let error = chain(&error);
            tracing::warn!(error, "Redis is out of reach; replicas learn of this by other sources");
        }
        let loaded = load(&core.service, files).await;
        // Also after a failure: what was committed before it has to be told.
        core.close().await;
        loaded
    }
}

async fn load(service: &Service, files: Vec<(String, String)>) -> anyhow::Result<()> {
    for (name, text) in files {
        let SeedReport { created, kept } =
            seed(service, &text).await.with_context(|| format!("loading {name}"))?;
        tracing::info!(created, kept, "loaded {name}");
    }
    Ok(())
}
