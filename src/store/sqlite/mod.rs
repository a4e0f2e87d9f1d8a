//! SQLite: the embedded default, for one process on one machine.

mod changes;
mod credentials;
mod migrate;
mod tenants;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Store, StoreError, StoreResult};
use crate::telemetry::metrics::timed_query;

/// How long to wait for a lock that another process holds (the `sqlite3` shell, a command).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the writer, which every write of this process shares.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Begins a write with the lock that it needs, for one that is begun as a read can't always be
/// made a write.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The file can't be created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file, or the folder it is in, can't be created or read.
    #[error("{} cannot be created or opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        #[source]
        /// Why.
        source: io::Error,
    },
    /// The file is there, and no database that can be worked with.
    #[error("{} cannot be used as a database", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        #[source]
        /// Why.
        source: StoreError,
    },
}

/// A store in an SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    /// One connection: SQLite has one writer at a time, and queues are fairer than its lock.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the database, creating it if need be, readable by its owner alone: it holds secrets.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        create_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What is acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = |size: u32| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        // The writer first: it may have to turn the file into one with a write-ahead log.
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(|error| OpenError::Database { path: path.to_owned(), source: error.into() })?;
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self { path: path.to_owned(), writer, readers })
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates the file and the folders above it where they are missing. SQLite gives its other files
/// the permissions of this one.
fn create_private(path: &Path) -> io::Result<()> {
    let mut folders = DirBuilder::new();
    let mut file = OpenOptions::new();
    file.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        folders.mode(0o700);
        file.mode(0o600);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        folders.recursive(true).create(folder)?;
    }
    file.open(path).map(drop)
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
