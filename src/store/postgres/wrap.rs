//! Data keys wrapped anew, in PostgreSQL.
//!
//! A batch waits for no lock: what somebody else has locked is left to a later pass. So it can be part
//! of no deadlock, and a write waits for it no longer than it takes to wrap and write some keys.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};

use super::lease::bounded_by;
use super::{Postgres, bounded};
use crate::crypto::Keyring;
use crate::store::row::number;
use crate::store::wrap::{
    Batch, Place, RewrapRow, WINDOW, WrappedRow, chain_key, credential, pepper,
};
use crate::store::{KeyUse, RotationLock, StoreResult, WrapPlace, WrapStep, Wrapping};

/// Each row of each table is looked at to count them. Nobody waits for it.
const LONGEST_COUNT: std::time::Duration = std::time::Duration::from_mins(10);
const COUNT_PATIENCE: &str = "SET LOCAL statement_timeout = '10min'";

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
                ") > ($1, $2, $3) ORDER BY ",
                place!($first, $second, $number),
                " LIMIT $4) AS w ORDER BY first DESC, second DESC, number DESC LIMIT 1"
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
                ") > ($1, $2, $3) AND (",
                place!($first, $second, $number),
                ") <= ($4, $5, $6) AND key_id <> $7 AND wrapped_key IS NOT NULL ORDER BY ",
                place!($first, $second, $number),
                " LIMIT $8 FOR NO KEY UPDATE SKIP LOCKED"
            ),
            // The row is locked, so what it was is what it is; and were it not, it would stay.
            replace: concat!(
                "UPDATE ",
                $name,
                " AS w SET key_id = n.key_id, wrapped_key = n.wrapped_key \
                 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], \
                     $6::text[], $7::bytea[]) \
                     AS n (first, second, number, old_id, old_key, key_id, wrapped_key) \
                 WHERE (",
                place!($first, $second, $number),
                ") \
                         = (n.first, n.second, n.number) \
                     AND w.key_id = n.old_id AND w.wrapped_key = n.old_key"
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
                "SELECT '' AS first, '' AS second, 1::bigint AS number FROM ",
                $name,
                " WHERE ('', '', 1) > ($1, $2, $3) LIMIT $4"
            ),
            page: concat!(
                "SELECT '' AS first, '' AS second, 1::bigint AS number, '' AS id, key_id, wrapped_key \
                 FROM ",
                $name,
                " WHERE ('', '', 1) > ($1, $2, $3) AND ('', '', 1) <= ($4, $5, $6) \
                     AND key_id <> $7 LIMIT $8 FOR NO KEY UPDATE SKIP LOCKED"
            ),
            replace: concat!(
                "UPDATE ",
                $name,
                " AS w SET key_id = n.key_id, wrapped_key = n.wrapped_key \
                 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], \
                     $6::text[], $7::bytea[]) \
                     AS n (first, second, number, old_id, old_key, key_id, wrapped_key) \
                 WHERE w.key_id = n.old_id AND w.wrapped_key = n.old_key"
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

const RETIRE: &str = "\
    INSERT INTO tenant_retired_keys (key_id) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING";
const REINSTATE: &str = "DELETE FROM tenant_retired_keys WHERE key_id = ANY ($1)";
// One number among the advisory locks of the database, chosen at random.
const LOCK: &str = "SELECT pg_try_advisory_lock(2907716480365914)";

/// The connection that has the lock: it goes with the process, however that ends.
struct Held(#[expect(dead_code, reason = "held, not used")] PgConnection);

impl RotationLock for Held {}

#[async_trait]
impl Wrapping for Postgres {
    async fn key_uses(&self) -> StoreResult<Vec<KeyUse>> {
        let mut lease = self.lease().await?;
        let uses = bounded_by(LONGEST_COUNT, "key_uses", count(&mut lease)).await;
        lease.settle(uses)
    }

    async fn rewrap(&self, from: WrapPlace, limit: u32) -> StoreResult<WrapStep> {
        let mut lease = self.lease().await?;
        let step = bounded("rewrap", rewrap(&mut lease, &self.keyring, from, limit)).await;
        lease.settle(step)
    }

    async fn retire_keys(&self, keys: &[String]) -> StoreResult<()> {
        self.change_keys(RETIRE, keys).await
    }

    async fn reinstate_keys(&self, keys: &[String]) -> StoreResult<()> {
        self.change_keys(REINSTATE, keys).await
    }

    async fn lock_rotation(&self) -> StoreResult<Option<Box<dyn RotationLock>>> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let is_ours: bool = sqlx::query_scalar(LOCK).fetch_one(&mut connection).await?;
        Ok(is_ours.then(|| Box::new(Held(connection)) as Box<dyn RotationLock>))
    }
}

impl Postgres {
    async fn change_keys(&self, statement: &'static str, keys: &[String]) -> StoreResult<()> {
        let mut lease = self.lease().await?;
        let done = bounded("retire_keys", async {
            sqlx::query(statement).bind(keys).execute(&mut *lease).await?;
            Ok(())
        })
        .await;
        lease.settle(done)
    }
}

async fn count(connection: &mut PgConnection) -> StoreResult<Vec<KeyUse>> {
    let mut transaction = connection.begin().await?;
    sqlx::query(COUNT_PATIENCE).execute(&mut *transaction).await?;
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
    connection: &mut PgConnection,
    keyring: &Keyring,
    from: WrapPlace,
    limit: u32,
) -> StoreResult<WrapStep> {
    let Some(table) = TABLES.get(from.table) else {
        return Ok(WrapStep::end_of(from.table, TABLES.len()));
    };
    let mut transaction = connection.begin().await?;
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
    let column =
        |of: fn(&WrappedRow) -> &str| rows.iter().map(|row| of(&row.0)).collect::<Vec<_>>();
    let replaced = sqlx::query(table.replace)
        .bind(column(|row| &row.first))
        .bind(column(|row| &row.second))
        .bind(rows.iter().map(|row| row.0.number).collect::<Vec<_>>())
        .bind(column(|row| &row.key_id))
        .bind(rows.iter().map(|row| row.0.wrapped_key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.2.as_slice()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(WrapStep { rewrapped: replaced.rows_affected(), refused, next })
}
