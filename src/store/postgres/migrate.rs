//! The schema of PostgreSQL.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError as Failure, Migrator};
use sqlx::{Connection, FromRow, PgConnection};

use super::Postgres;
use super::changes::identity;
use super::seal::seal_plaintext;
use crate::crypto::Keyring;
use crate::store::MigrateError;
use crate::store::migrate::{APPLIED, Applied, RECORD, TABLES, is_up_to_date};

/// A server that takes the connection and says nothing is away too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// `server_version_num` of the first version that has `xid8` and `pg_snapshot`.
const OLDEST: i32 = 130_000;

// One number among the advisory locks of the database, chosen at random.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock(7061931842405519)";
const SERVER: &str = "\
    SELECT current_setting('server_version_num')::int AS number, \
        current_setting('server_version') AS version, \
        current_setting('server_encoding') AS encoding, \
        pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only";
const PRESENT: &str = "\
    SELECT relname::text FROM pg_class \
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) \
        AND relname = ANY ($1) ORDER BY relname";
const STRANGE_LOG: &str =
    concat!("SELECT database IS DISTINCT FROM ", identity!(), " FROM tenant_changes_horizon");
// Not TRUNCATE, which is a right that a replica's role has no other use for.
const FORGET_LOG: &str = "DELETE FROM tenant_changes";
const ADOPT_LOG: &str =
    concat!("UPDATE tenant_changes_horizon SET pruned_below = 0, database = ", identity!());

#[derive(FromRow)]
struct Server {
    number: i32,
    version: String,
    encoding: String,
    read_only: bool,
}

impl Postgres {
    /// Brings the schema up to this version's. Replicas that start at once wait for each other.
    ///
    /// All of it is one transaction on a connection of its own, so that a refusal or a failure
    /// leaves nothing behind, and no bound on statements cuts a long migration short. What an older
    /// version has stored in plaintext is sealed after it, in transactions of its own. Where there
    /// is nothing to do, it takes no right that a replica does not need.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let connect = PgConnection::connect_with(&self.options);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        let silent = |_| std::io::Error::new(ErrorKind::TimedOut, "the server does not answer");
        let mut connection = connected.map_err(silent).map_err(sqlx::Error::Io)??;
        let result = migrate(&mut connection, &self.keyring).await;
        // The result stands whether or not the server hears our farewell.
        let _ = connection.close().await;
        result
    }
}

async fn migrate(connection: &mut PgConnection, keyring: &Keyring) -> Result<(), MigrateError> {
    let server = sqlx::query_as::<_, Server>(SERVER).fetch_one(&mut *connection).await?;
    if server.number < OLDEST {
        return Err(MigrateError::TooOld { found: server.version });
    }
    if server.encoding != "UTF8" {
        return Err(MigrateError::Encoding { found: server.encoding });
    }
    if server.read_only {
        return Err(MigrateError::ReadOnly);
    }

    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    if !is_complete(&mut transaction).await? {
        // The lock is ours already.
        let mut migrator =
            Migrator { migrations: MIGRATOR.migrations.clone(), ..Migrator::DEFAULT };
        migrator.set_locking(false);
        // Not `run`, whose future can't move between threads (its bound on the connection is too
        // strict).
        migrator.run_direct(None, &mut *transaction, false).await.map_err(named)?;
    }
    adopt_log(&mut transaction).await?;
    transaction.commit().await?;
    seal_plaintext(connection, keyring).await
}

/// Whether every migration has been applied. Refuses a database whose tables of our names our
/// migrations have not made.
async fn is_complete(connection: &mut PgConnection) -> Result<bool, MigrateError> {
    if !present(connection, &[RECORD]).await?.is_empty() {
        let applied = sqlx::query_as::<_, Applied>(APPLIED).fetch_all(connection).await;
        return is_up_to_date(&MIGRATOR, &applied.map_err(Applied::unreadable)?);
    }
    let tables = present(connection, &TABLES).await?;
    if tables.is_empty() { Ok(false) } else { Err(MigrateError::ForeignSchema { tables }) }
}

/// The same failure, by its name where rights are missing, or the schema to create tables in.
fn named(failure: Failure) -> MigrateError {
    match failure {
        Failure::Execute(error) | Failure::ExecuteMigration(error, _)
            if has_code(&error, &["42501", "3F000"]) =>
        {
            MigrateError::NotOwner(error.into())
        }
        other => other.into(),
    }
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| codes.contains(&&*code))
}

/// A failure of what only the owner may do.
pub(super) fn of_owner(error: sqlx::Error) -> MigrateError {
    if has_code(&error, &["42501"]) { MigrateError::NotOwner(error.into()) } else { error.into() }
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
