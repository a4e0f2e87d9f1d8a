//! The log of changes in SQLite, where one writer commits after the other: the row's number is
//! the cursor.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, FromRow, SqliteConnection};

use super::{BEGIN, Sqlite};
use crate::coherence::{LogHead, LogIdentity, Snapshot};
use crate::domain::Change;
use crate::store::row::{ChangeRow, number};
use crate::store::{ChangeLog, LogPage, LogRead, Logged, PAGE_ROWS, StoreResult};
use crate::telemetry::metrics::timed_query;

/// The last number given, which stays when rows are deleted.
macro_rules! last_number {
    () => {
        "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'tenant_changes'), 0)"
    };
}

const LAST: &str = concat!("SELECT ", last_number!());
const HEAD: &str = concat!(
    "SELECT identity, pruned_below, ",
    last_number!(),
    " AS last FROM tenant_changes_horizon"
);
const SINCE: &str = "\
    SELECT seq, seq AS xid, tenant_id, kind, version, keys, occurred_at \
    FROM tenant_changes WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
const PRUNE: &str = "\
    DELETE FROM tenant_changes WHERE seq IN ( \
        SELECT seq FROM tenant_changes \
        WHERE occurred_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || ?1 || ' seconds') \
        ORDER BY occurred_at LIMIT ?2)";

/// Rows that one transaction prunes, so that no write waits long.
const BATCH_ROWS: i64 = 5_000;
/// Batches of one call; the next call goes on.
const BATCHES: usize = 100;

#[derive(FromRow)]
struct HeadRow {
    identity: String,
    pruned_below: i64,
    last: i64,
}

#[async_trait]
impl ChangeLog for Sqlite {
    async fn log_head(&self) -> StoreResult<LogHead> {
        let mut connection = self.readers.acquire().await?;
        timed_query("poll", async { head(&mut connection, None).await.map(|(head, _)| head) }).await
    }

    async fn mark(&self) -> StoreResult<u64> {
        let mut connection = self.readers.acquire().await?;
        Ok(timed_query("mark", last_number(&mut connection)).await?.unsigned_abs())
    }

    async fn log_since(&self, seen: &Snapshot, page: Option<&LogPage>) -> StoreResult<LogRead> {
        let mut connection = self.readers.acquire().await?;
        timed_query("poll", read(&mut connection, seen, page)).await
    }

    async fn prune_log(&self, retention: Duration) -> StoreResult<Option<u64>> {
        let mut pruned = 0;
        for _ in 0..BATCHES {
            let mut connection = self.writer.acquire().await?;
            let batch = timed_query("prune", prune(&mut connection, retention)).await?;
            pruned += batch;
            if batch < BATCH_ROWS.unsigned_abs() {
                break;
            }
        }
        Ok(Some(pruned))
    }
}

/// The last number that was given before this transaction began to write. (SQLite records it at
/// the end of a statement, so it can't be asked within one.)
pub(super) async fn last_number(connection: &mut SqliteConnection) -> StoreResult<i64> {
    Ok(sqlx::query_scalar(LAST).fetch_one(connection).await?)
}

/// What the running transaction has logged: there is no other writer beside it.
pub(super) async fn logged_after(
    connection: &mut SqliteConnection,
    before: i64,
) -> StoreResult<Logged> {
    let changes = between(connection, before, i64::MAX, i64::MAX).await?;
    let xid = changes.last().map_or(before.unsigned_abs(), |change| change.xid);
    // Whoever has applied this one has applied all before it: one writer commits after the other.
    Ok(Logged { changes, xid, after: None })
}

async fn between(
    connection: &mut SqliteConnection,
    after: i64,
    upto: i64,
    limit: i64,
) -> StoreResult<Vec<Change>> {
    let rows = sqlx::query_as::<_, ChangeRow>(SINCE)
        .bind(after)
        .bind(upto)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(ChangeRow::or_reset).collect())
}

/// The head, and its last number; or of that page, if one was begun.
pub(super) async fn head(
    connection: &mut SqliteConnection,
    page: Option<&LogPage>,
) -> StoreResult<(LogHead, i64)> {
    let row = sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(connection).await?;
    let last = number(row.last, "sqlite_sequence")?;
    let snapshot = page.map_or_else(|| Snapshot::up_to(last), |page| page.upto.clone());
    let head = LogHead {
        // A file has one history; put another in its place, and the numbers tell.
        identity: LogIdentity { database: row.identity, timeline: "1".to_owned() },
        snapshot,
        pruned_below: number(row.pruned_below, "tenant_changes_horizon.pruned_below")?,
    };
    let last = seen_by(&head.snapshot);
    Ok((head, last))
}

/// The last number that a snapshot of this log sees.
fn seen_by(snapshot: &Snapshot) -> i64 {
    i64::try_from(snapshot.xmax()).map_or(i64::MAX, |next| next - 1)
}

async fn read(
    connection: &mut SqliteConnection,
    seen: &Snapshot,
    page: Option<&LogPage>,
) -> StoreResult<LogRead> {
    // One snapshot for head and rows, so that nothing is pruned in between.
    let mut transaction = connection.begin().await?;
    let (head, upto) = head(&mut transaction, page).await?;
    let after = page.map_or_else(|| seen_by(seen), |page| page.after);
    // One more than a page holds, to know whether another follows.
    let limit = i64::try_from(PAGE_ROWS + 1).unwrap_or(i64::MAX);
    let changes = between(&mut transaction, after, upto, limit).await?;
    Ok(LogRead::paged(head, changes))
}

async fn prune(connection: &mut SqliteConnection, retention: Duration) -> StoreResult<u64> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let done = sqlx::query(PRUNE)
        .bind(format!("{:.3}", retention.as_secs_f64()))
        .bind(BATCH_ROWS)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}
