//! The schema of PostgreSQL.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use super::Postgres;
use super::changes::identity;
use crate::store::MigrateError;
use crate::store::migrate::TABLES;

/// A server that takes the connection and says nothing is away too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// `server_version_num` of the first version that has `xid8` and `pg_snapshot`.
const OLDEST: i32 = 130_000;

// One number among the advisory locks of the database, chosen at random.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7061931842405519)";
const SERVER: &str = "\
    SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
        pg_is_in_recovery() OR current_setting('transaction_read_only')::bool";
const PRESENT: &str = "\
    SELECT relname::text FROM pg_class \
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) \
        AND relname = ANY ($1) ORDER BY relname";
const APPLIED: &str = "SELECT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = $1)";
const STRANGE_LOG: &str =
    concat!("SELECT database IS DISTINCT FROM ", identity!(), " FROM tenant_changes_horizon");
const FORGET_LOG: &str = "TRUNCATE tenant_changes";
const ADOPT_LOG: &str =
    concat!("UPDATE tenant_changes_horizon SET pruned_below = 0, database = ", identity!());

impl Postgres {
    /// Brings the schema up to this version's. Replicas that start at once wait for each other.
    ///
    /// All of it is one transaction on a connection of its own, so that a refusal or a failure
    /// leaves nothing behind, and no bound on statements cuts a long migration short.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let connect = PgConnection::connect_with(&self.options);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        let silent = |_| std::io::Error::new(ErrorKind::TimedOut, "the server does not answer");
        let mut connection = connected.map_err(silent).map_err(sqlx::Error::Io)??;
        let result = migrate(&mut connection).await;
        // The result stands whether or not the server hears our farewell.
        let _ = connection.close().await;
        result
    }
}

async fn migrate(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let (number, found, read_only): (i32, String, bool) =
        sqlx::query_as(SERVER).fetch_one(&mut *connection).await?;
    if number < OLDEST {
        return Err(MigrateError::TooOld { found });
    }
    if read_only {
        return Err(MigrateError::ReadOnly);
    }

    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    refuse_foreign(&mut transaction).await?;
    // The lock is ours already.
    let mut migrator = Migrator { migrations: MIGRATOR.migrations.clone(), ..Migrator::DEFAULT };
    migrator.set_locking(false);
    // Not `run`, whose future can't move between threads (its bound on the connection is too strict).
    migrator.run_direct(None, &mut *transaction, false).await?;
    adopt_log(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Refuses a database whose tables of our names our migrations have not made.
async fn refuse_foreign(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let mut tables = present(connection, &TABLES).await?;
    if tables.is_empty() {
        return Ok(());
    }
    if !present(connection, &["_sqlx_migrations"]).await?.is_empty() {
        let first = MIGRATOR.iter().map(|migration| migration.version).min();
        let ours: bool =
            sqlx::query_scalar(APPLIED).bind(first).fetch_one(&mut *connection).await?;
        if ours {
            tables.clear();
        }
    }
    if tables.is_empty() { Ok(()) } else { Err(MigrateError::ForeignSchema { tables }) }
}

async fn present(
    connection: &mut PgConnection,
    names: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(PRESENT).bind(names).fetch_all(connection).await
}

/// Empties a log that was written in another database and came here in a dump. Its transaction
/// ids mean nothing here, and its horizon may lie ahead of every cursor that there will be.
async fn adopt_log(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let strange: bool = sqlx::query_scalar(STRANGE_LOG).fetch_one(&mut *connection).await?;
    if strange {
        sqlx::query(FORGET_LOG).execute(&mut *connection).await?;
        sqlx::query(ADOPT_LOG).execute(connection).await?;
    }
    Ok(())
}
