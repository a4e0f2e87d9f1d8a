//! `tenant-service keys`

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use crate::crypto::Keyring;

/// Make the keys by which credentials are sealed
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(subcommand)]
    command: Keys,
}

#[derive(Debug, Subcommand)]
enum Keys {
    Generate(Generate),
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

impl Command {
    pub fn run(self) -> anyhow::Result<()> {
        let Keys::Generate(Generate { file }) = self.command;
        let keyring = Keyring::generate(&file)?;
        let path = file.canonicalize().unwrap_or(file);
        let text = format!(
            "{path}\n\n\
             This keyring has one key, {key}. Next:\n\
             - keep a backup of it, apart from those of the database: without it the credentials\n  \
               that are sealed by it are lost;\n\
             - give every replica the same file, and set KEYRING_FILE={path} there.\n",
            path = path.display(),
            key = keyring.primary(),
        );
        // Whoever reads it may have enough; the file is there.
        drop(std::io::stdout().lock().write_all(text.as_bytes()));
        Ok(())
    }
}
