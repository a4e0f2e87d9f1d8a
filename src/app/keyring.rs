//! The keyring of a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{Database, KeyringFile};
use crate::crypto::{Keyring, KeyringError, Reason};
use crate::store::Sqlite;
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{KEYRING_KEYS, KEYRING_RELOAD_FAILURES, counter_of, gauge_of};

/// How often the file is read again. Whoever replaces a key waits for every replica.
const RENEWAL: Duration = Duration::from_secs(2);
/// A file that can't be used is told of so often.
const TOLD_EVERY: Duration = Duration::from_mins(1);

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

/// A keyring that becomes what its file becomes.
pub(super) struct Watched {
    keyring: Arc<Keyring>,
    path: PathBuf,
    told: Option<Instant>,
}

impl Watched {
    /// The keyring that was read from this file.
    pub fn of(keyring: Arc<Keyring>, path: &Path) -> Self {
        counter_of(KEYRING_RELOAD_FAILURES, &[]).increment(0);
        count(&keyring);
        Self { keyring, path: path.to_owned(), told: None }
    }

    /// Reads the file now. Where it can't be used, the log says why, and the keys stay.
    pub async fn reload(&mut self) {
        let (keyring, path) = (Arc::clone(&self.keyring), self.path.clone());
        // A file on a network may take its time.
        let Ok(reloaded) = tokio::task::spawn_blocking(move || keyring.reload(&path)).await else {
            return;
        };
        match reloaded {
            Ok(changed) => {
                if changed {
                    let (primary, keys) = (self.keyring.primary(), self.keyring.ids().join(" "));
                    tracing::info!(primary, keys, "the keyring has changed");
                    count(&self.keyring);
                } else if self.told.is_some() {
                    tracing::info!("the keyring can be used again, and is as it was before");
                }
                self.told = None;
            }
            Err(error) => {
                counter_of(KEYRING_RELOAD_FAILURES, &[]).increment(1);
                if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    self.told = Some(Instant::now());
                    tracing::error!(
                        error = chain(&error),
                        "the keyring can't be read again; the keys that were read before stay"
                    );
                }
            }
        }
    }

    /// Reads the file again and again, and on SIGHUP, until `stop`.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                tracing::error!(%error, "SIGHUP can't be received");
                return;
            }
        };
        let mut tick = interval(RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                _ = hangups.recv() => {}
            }
            self.reload().await;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a file has a few keys")]
fn count(keyring: &Keyring) {
    gauge_of(KEYRING_KEYS, &[]).set(keyring.size() as f64);
}
