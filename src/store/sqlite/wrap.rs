//! Data keys wrapped anew, in SQLite.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use super::{BEGIN, Sqlite};
use crate::crypto::Keyring;
use crate::store::row::number;
use crate::store::wrap::{
    Batch, Place, RewrapRow, WINDOW, WrappedRow, chain_key, credential, pepper,
};
use crate::store::{
    Cause, KeyUse, RotationLock, StoreError, StoreResult, WrapPlace, WrapStep, Wrapping,
};
use crate::telemetry::metrics::timed_query;

/// A table with wrapped keys.
struct Table {
    name: &'static str,
    count: &'static str,
    /// The last one of the rows that are looked at next.
    window: &'static str,
    page: &'static str,
    replace: &'static str,
    rewrap: RewrapRow,
}

/// The columns of a row's place, in their order.
macro_rules! place {
    ($first:literal, $second:literal, $number:literal) => {
        concat!($first, ", ", $second, ", ", $number)
    };
}

/// A table by its name, the columns of a row's place, and how its data keys are wrapped anew.
macro_rules! table {
    ($name:literal, $first:literal, $second:literal, $number:literal, $rewrap:expr) => {
        Table {
            name: $name,
            count: concat!(
                "SELECT key_id, count(*) FROM ",
                $name,
                " WHERE key_id IS NOT NULL GROUP BY key_id ORDER BY key_id"
            ),
            window: concat!(
                "SELECT first, second, number FROM ( \
                     SELECT ",
                $first,
                " AS first, ",
                $second,
                " AS second, ",
                $number,
                " AS number FROM ",
                $name,
                " WHERE (",
                place!($first, $second, $number),
                ") > (?1, ?2, ?3) ORDER BY ",
                place!($first, $second, $number),
                " LIMIT ?4) AS w ORDER BY first DESC, second DESC, number DESC LIMIT 1"
            ),
            page: concat!(
                "SELECT ",
                $first,
                " AS first, ",
                $second,
                " AS second, ",
                $number,
                " AS number, id, key_id, wrapped_key FROM ",
                $name,
                " WHERE (",
                place!($first, $second, $number),
                ") > (?1, ?2, ?3) AND (",
                place!($first, $second, $number),
                ") <= (?4, ?5, ?6) AND key_id <> ?7 AND wrapped_key IS NOT NULL ORDER BY ",
                place!($first, $second, $number),
                " LIMIT ?8"
            ),
            replace: concat!(
                "UPDATE ",
                $name,
                " SET key_id = ?6, wrapped_key = ?7 \
                 WHERE (",
                place!($first, $second, $number),
                ") = (?1, ?2, ?3) \
                     AND key_id = ?4 AND wrapped_key = ?5"
            ),
            rewrap: $rewrap,
        }
    };
}

/// A table of one row, which has no place to speak of.
macro_rules! one_row {
    ($name:literal, $rewrap:expr) => {
        Table {
            name: $name,
            count: concat!("SELECT key_id, count(*) FROM ", $name, " GROUP BY key_id"),
            window: concat!(
                "SELECT '' AS first, '' AS second, 1 AS number FROM ",
                $name,
                " WHERE ('', '', 1) > (?1, ?2, ?3) LIMIT ?4"
            ),
            page: concat!(
                "SELECT '' AS first, '' AS second, 1 AS number, '' AS id, key_id, wrapped_key \
                 FROM ",
                $name,
                " WHERE ('', '', 1) > (?1, ?2, ?3) AND ('', '', 1) <= (?4, ?5, ?6) \
                     AND key_id <> ?7 LIMIT ?8"
            ),
            replace: concat!(
                "UPDATE ",
                $name,
                " SET key_id = ?6, wrapped_key = ?7 \
                 WHERE (?1, ?2, ?3) = ('', '', 1) AND key_id = ?4 AND wrapped_key = ?5"
            ),
            rewrap: $rewrap,
        }
    };
}

#[rustfmt::skip]
const TABLES: [Table; 4] = [
    table!("tenant_credentials", "tenant_id", "credential_type", "version", credential),
    table!("tenant_credential_history", "tenant_id", "credential_type", "version", credential),
    one_row!("tenant_token_pepper", pepper),
    one_row!("tenant_audit_chain", chain_key),
];

