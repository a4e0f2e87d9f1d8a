//! SQLite: the embedded default, for one process on one machine.

mod audit;
mod changes;
mod credentials;
mod expiry;
mod migrate;
mod replicas;
mod sampling;
mod seal;
mod tenants;
mod tokens;
mod versions;
mod wrap;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::seal::announce_refusals;
use super::{Store, StoreResult};
use crate::crypto::Keyring;
use crate::telemetry::metrics::timed_query;

/// How long to wait for a lock that another process holds (the `sqlite3` shell, a command).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the writer, which every write of this process shares.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Begins a write with the lock that it needs, for one that is begun as a read can't always be
/// made a write.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// A store in an SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    keyring: Arc<Keyring>,
    /// One connection: SQLite has one writer at a time, and queues are fairer than its lock.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// A store in this file, which [`Sqlite::migrate`] creates if need be, and whose credentials this
    /// keyring seals. Nothing is opened before that has found it to be ours. Needs a Tokio runtime
    /// around it.
    #[must_use]
    pub fn at(path: &Path, keyring: Arc<Keyring>) -> Self {
        let options = SqliteConnectOptions::new()
            .journal_mode(SqliteJournalMode::Wal)
            // What is acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            // What is deleted or replaced is overwritten: of what was destroyed nothing stays.
            .pragma("secure_delete", "ON");
        Self::with(options, path, keyring)
    }

    /// The same, through which nothing can be written. There has to be such a file.
    #[must_use]
    pub fn read_only(path: &Path, keyring: Arc<Keyring>) -> Self {
        Self::with(SqliteConnectOptions::new().read_only(true), path, keyring)
    }

    fn with(options: SqliteConnectOptions, path: &Path, keyring: Arc<Keyring>) -> Self {
        let options = options.filename(path).busy_timeout(BUSY_TIMEOUT).foreign_keys(true);
        let pool = |size: u32| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        announce_refusals();
        Self { path: path.to_owned(), keyring, writer, readers }
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn ping(&self) -> StoreResult<()> {
        timed_query("ping", async {
            sqlx::query("SELECT 1").execute(&self.readers).await?;
            Ok(())
        })
        .await
    }

    async fn is_empty(&self) -> StoreResult<bool> {
        timed_query("tenants", tenants::none(&self.readers)).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
