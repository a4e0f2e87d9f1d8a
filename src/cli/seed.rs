//! `tenant-service seed`

use std::path::PathBuf;

use anyhow::Context;

use crate::app::{Core, SeedFile, SeedReport, load, parse};
use crate::config::SeedOptions;
use crate::domain::By;

/// Load tenants and credentials from JSON files, through the service
///
/// A file is an object with a list "tenants". Each tenant has the fields of POST /api/tenants, its
/// "id" among them, and may have "credentials", by type:
///
///   {"tenants": [{"id": "acme", "name": "Acme", "phone_number_id": "555000111",
///     "credentials": {"whatsapp": {"access_token": "the-token"}}}]}
///
/// All files are read first, as strictly as requests; where there is a mistake in one, nothing is
/// written. A tenant is created with its credentials or not at all, and every replica is told. One
/// that exists already, suspended or not, is left as it is. So it is safe to run again, and goes on
/// where a run before it stopped. When it has ended, no replica serves what was before it.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Command {
    /// Files to load [default: the demo tenant]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    options: SeedOptions,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        let given = self.options.validate()?;
        super::start_logging(&given.telemetry)?;
        let files = read(self.files)?;
        Core::run_command(&given, async |core| load_all(core, files).await).await
    }
}

fn read(files: Vec<PathBuf>) -> anyhow::Result<Vec<SeedFile>> {
    if files.is_empty() {
        return Ok(vec![SeedFile::demo()?]);
    }
    let read = |path: PathBuf| {
        let name = path.display().to_string();
        let text = std::fs::read(&path).with_context(|| format!("reading {name}"))?;
        anyhow::Ok((name, text))
    };
    parse(files.into_iter().map(read).collect::<Result<_, _>>()?)
}

async fn load_all(core: &Core, files: Vec<SeedFile>) -> anyhow::Result<()> {
    for file in files {
        let name = file.name.clone();
        let loaded = load(core.store.as_ref(), &core.service, file, &By::command("seed")).await;
        let SeedReport { created, kept } = loaded.with_context(|| {
            format!("loading {name} (what was loaded before stays; run it again for the rest)")
        })?;
        tracing::info!(created, kept, "loaded {name}");
    }
    Ok(())
}
