//! The schema of SQLite.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::{Connection, SqliteConnection};

use super::{BEGIN, Sqlite};
use crate::store::migrate::TABLES;
use crate::store::{Cause, MigrateError, StoreError};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

const PRESENT: &str = "SELECT name FROM sqlite_schema WHERE name = ?1";
const APPLIED: &str = "SELECT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = ?1)";

impl Sqlite {
    /// Brings the schema up to this version's. Processes that start at once wait for each other.
    ///
    /// All of it is one transaction, so that a refusal or a failure leaves nothing behind.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let lock = self.path.with_extension("migrate.lock");
        // The wait may be long, and must not hold up a thread that others are served by.
        let lock = tokio::task::spawn_blocking(move || locked(&lock)).await;
        let lock =
            lock.map_err(|error| MigrateError::Failed(StoreError::Unexpected(Cause::new(error))))?;
        let lock = lock.map_err(MigrateError::Lock)?;
        let mut connection = self.writer.acquire().await?;
        let result = migrate(&mut connection).await;
        drop(lock);
        result
    }
}

/// Held until the file is closed. It stays behind, empty: to remove it would let a third process
/// lock another file of the same name.
fn locked(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let file = options.open(path)?;
    file.lock()?;
    Ok(file)
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    refuse_foreign(&mut transaction).await?;
    // Not `run`, whose future can't move between threads (its bound on the connection is too strict).
    MIGRATOR.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}

/// Refuses a database whose tables of our names our migrations have not made.
async fn refuse_foreign(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut tables = Vec::new();
    for table in TABLES {
        if present(connection, table).await? {
            tables.push(table.to_owned());
        }
    }
    if !tables.is_empty() && present(connection, "_sqlx_migrations").await? {
        let first = MIGRATOR.iter().map(|migration| migration.version).min();
        let ours: bool =
            sqlx::query_scalar(APPLIED).bind(first).fetch_one(&mut *connection).await?;
        if ours {
            tables.clear();
        }
    }
    if tables.is_empty() { Ok(()) } else { Err(MigrateError::ForeignSchema { tables }) }
}

async fn present(connection: &mut SqliteConnection, name: &str) -> Result<bool, sqlx::Error> {
    let found: Option<String> =
        sqlx::query_scalar(PRESENT).bind(name).fetch_optional(connection).await?;
    Ok(found.is_some())
}
