//! The file of SQLite, and the schema in it.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::seal::seal_plaintext;
use super::{BEGIN, BUSY_TIMEOUT, Sqlite};
use crate::crypto::Keyring;
use crate::store::migrate::{APPLIED, Applied, RECORD, TABLES, is_up_to_date};
use crate::store::{Cause, MigrateError, StoreError};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

// SQLite's names are the same in any case.
const PRESENT: &str = "SELECT name FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";

const CAN_HOLD_SEALED: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tenant_sealing')";
const HOLDS_SEALED: &str = "\
    SELECT EXISTS (SELECT 1 FROM tenant_credentials WHERE sealed IS NOT NULL) \
        OR EXISTS (SELECT 1 FROM tenant_credential_history WHERE sealed IS NOT NULL)";
const CAN_HOLD_TOKENS: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tenant_token_pepper')";
const HOLDS_TOKENS: &str = "SELECT EXISTS (SELECT 1 FROM tenant_token_pepper)";
const CAN_HOLD_TRAIL: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tenant_audit_chain')";
const HOLDS_TRAIL: &str = "SELECT EXISTS (SELECT 1 FROM tenant_audit_chain)";

impl Sqlite {
    /// Whether there is such a file and it has something sealed (credentials, the key of tokens, that of
    /// the audit trail), which only its keyring opens.
    /// Changes nothing, and makes no file.
    ///
    /// # Errors
    /// The file is there, and not ours.
    pub async fn holds_sealed(path: &Path) -> Result<bool, MigrateError> {
        if is_empty(path) { Ok(false) } else { look(path).await }
    }

    /// Creates the file if need be, readable by its owner alone, for it holds secrets; and brings
    /// the schema up to this version's. Processes that start at once wait for each other.
    ///
    /// A file that is not ours is left as it is, and no file is made beside it. What is done to
    /// ours is one transaction, so that a failure leaves nothing behind. What an older version has
    /// stored in plaintext is sealed after it, in transactions of its own.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let path = || self.path.clone();
        create_private(&self.path).map_err(|source| MigrateError::File { path: path(), source })?;
        if !is_empty(&self.path) {
            look(&self.path).await?;
        }
        let lock = self.path.with_extension("migrate.lock");
        // The wait may be long, and must not hold up a thread that others are served by.
        let lock = tokio::task::spawn_blocking(move || locked(&lock)).await;
        let lock =
            lock.map_err(|error| MigrateError::Failed(StoreError::Unexpected(Cause::new(error))))?;
        let lock = lock.map_err(MigrateError::Lock)?;
        // The writer's first connection: it turns the file into one with a write-ahead log.
        let mut connection = self.writer.acquire().await?;
        let result = migrate(&mut connection, &self.keyring).await;
        drop(lock);
        result
    }
}

fn is_empty(path: &Path) -> bool {
    path.metadata().map_or(true, |file| file.len() == 0)
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

/// Refuses a file that is not ours, before anything is written to it or beside it.
///
/// SQLite's own locks are taken, as by any reader. A write-ahead log that is there already is in
/// use, or is what a crash has left, and a connection that may only read leaves it so. Where there
/// is none, SQLite makes one for as long as we look, if the file asks for it, and removes it when
/// the connection ends, unless it may only read.
///
/// Says whether there are sealed credentials in it.
async fn look(path: &Path) -> Result<bool, MigrateError> {
    let unusable = |error: sqlx::Error| MigrateError::NotADatabase {
        path: path.to_owned(),
        source: error.into(),
    };
    let mut log = OsString::from(path);
    log.push("-wal");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(Path::new(&log).exists())
        .busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(unusable)?;
    let looked = match seen(&mut connection).await {
        Err(MigrateError::Failed(source)) => {
            Err(MigrateError::NotADatabase { path: path.to_owned(), source })
        }
        looked => looked,
    };
    connection.close().await.map_err(unusable)?;
    looked
}

async fn seen(connection: &mut SqliteConnection) -> Result<bool, MigrateError> {
    is_complete(connection).await?;
    for (can_hold, holds) in [
        (CAN_HOLD_SEALED, HOLDS_SEALED),
        (CAN_HOLD_TOKENS, HOLDS_TOKENS),
        (CAN_HOLD_TRAIL, HOLDS_TRAIL),
    ] {
        if sqlx::query_scalar(can_hold).fetch_one(&mut *connection).await?
            && sqlx::query_scalar(holds).fetch_one(&mut *connection).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
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

async fn migrate(connection: &mut SqliteConnection, keyring: &Keyring) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // Again, and now nobody else writes.
    if !is_complete(&mut transaction).await? {
        // Not `run`, whose future can't move between threads (its bound on the connection is too
        // strict).
        MIGRATOR.run_direct(None, &mut *transaction, false).await?;
    }
    transaction.commit().await?;
    seal_plaintext(connection, keyring).await
}

/// Whether every migration has been applied. Refuses a database whose tables of our names our
/// migrations have not made.
async fn is_complete(connection: &mut SqliteConnection) -> Result<bool, MigrateError> {
    if is_present(connection, RECORD).await? {
        let applied = sqlx::query_as::<_, Applied>(APPLIED).fetch_all(connection).await;
        return is_up_to_date(&MIGRATOR, &applied.map_err(Applied::unreadable)?);
    }
    let mut tables = Vec::new();
    for table in TABLES {
        if is_present(connection, table).await? {
            tables.push(table.to_owned());
        }
    }
    if tables.is_empty() { Ok(false) } else { Err(MigrateError::ForeignSchema { tables }) }
}

async fn is_present(connection: &mut SqliteConnection, name: &str) -> Result<bool, sqlx::Error> {
    let found: Option<String> =
        sqlx::query_scalar(PRESENT).bind(name).fetch_optional(connection).await?;
    Ok(found.is_some())
}