const RETIRE: &str = "INSERT OR IGNORE INTO tenant_retired_keys (key_id) VALUES (?1)";
const REINSTATE: &str = "DELETE FROM tenant_retired_keys WHERE key_id = ?1";

/// The lock is the file's, and goes with the process, however that ends.
struct Held(#[expect(dead_code, reason = "held, not used")] File);

impl RotationLock for Held {}

#[async_trait]
impl Wrapping for Sqlite {
    async fn key_uses(&self) -> StoreResult<Vec<KeyUse>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("key_uses", count(&mut connection)).await
    }

    async fn rewrap(&self, from: WrapPlace, limit: u32) -> StoreResult<WrapStep> {
        let mut connection = self.writer.acquire().await?;
        timed_query("rewrap", rewrap(&mut connection, &self.keyring, from, limit)).await
    }

    async fn retire_keys(&self, keys: &[String]) -> StoreResult<()> {
        timed_query("retire_keys", self.change_keys(RETIRE, keys)).await
    }

    async fn reinstate_keys(&self, keys: &[String]) -> StoreResult<()> {
        timed_query("retire_keys", self.change_keys(REINSTATE, keys)).await
    }

    async fn lock_rotation(&self) -> StoreResult<Option<Box<dyn RotationLock>>> {
        match locked(&self.path.with_extension("rotate.lock")) {
            Ok(file) => Ok(Some(Box::new(Held(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::Unavailable(Cause::new(error))),
        }
    }
}

impl Sqlite {
    /// In one transaction. It begins when every other write has ended.
    async fn change_keys(&self, statement: &'static str, keys: &[String]) -> StoreResult<()> {
        let mut connection = self.writer.acquire().await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        for key in keys {
            sqlx::query(statement).bind(key).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// As the lock of the migration: the file stays behind, empty.
fn locked(path: &Path) -> Result<File, TryLockError> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

async fn count(connection: &mut SqliteConnection) -> StoreResult<Vec<KeyUse>> {
    let mut transaction = connection.begin().await?;
    let mut uses = Vec::new();
    for Table { name, count, .. } in TABLES {
        let rows: Vec<(String, i64)> = sqlx::query_as(count).fetch_all(&mut *transaction).await?;
        for (key_id, rows) in rows {
            uses.push(KeyUse { table: name, key_id, rows: number(rows, "count(*)")? });
        }
    }
    transaction.commit().await?;
    Ok(uses)
}

async fn rewrap(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    from: WrapPlace,
    limit: u32,
) -> StoreResult<WrapStep> {
    let Some(table) = TABLES.get(from.table) else {
        return Ok(WrapStep::end_of(from.table, TABLES.len()));
    };
    let mut transaction = connection.begin_with(BEGIN).await?;
    let (first, second, after) = &from.row;
    let window: Option<Place> = match from.end {
        Some(end) => Some(end),
        None => {
            let window = sqlx::query_as(table.window).bind(first).bind(second).bind(after);
            window.bind(WINDOW).fetch_optional(&mut *transaction).await?
        }
    };
    let Some(end) = window else {
        return Ok(WrapStep::end_of(from.table, TABLES.len()));
    };
    let rows: Vec<WrappedRow> = sqlx::query_as(table.page)
        .bind(first)
        .bind(second)
        .bind(after)
        .bind(&end.0)
        .bind(&end.1)
        .bind(end.2)
        .bind(keyring.primary())
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
    let next = Some(WrapPlace::behind(from.table, &rows, end, limit));
    let Batch { rows, refused } = Batch::of(rows, keyring, table.rewrap);
    let mut rewrapped = 0;
    for (row, key_id, wrapped_key) in rows {
        let replaced = sqlx::query(table.replace)
            .bind(row.first)
            .bind(row.second)
            .bind(row.number)
            .bind(row.key_id)
            .bind(row.wrapped_key)
            .bind(key_id)
            .bind(wrapped_key)
            .execute(&mut *transaction)
            .await?;
        rewrapped += replaced.rows_affected();
    }
    transaction.commit().await?;
    Ok(WrapStep { rewrapped, refused, next })
}
