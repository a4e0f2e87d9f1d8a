//! The keyring of a database.

use std::sync::Arc;

use crate::config::{Database, KeyringFile};
use crate::crypto::{Keyring, KeyringError, Reason};
use crate::store::Sqlite;

/// Reads the keyring; makes one where nobody has named any, and nothing is sealed yet.
///
/// # Errors
/// It can't be used, or it is lost.
pub(super) async fn open(file: &KeyringFile, database: &Database) -> anyhow::Result<Arc<Keyring>> {
    let Database::Sqlite { path, .. } = database else { return existing(file) };
    if !file.is_made {
        return existing(file);
    }
    // In this order: what was sealed was sealed by a keyring that was there before.
    let is_sealed = Sqlite::holds_sealed(path).await?;
    match Keyring::load(&file.path) {
        Err(KeyringError { reason: Reason::Missing, .. }) if !is_sealed => {}
        Err(KeyringError { reason: Reason::Missing, path: missing }) => {
            anyhow::bail!(
                "{} is gone, and the credentials in {} are sealed by its keys: they can't be read \
                 without it. Restore it from your backup, or name the file that it is now in by \
                 KEYRING_FILE",
                missing.display(),
                path.display()
            );
        }
        found => return Ok(Arc::new(found?)),
    }
    match Keyring::generate(&file.path) {
        Ok(made) => {
            tracing::info!(
                file = %file.path.display(),
                "made a keyring; keep a backup of it: without it credentials can't be read"
            );
            Ok(Arc::new(made))
        }
        // By another process, that starts at the same time.
        Err(KeyringError { reason: Reason::Exists, .. }) => existing(file),
        Err(error) => Err(error.into()),
    }
}

/// Reads the keyring, and makes none.
///
/// # Errors
/// It can't be used.
pub(super) fn existing(file: &KeyringFile) -> anyhow::Result<Arc<Keyring>> {
    Ok(Arc::new(Keyring::load(&file.path)?))
}
