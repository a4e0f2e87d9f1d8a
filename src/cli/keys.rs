//! `tenant-service keys`

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use crate::app;
use crate::config::{KeysOptions, RotateOptions};
use crate::crypto::Keyring;

/// Make and replace the keys by which credentials are sealed
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(subcommand)]
    command: Keys,
}

#[derive(Debug, Subcommand)]
enum Keys {
    Generate(Generate),
    Rotate(Rotate),
    Retire(Retire),
    Status(Status),
}

/// Make a keyring of one new key
///
/// A file that is there is left as it is. The new one can be read by its owner alone. Every replica
/// needs the same, named by KEYRING_FILE: copy it, or mount it as a secret. Its group may read it,
/// nobody else may.
///
/// Keep a backup of it, apart from those of the database: without it the credentials in the database
/// can't be read by anybody, and with it by everybody who has both.
#[derive(Debug, clap::Args)]
struct Generate {
    /// Where to put it
    #[arg(long, env = "KEYRING_FILE", default_value = "keyring.json", value_name = "FILE")]
    file: PathBuf,
}

/// Replace the key by which credentials are sealed, while replicas serve
///
/// Adds a key to the file of KEYRING_FILE; waits until every replica holds it; has them seal by it;
/// and then gives it to every row that has another one, superseded versions included. No version
/// changes by that, no change is logged, nothing that is cached is evicted.
///
/// Replicas read the file again by themselves, every two seconds. Where they have copies of it, this
/// waits (--wait) until they have been given the new one, twice: once with the new key, and once
/// when it has become the primary one. It names those it waits for.
///
/// Killed at any point, or where it has given up, it goes on from there when it is run again: with
/// a key that was added and not yet used, or with the rows that are left. Only where there is
/// neither, or with --instead-of, it adds another key.
///
/// The old key stays in the file until `tenant-service keys retire`.
#[derive(Debug, clap::Args)]
struct Rotate {
    #[command(flatten)]
    options: RotateOptions,
}

/// Take the keys out of the keyring that no row needs
///
/// All but the primary one, and one that is about to be it. Refuses, and changes nothing, while a row
/// names one of them or a replica seals by it. From then on the database refuses every row that
/// names one. A backup of the database from before needs them still: keep a copy of the keyring
/// with it.
#[derive(Debug, clap::Args)]
struct Retire {
    #[command(flatten)]
    options: KeysOptions,
}

/// Show which keys there are, how many rows name each, and which replicas hold it
///
/// Reads the database through connections that can't write, and migrates nothing.
///
/// Ends with 0; with 1 if there are rows that no key of the keyring opens; with 2 if that could not
/// be found out.
#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    options: KeysOptions,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Command {
    pub async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Keys::Generate(command) => command.run()?,
            Keys::Rotate(command) => command.run().await?,
            Keys::Retire(command) => command.run().await?,
            Keys::Status(command) => {
                // 1 is for what it has found.
                let code = ExitCode::from(2);
                return command.run().await.map_err(|error| Failure { error, code });
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    async fn run(self) -> anyhow::Result<()> {
        let (plan, database, keyring) = self.options.validate()?;
        print(&app::rotate(&plan, &database, &keyring).await?);
        Ok(())
    }
}

impl Retire {
    async fn run(self) -> anyhow::Result<()> {
        let (database, keyring) = self.options.validate()?;
        print(&app::retire(&database, &keyring).await?);
        Ok(())
    }
}

impl Status {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (database, keyring) = self.options.validate()?;
        let report = app::status(&database, &keyring).await?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&report)?));
        } else {
            print(&report.to_string());
        }
        Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

impl Generate {
    fn run(self) -> anyhow::Result<()> {
        let file = self.file;
        let keyring = Keyring::generate(&file)?;
        let path = file.canonicalize().unwrap_or(file);
        print(&format!(
            "{path}\n\n\
             This keyring has one key, {key}. Next:\n\
             - keep a backup of it, apart from those of the database: without it the credentials\n  \
               that are sealed by it are lost;\n\
             - give every replica the same file, and set KEYRING_FILE={path} there.\n",
            path = path.display(),
            key = keyring.primary(),
        ));
        Ok(())
    }
}

/// Whoever reads it may have enough; what was done is done.
fn print(text: &str) {
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
}
