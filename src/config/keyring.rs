//! Where the keys are by which credentials are sealed.

use std::path::PathBuf;

use super::given::Given;
use super::{Database, Mistakes};

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Keyring")]
#[group(skip)]
pub(super) struct Options {
    /// File of the keys by which credentials are sealed: the same for every replica. Needed with
    /// Postgres; `tenant-service keys generate` makes one. Default with SQLite: keyring.json beside
    /// the database, made at the first start. A service that runs reads it again every two seconds,
    /// and on SIGHUP
    #[arg(long, env = "KEYRING_FILE", value_name = "FILE")]
    keyring_file: Option<Given>,
}

/// Where the keys are by which credentials are sealed.
#[derive(Debug, Clone)]
pub struct KeyringFile {
    /// The file.
    pub path: PathBuf,
    /// Nobody has named it: it is made for a database without credentials.
    pub is_made: bool,
}

impl Options {
    /// Which file it is with this database.
    pub fn validate(
        self,
        database: Option<&Database>,
        mistakes: &mut Mistakes,
    ) -> Option<KeyringFile> {
        match (self.keyring_file, database?) {
            (Some(given), _) => {
                let path = given.into_path();
                if path.as_os_str().is_empty() {
                    mistakes.note("KEYRING_FILE", "must be the path of a file");
                    return None;
                }
                Some(KeyringFile { path, is_made: false })
            }
            (None, Database::Sqlite { path, .. }) => {
                Some(KeyringFile { path: path.with_file_name("keyring.json"), is_made: true })
            }
            (None, Database::Postgres { .. }) => {
                mistakes.note(
                    "KEYRING_FILE",
                    "is needed with Postgres, for credentials are sealed before they are stored. Make a keyring once with `tenant-service keys generate --file keyring.json`, keep a backup of it, and give every replica the same",
                );
                None
            }
        }
    }
}
