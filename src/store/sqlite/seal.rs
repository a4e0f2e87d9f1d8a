//! Sealing what an older version stored in plaintext, once.
//!
//! The caller holds the lock that migrations take. Each batch is a transaction, so a process that
//! is killed leaves whole batches behind. A row that is sealed is logged as changed; its value is
//! the same, and its revision is a new one.

use sqlx::{Connection, SqliteConnection};

use super::BEGIN;
use crate::crypto::{Keyring, Sealed};
use crate::store::MigrateError;
use crate::store::seal::{BATCH, PlainRow, Progress};

const IS_DONE: &str = "SELECT EXISTS (SELECT 1 FROM tenant_sealing)";
const DONE: &str = "INSERT OR IGNORE INTO tenant_sealing DEFAULT VALUES";
const ANY: &str = "\
    SELECT EXISTS (SELECT 1 FROM tenant_credentials) \
        OR EXISTS (SELECT 1 FROM tenant_credential_history)";
/// The file written anew, and then nothing of the old one left in the write-ahead log: pages that
/// were freed keep their bytes.
const REWRITE: [&str; 2] = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"];

macro_rules! plain_rows {
    ($table:literal) => {
        concat!(
            "SELECT tenant_id, credential_type, version, id, credentials FROM ",
            $table,
            " WHERE credentials IS NOT NULL LIMIT ?1"
        )
    };
}

macro_rules! replace {
    ($table:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET credentials = NULL, sealed = ?4, key_id = ?5, wrapped_key = ?6 \
             WHERE (tenant_id, credential_type, version) = (?1, ?2, ?3)"
        )
    };
}

/// The statements that find rows in plaintext, and replace one.
const TABLES: [(&str, &str); 2] = [
    (plain_rows!("tenant_credentials"), replace!("tenant_credentials")),
    (plain_rows!("tenant_credential_history"), replace!("tenant_credential_history")),
];

/// Seals every row that is in plaintext, unless that was done before.
pub(super) async fn seal_plaintext(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
) -> Result<(), MigrateError> {
    if sqlx::query_scalar(IS_DONE).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let mut progress = Progress::default();
    for statements in TABLES {
        loop {
            let rows = batch(connection, keyring, statements).await?;
            if rows == 0 {
                break;
            }
            progress.add(rows);
        }
    }
    if sqlx::query_scalar(ANY).fetch_one(&mut *connection).await? {
        for statement in REWRITE {
            if let Err(error) = sqlx::query(statement).execute(&mut *connection).await {
                progress.lingers(&error.into(), statement);
            }
        }
    }
    sqlx::query(DONE).execute(connection).await?;
    progress.done();
    Ok(())
}

/// Seals some of the rows that are in plaintext, and says how many.
async fn batch(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    (find, replace): (&'static str, &'static str),
) -> Result<usize, MigrateError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let rows: Vec<PlainRow> = sqlx::query_as(find).bind(BATCH).fetch_all(&mut *transaction).await?;
    for row in &rows {
        let sealed = row.sealed(keyring).map_err(MigrateError::Failed)?;
        let Sealed { sealed, key_id, wrapped_key } = sealed;
        sqlx::query(replace)
            .bind(&row.tenant_id)
            .bind(&row.credential_type)
            .bind(row.version)
            .bind(sealed)
            .bind(key_id)
            .bind(wrapped_key)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(rows.len())
}
