//! The log of changes in PostgreSQL: read by snapshot, pruned behind a recorded horizon.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, FromRow, PgConnection};

use super::lease::bounded_by;
use super::{Postgres, bounded};
use crate::coherence::{LogHead, LogIdentity, Snapshot};
use crate::domain::Change;
use crate::store::row::{ChangeRow, number};
use crate::store::{ChangeLog, LogPage, LogRead, Logged, PAGE_ROWS, StoreError, StoreResult};

macro_rules! change_columns {
    () => {
        "c.seq, c.xid::text::bigint AS xid, c.tenant_id, c.kind, c.version, \
         to_json(c.keys)::text AS keys, \
         to_char(c.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
             AS occurred_at "
    };
}

/// The cluster, by what `initdb` gave it, and the database within.
macro_rules! identity {
    () => {
        "(SELECT system_identifier FROM pg_control_system())::text || '/' || \
         (SELECT oid FROM pg_database WHERE datname = current_database())::text"
    };
}
pub(super) use identity;

/// The head of the log, as the one row of `head`. The name of the current WAL file begins with
/// the timeline, and there is none on a standby: the statement fails there, as it must. (The
/// control file knows the timeline of the last checkpoint only.) Behind it stands what no crash of
/// the server survives. The limit makes it one row for
/// the planner too, which otherwise guesses a thousand, each with a page of changes.
macro_rules! with_head {
    ($snapshot:literal, $rest:expr) => {
        concat!(
            "WITH head AS MATERIALIZED (SELECT ",
            $snapshot,
            " AS snapshot, ",
            identity!(),
            " AS database, \
             substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '/' || \
                 coalesce((SELECT incarnation FROM tenant_changes_incarnation), '') AS timeline, \
             pruned_below FROM tenant_changes_horizon WHERE one_row LIMIT 1) ",
            $rest
        )
    };
}

pub(super) use with_head;

const HEAD: &str = with_head!(
    "pg_current_snapshot()",
    "SELECT snapshot::text AS snapshot, database, timeline, pruned_below FROM head"
);

// Two ranges of the index on (xid, seq), at the cost of what is new however long some transaction
// has been running: what began after $1 was taken, and what was running then. Ordered by an
// expression, for otherwise the planner may walk the whole log by its primary key instead.
const FIRST_PAGE: &str = with_head!(
    "pg_current_snapshot()",
    concat!(
        "SELECT head.snapshot::text AS snapshot, head.database, head.timeline, \
             head.pruned_below, ",
        change_columns!(),
        "FROM head LEFT JOIN LATERAL ( \
             SELECT * FROM ( \
                 SELECT * FROM tenant_changes \
                 WHERE xid >= pg_snapshot_xmax($1::pg_snapshot) \
                     AND pg_visible_in_snapshot(xid, head.snapshot) \
                 UNION ALL \
                 SELECT * FROM tenant_changes \
                 WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot))) \
                     AND pg_visible_in_snapshot(xid, head.snapshot) \
             ) AS unseen ORDER BY seq + 0 LIMIT $2 \
         ) AS c ON true ORDER BY c.seq"
    )
);

// Later pages do walk the primary key: from where the last one ended, and almost every row there
// is one of theirs. $1 is the cursor, $3 the snapshot of the first page, $4 its last number.
const NEXT_PAGE: &str = with_head!(
    "$3::pg_snapshot",
    concat!(
        "SELECT head.snapshot::text AS snapshot, head.database, head.timeline, \
             head.pruned_below, ",
        change_columns!(),
        "FROM head LEFT JOIN LATERAL ( \
             SELECT * FROM tenant_changes WHERE seq > $4 \
                 AND NOT pg_visible_in_snapshot(xid, $1::pg_snapshot) \
                 AND pg_visible_in_snapshot(xid, head.snapshot) \
             ORDER BY seq LIMIT $2 \
         ) AS c ON true ORDER BY c.seq"
    )
);

const INCARNATE: &str = "\
    INSERT INTO tenant_changes_incarnation (incarnation) VALUES (gen_random_uuid()::text) \
    ON CONFLICT DO NOTHING";

// With the transaction that wrote the tenant before: its lock is held, so that one is committed.
const LOGGED_HERE: &str = concat!(
    "SELECT ",
    change_columns!(),
    ", (SELECT p.xid::text::bigint FROM tenant_changes p \
         WHERE p.tenant_id = c.tenant_id AND p.xid <> c.xid ORDER BY p.seq DESC LIMIT 1) AS after \
     FROM tenant_changes c WHERE c.xid = pg_current_xact_id() ORDER BY c.seq"
);

const CURRENT_XID: &str = "SELECT pg_current_xact_id()::text::bigint";

// One number among the advisory locks of the database, chosen at random.
const PRUNING: &str = "SELECT pg_try_advisory_xact_lock(5241780906271338)";
// now() and not the wall clock, which no index can be searched by. A trigger moves the horizon.
const PRUNE: &str = "\
    DELETE FROM tenant_changes WHERE seq IN ( \
        SELECT seq FROM tenant_changes \
        WHERE occurred_at < now() - make_interval(secs => $1) \
            AND xid < pg_snapshot_xmin(pg_current_snapshot()) \
        ORDER BY occurred_at LIMIT $2)";

/// A first page sorts all that is unseen: a second for a million changes. Too short a limit would
/// be final for a replica that is further behind, so this is some twenty millions' worth.
pub(super) const LONGEST_READ: Duration = Duration::from_secs(30);

/// Rows that one transaction prunes, so that none is long.
const BATCH_ROWS: i64 = 5_000;
/// Batches of one call; the next call goes on.
const BATCHES: usize = 100;

#[derive(FromRow, Default)]
pub(super) struct HeadRow {
    snapshot: String,
    database: String,
    timeline: String,
    pruned_below: i64,
}

