//! Sealing what an older version stored in plaintext, once.
//!
//! Each batch is a transaction, and begins with the lock that migrations take: whoever starts
//! meanwhile joins in, and a process that is killed leaves whole batches behind. A row that is
//! sealed is logged as changed; its value is the same, and its revision is a new one.

use sqlx::{Connection, FromRow, PgConnection};

use super::migrate::{LOCK, of_owner};
use crate::crypto::Keyring;
use crate::store::MigrateError;
use crate::store::seal::{BATCH, PlainRow, Progress};

const IS_DONE: &str = "SELECT EXISTS (SELECT 1 FROM tenant_sealing)";
const DONE: &str = "INSERT INTO tenant_sealing DEFAULT VALUES ON CONFLICT DO NOTHING";
/// Fails where any plaintext is left.
const VALIDATE: [&str; 2] = [
    "ALTER TABLE tenant_credentials VALIDATE CONSTRAINT tenant_credentials_sealed_check",
    "ALTER TABLE tenant_credential_history \
        VALIDATE CONSTRAINT tenant_credential_history_sealed_check",
];
const ANY: &str = "\
    SELECT EXISTS (SELECT 1 FROM tenant_credentials) \
        OR EXISTS (SELECT 1 FROM tenant_credential_history)";
/// Somebody who reads for hours (a dump) must not keep a replica from starting.
const PATIENCE: &str = "SET lock_timeout = '10s'";
/// Each writes its table anew, with the rows that are there now and no others. VACUUM leaves the bytes
/// of what it frees, and VACUUM FULL copies rows that are gone if somebody anywhere on the server
/// might still see them.
const REWRITE: [&str; 2] = [
    "ALTER TABLE tenant_credentials \
        ALTER COLUMN wrapped_key TYPE bytea USING wrapped_key || ''::bytea",
    "ALTER TABLE tenant_credential_history \
        ALTER COLUMN wrapped_key TYPE bytea USING wrapped_key || ''::bytea",
];

/// The tenant's row is locked first, as by every write.
macro_rules! plain_rows {
    ($table:literal) => {
        concat!(
            "SELECT c.tenant_id, c.credential_type, c.version, c.id, \
                 c.credentials::text AS credentials \
             FROM tenants t JOIN ",
            $table,
            " c ON c.tenant_id = t.id \
             WHERE (c.tenant_id, c.credential_type, c.version) > ($1, $2, $3) \
                 AND c.credentials IS NOT NULL \
             ORDER BY c.tenant_id, c.credential_type, c.version LIMIT $4 \
             FOR NO KEY UPDATE OF t, c"
        )
    };
}

macro_rules! replace {
    ($table:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " c SET credentials = NULL, sealed = s.sealed, key_id = s.key_id, \
                 wrapped_key = s.wrapped_key \
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::text[], \
                 $6::bytea[]) \
                 AS s (tenant_id, credential_type, version, sealed, key_id, wrapped_key) \
             WHERE (c.tenant_id, c.credential_type, c.version) \
                 = (s.tenant_id, s.credential_type, s.version)"
        )
    };
}

/// The statements that find rows in plaintext, and replace them.
const TABLES: [(&str, &str); 2] = [
    (plain_rows!("tenant_credentials"), replace!("tenant_credentials")),
    (plain_rows!("tenant_credential_history"), replace!("tenant_credential_history")),
];

/// Seals every row that is in plaintext, unless that was done before.
pub(super) async fn seal_plaintext(
    connection: &mut PgConnection,
    keyring: &Keyring,
) -> Result<(), MigrateError> {
    if is_done(connection).await? {
        return Ok(());
    }
    let mut progress = Progress::default();
    for (find, replace) in TABLES {
        let mut last = Place::default();
        while let Some((place, rows)) = batch(connection, keyring, (find, replace), last).await? {
            progress.add(rows);
            last = place;
        }
    }
    if is_done(connection).await? {
        return Ok(());
    }
    if sqlx::query_scalar(ANY).fetch_one(&mut *connection).await? {
        sqlx::query(PATIENCE).execute(&mut *connection).await?;
        for statement in REWRITE {
            if let Err(error) = sqlx::query(statement).execute(&mut *connection).await {
                progress.lingers(&error.into(), statement);
            }
        }
    }
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    for statement in VALIDATE {
        sqlx::query(statement).execute(&mut *transaction).await.map_err(of_owner)?;
    }
    sqlx::query(DONE).execute(&mut *transaction).await.map_err(of_owner)?;
    transaction.commit().await?;
    progress.done();
    Ok(())
}

async fn is_done(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(IS_DONE).fetch_one(connection).await
}

/// Up to which row a table has been looked at.
#[derive(Default, FromRow)]
struct Place {
    tenant_id: String,
    credential_type: String,
    version: i64,
}

/// Seals the rows that follow, and says where it has come to; `None` where there are none.
async fn batch(
    connection: &mut PgConnection,
    keyring: &Keyring,
    (find, replace): (&'static str, &'static str),
    after: Place,
) -> Result<Option<(Place, usize)>, MigrateError> {
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    // Another process has come to the end, and from there on nothing in plaintext is ours.
    if is_done(&mut transaction).await? {
        return Ok(None);
    }
    let rows: Vec<PlainRow> = sqlx::query_as(find)
        .bind(after.tenant_id)
        .bind(after.credential_type)
        .bind(after.version)
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await
        .map_err(of_owner)?;
    let Some(last) = rows.last() else { return Ok(None) };
    let place = Place {
        tenant_id: last.tenant_id.clone(),
        credential_type: last.credential_type.clone(),
        version: last.version,
    };
    let sealed = rows.iter().map(|row| row.sealed(keyring)).collect::<Result<Vec<_>, _>>();
    let sealed = sealed.map_err(MigrateError::Failed)?;
    let column = |of: fn(&PlainRow) -> &str| rows.iter().map(of).collect::<Vec<_>>();
    sqlx::query(replace)
        .bind(column(|row| &row.tenant_id))
        .bind(column(|row| &row.credential_type))
        .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>())
        .bind(sealed.iter().map(|row| row.sealed.as_slice()).collect::<Vec<_>>())
        .bind(sealed.iter().map(|row| row.key_id.as_str()).collect::<Vec<_>>())
        .bind(sealed.iter().map(|row| row.wrapped_key.as_slice()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await
        .map_err(of_owner)?;
    transaction.commit().await?;
    Ok(Some((place, rows.len())))
}