impl TryFrom<HeadRow> for LogHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> StoreResult<Self> {
        let snapshot = row.snapshot.parse();
        Ok(Self {
            identity: LogIdentity { database: row.database, timeline: row.timeline },
            snapshot: snapshot.map_err(|_| StoreError::Corrupt("pg_current_snapshot()"))?,
            pruned_below: number(row.pruned_below, "tenant_changes_horizon.pruned_below")?,
        })
    }
}

/// A row of a page: the head, and a change unless there is none.
#[derive(FromRow)]
struct PolledRow {
    #[sqlx(flatten)]
    head: HeadRow,
    seq: Option<i64>,
    xid: Option<i64>,
    tenant_id: Option<String>,
    kind: Option<String>,
    version: Option<i64>,
    keys: Option<String>,
    occurred_at: Option<String>,
}

impl PolledRow {
    fn change(self) -> Option<ChangeRow> {
        // The number tells whether there is a change; what else is not there can't be read.
        Some(ChangeRow {
            seq: self.seq?,
            xid: self.xid.unwrap_or_default(),
            tenant_id: self.tenant_id,
            kind: self.kind.unwrap_or_default(),
            version: self.version,
            keys: self.keys.unwrap_or_default(),
            occurred_at: self.occurred_at.unwrap_or_default(),
        })
    }
}

#[async_trait]
impl ChangeLog for Postgres {
    async fn log_head(&self) -> StoreResult<LogHead> {
        let mut lease = self.log_lease().await?;
        let head = bounded("poll", head(&mut lease)).await;
        lease.settle(head)
    }

    async fn mark(&self) -> StoreResult<u64> {
        let mut lease = self.lease().await?;
        let mark = bounded("mark", current_xid(&mut lease)).await;
        lease.settle(mark)
    }

    async fn log_since(&self, seen: &Snapshot, page: Option<&LogPage>) -> StoreResult<LogRead> {
        let mut lease = self.log_lease().await?;
        let read = bounded_by(LONGEST_READ, "poll", read(&mut lease, seen, page)).await;
        lease.settle(read)
    }

    async fn prune_log(&self, retention: Duration) -> StoreResult<Option<u64>> {
        let mut pruned = 0;
        for _ in 0..BATCHES {
            let mut lease = self.lease().await?;
            let batch = bounded("prune", prune(&mut lease, retention)).await;
            let Some(batch) = lease.settle(batch)? else {
                return Ok((pruned > 0).then_some(pruned));
            };
            pruned += batch;
            if batch < BATCH_ROWS.unsigned_abs() {
                break;
            }
        }
        Ok(Some(pruned))
    }
}

/// A row of what the running transaction has logged.
#[derive(FromRow)]
struct LoggedRow {
    #[sqlx(flatten)]
    change: ChangeRow,
    after: Option<i64>,
}

/// What the running transaction has logged so far.
pub(super) async fn logged_here(connection: &mut PgConnection) -> StoreResult<Logged> {
    let rows = sqlx::query_as::<_, LoggedRow>(LOGGED_HERE).fetch_all(&mut *connection).await?;
    let after = rows.iter().find_map(|row| row.after);
    let after = after.map(|xid| number(xid, "tenant_changes.xid")).transpose()?;
    let changes: Vec<Change> = rows.into_iter().map(|row| row.change.or_reset()).collect();
    let xid = match changes.first() {
        Some(change) => change.xid,
        None => current_xid(connection).await?,
    };
    Ok(Logged { changes, xid, after })
}

/// The running transaction.
pub(super) async fn current_xid(connection: &mut PgConnection) -> StoreResult<u64> {
    let xid: i64 = sqlx::query_scalar(CURRENT_XID).fetch_one(connection).await?;
    number(xid, "pg_current_xact_id()")
}

/// The head, to begin at. After a crash of the server it is the first that begins again who names
/// the new incarnation.
async fn head(connection: &mut PgConnection) -> StoreResult<LogHead> {
    sqlx::query(INCARNATE).execute(&mut *connection).await?;
    sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(connection).await?.try_into()
}

async fn read(
    connection: &mut PgConnection,
    seen: &Snapshot,
    page: Option<&LogPage>,
) -> StoreResult<LogRead> {
    let statement = if page.is_some() { NEXT_PAGE } else { FIRST_PAGE };
    // One more than a page holds, to know whether another follows.
    let statement = sqlx::query_as::<_, PolledRow>(statement)
        .bind(seen.to_string())
        .bind(i64::try_from(PAGE_ROWS + 1).unwrap_or(i64::MAX));
    let statement = match page {
        None => statement,
        Some(page) => statement.bind(page.upto.to_string()).bind(page.after),
    };
    let rows = statement.fetch_all(connection).await?;

    let mut head = None;
    let mut changes = Vec::with_capacity(rows.len());
    for mut row in rows {
        let of_row = std::mem::take(&mut row.head);
        if head.is_none() {
            head = Some(LogHead::try_from(of_row)?);
        }
        if let Some(change) = row.change() {
            changes.push(change.or_reset());
        }
    }
    let head = head.ok_or(StoreError::Corrupt("tenant_changes_horizon: the row is gone"))?;
    Ok(LogRead::paged(head, changes))
}

async fn prune(connection: &mut PgConnection, retention: Duration) -> StoreResult<Option<u64>> {
    let mut transaction = connection.begin().await?;
    let ours: bool = sqlx::query_scalar(PRUNING).fetch_one(&mut *transaction).await?;
    if !ours {
        return Ok(None);
    }
    let done = sqlx::query(PRUNE)
        .bind(retention.as_secs_f64())
        .bind(BATCH_ROWS)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Some(done.rows_affected()))
}
