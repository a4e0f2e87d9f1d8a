//! The audit trail in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};

use super::{BEGIN, Sqlite};
use crate::crypto::{Keyring, Mark};
use crate::domain::{CredentialType, Entry, TenantId, TokenId};
use crate::store::audit::{BATCH, ChainRow, LookedAtRow, MOST_COUNTED, StandingRow, page};
use crate::store::{
    AuditPage, AuditQuery, AuditRecord, AuditTrail, Break, Chain, Chained, Order, Position,
    Standing, StoreError, StoreResult, Walk,
};
use crate::telemetry::metrics::timed_query;

macro_rules! record_columns {
    () => {
        "number, seq, occurred_at, actor_kind, actor_id, action, tenant_id, credential_type, \
         version, token_id, fields, outcome, times, address, request_id, hash "
    };
}

macro_rules! chain_columns {
    () => {
        "anchor, anchor_hash, anchor_mac, head, head_hash, head_mac, sealed, key_id, wrapped_key "
    };
}

const APPEND: &str = "\
    INSERT INTO tenant_audit (actor_kind, actor_id, action, tenant_id, credential_type, version, \
        token_id, fields, outcome, times, address, request_id) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

macro_rules! select_page {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT ",
            record_columns!(),
            ", (?3 IS NULL OR action = ?3) AND (?4 IS NULL OR outcome = ?4) \
                 AND (?5 IS NULL OR actor_kind = ?5 OR actor_id IS ?5) \
                 AND (?6 IS NULL OR occurred_at >= ?6) \
                 AND (?7 IS NULL OR occurred_at < ?7) AS wanted \
             FROM tenant_audit WHERE ",
            $where,
            " ORDER BY number ",
            $order,
            " LIMIT ?2"
        )
    };
}
const OLDEST: &str = select_page!("number > ?1", "ASC");
const NEWEST: &str = select_page!("number < ?1", "DESC");
const OLDEST_OF_TENANT: &str = select_page!("number > ?1 AND tenant_id = ?8", "ASC");
const NEWEST_OF_TENANT: &str = select_page!("number < ?1 AND tenant_id = ?8", "DESC");

const CHAIN: &str = concat!("SELECT ", chain_columns!(), "FROM tenant_audit_chain");
const IS_NUMBERED: &str = "SELECT EXISTS (SELECT 1 FROM tenant_audit WHERE number IS NOT NULL)";
const BEGIN_CHAIN: &str = concat!(
    "INSERT INTO tenant_audit_chain (",
    chain_columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
);
const UNCHAINED: &str = concat!(
    "SELECT ",
    record_columns!(),
    "FROM tenant_audit WHERE number IS NULL ORDER BY seq LIMIT ?1"
);
const HASH: &str = "SELECT hash FROM tenant_audit WHERE number = ?1";
const NUMBER: &str =
    "UPDATE tenant_audit SET number = ?2, hash = ?3 WHERE seq = ?1 AND number IS NULL";
const MOVE_HEAD: &str =
    "UPDATE tenant_audit_chain SET head = ?1, head_hash = ?2, head_mac = ?3 WHERE one_row";
const MOVE_ANCHOR: &str =
    "UPDATE tenant_audit_chain SET anchor = ?1, anchor_hash = ?2, anchor_mac = ?3 WHERE one_row";
const AFTER: &str = concat!(
    "SELECT ",
    record_columns!(),
    "FROM tenant_audit WHERE number > ?1 ORDER BY number LIMIT ?2"
);
const OLDEST_ROWS: &str = concat!(
    "SELECT ",
    record_columns!(),
    ", occurred_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || ?3 || ' seconds') AS wanted \
     FROM tenant_audit WHERE number > ?1 ORDER BY number LIMIT ?2"
);
const DELETE: &str = "DELETE FROM tenant_audit WHERE number <= ?1";
const STANDING: &str = concat!(
    "SELECT ",
    chain_columns!(),
    ", (SELECT count(*) FROM ( \
           SELECT 1 FROM tenant_audit WHERE number IS NULL LIMIT ?1)) AS unchained, \
       (SELECT CAST((julianday('now') - julianday(occurred_at)) * 86400000 AS INTEGER) \
        FROM tenant_audit WHERE number IS NULL AND julianday(occurred_at) IS NOT NULL \
        ORDER BY seq LIMIT 1) AS oldest_unchained_ms, \
       (SELECT count(*) FROM ( \
           SELECT 1 FROM tenant_audit WHERE number > coalesce(head, 0) LIMIT ?1)) AS beyond, \
       (SELECT count(*) FROM ( \
           SELECT 1 FROM tenant_audit WHERE number <= anchor LIMIT ?1)) AS behind \
     FROM (SELECT 1) AS one LEFT JOIN tenant_audit_chain ON true"
);

#[async_trait]
impl AuditTrail for Sqlite {
    async fn append(&self, entries: &[Entry]) -> StoreResult<()> {
        let mut connection = self.writer.acquire().await?;
        timed_query("audit", append_all(&mut connection, entries)).await
    }

    async fn audit_page(&self, query: &AuditQuery) -> StoreResult<AuditPage> {
        let mut connection = self.readers.acquire().await?;
        timed_query("audit_page", read(&mut connection, query)).await
    }

    async fn chain(&self) -> StoreResult<Option<Chained>> {
        let mut connection = self.writer.acquire().await?;
        timed_query("audit_chain", chain(&mut connection, &self.keyring)).await.map(Some)
    }

    async fn prune_audit(&self, retention: Duration) -> StoreResult<Option<u64>> {
        let mut connection = self.writer.acquire().await?;
        let done = prune(&mut connection, &self.keyring, retention);
        timed_query("audit_prune", done).await.map(Some)
    }

    async fn audit_standing(&self) -> StoreResult<Standing> {
        let mut connection = self.readers.acquire().await?;
        timed_query("audit_standing", async {
            let row = sqlx::query_as::<_, StandingRow>(STANDING).bind(MOST_COUNTED + 1);
            Ok(row.fetch_one(&mut *connection).await?.into())
        })
        .await
    }

    fn walk(&self, chain: &Chain) -> Result<Walk, Break> {
        Walk::begin(chain, &self.keyring)
    }

    async fn chained_after(&self, number: i64) -> StoreResult<Vec<AuditRecord>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("audit_walk", after(&mut connection, number)).await
    }
}

async fn append_all(connection: &mut SqliteConnection, entries: &[Entry]) -> StoreResult<()> {
    let audit = |error| StoreError::of_audit(&error);
    let mut transaction = connection.begin_with(BEGIN).await.map_err(audit)?;
    for entry in entries {
        record(&mut transaction, entry).await?;
    }
    transaction.commit().await.map_err(audit)
}

/// Adds an entry in the running transaction.
pub(super) async fn record(connection: &mut SqliteConnection, entry: &Entry) -> StoreResult<()> {
    let done = sqlx::query(APPEND)
        .bind(entry.by.actor.kind())
        .bind(entry.by.actor.id())
        .bind(entry.action.as_str())
        .bind(entry.tenant.as_ref().map(TenantId::as_str))
        .bind(entry.kind.map(CredentialType::as_str))
        .bind(entry.version)
        .bind(entry.token.as_ref().map(TokenId::as_str))
        .bind(serde_json::json!(entry.fields.as_slice()).to_string())
        .bind(entry.outcome.as_str())
        .bind(i64::try_from(entry.times).unwrap_or(i64::MAX))
        .bind(entry.by.address.map(|address| address.to_string()))
        .bind(entry.by.request_id.as_deref())
        .execute(connection)
        .await;
    done.map(|_| ()).map_err(|error| StoreError::of_audit(&error))
}

/// How the table has a moment.
fn as_stored(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

async fn read(connection: &mut SqliteConnection, query: &AuditQuery) -> StoreResult<AuditPage> {
    let statement = match (query.order, &query.tenant) {
        (Order::Oldest, None) => OLDEST,
        (Order::Newest, None) => NEWEST,
        (Order::Oldest, Some(_)) => OLDEST_OF_TENANT,
        (Order::Newest, Some(_)) => NEWEST_OF_TENANT,
    };
    let statement = sqlx::query_as::<_, LookedAtRow>(statement)
        .bind(query.begin())
        .bind(query.looked_at())
        .bind(&query.action)
        .bind(&query.outcome)
        .bind(&query.actor)
        .bind(query.from.map(as_stored))
        .bind(query.to.map(as_stored));
    let statement = match &query.tenant {
        Some(tenant) => statement.bind(tenant.as_str()),
        None => statement,
    };
    Ok(page(statement.fetch_all(connection).await?, query))
}

/// The chain.
async fn current(connection: &mut SqliteConnection) -> StoreResult<Option<Chain>> {
    let row = sqlx::query_as::<_, ChainRow>(CHAIN).fetch_optional(&mut *connection).await?;
    if let Some(chain) = row.and_then(ChainRow::into_chain) {
        return Ok(Some(chain));
    }
    let is_numbered: bool = sqlx::query_scalar(IS_NUMBERED).fetch_one(connection).await?;
    if is_numbered { Err(StoreError::Chain(Break::NoChain)) } else { Ok(None) }
}

async fn chain(connection: &mut SqliteConnection, keyring: &Keyring) -> StoreResult<Chained> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let chain = match current(&mut transaction).await? {
        Some(chain) => chain,
        None => begin(&mut transaction, keyring).await?,
    };
    let rows = sqlx::query_as::<_, AuditRecord>(UNCHAINED).bind(BATCH);
    let rows = rows.fetch_all(&mut *transaction).await?;
    let last: Option<Option<Vec<u8>>> =
        sqlx::query_scalar(HASH).bind(chain.head.number).fetch_optional(&mut *transaction).await?;
    let last = last.flatten();
    let mut walk = Walk::at_the_end(&chain, keyring, last.as_deref()).map_err(StoreError::Chain)?;
    for row in &rows {
        let (number, link) = walk.extend(row);
        let done = sqlx::query(NUMBER).bind(row.seq).bind(number).bind(link.as_bytes());
        done.execute(&mut *transaction).await?;
    }
    let head = walk.sign(Mark::Head);
    if !rows.is_empty() {
        set(&mut transaction, MOVE_HEAD, &head).await?;
    }
    transaction.commit().await?;
    let more = i64::try_from(rows.len()).is_ok_and(|rows| rows >= BATCH);
    Ok(Chained { rows: rows.len() as u64, head, more })
}

async fn begin(connection: &mut SqliteConnection, keyring: &Keyring) -> StoreResult<Chain> {
    let chain = Chain::begin(keyring)?;
    let (anchor, head, key) = (&chain.anchor, &chain.head, chain.sealed_key());
    sqlx::query(BEGIN_CHAIN)
        .bind(anchor.number)
        .bind(&anchor.hash)
        .bind(&anchor.mac)
        .bind(head.number)
        .bind(&head.hash)
        .bind(&head.mac)
        .bind(&key.sealed)
        .bind(&key.key_id)
        .bind(&key.wrapped_key)
        .execute(connection)
        .await?;
    Ok(chain)
}

async fn set(
    connection: &mut SqliteConnection,
    statement: &'static str,
    position: &Position,
) -> StoreResult<()> {
    let Position { number, hash, mac } = position;
    sqlx::query(statement).bind(*number).bind(hash).bind(mac).execute(connection).await?;
    Ok(())
}

async fn after(connection: &mut SqliteConnection, number: i64) -> StoreResult<Vec<AuditRecord>> {
    let rows = sqlx::query_as::<_, AuditRecord>(AFTER).bind(number).bind(BATCH);
    Ok(rows.fetch_all(connection).await?)
}

async fn prune(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    retention: Duration,
) -> StoreResult<u64> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let Some(chain) = current(&mut transaction).await? else { return Ok(0) };
    let rows = sqlx::query_as::<_, LookedAtRow>(OLDEST_ROWS)
        .bind(chain.anchor.number)
        .bind(BATCH)
        .bind(format!("{:.3}", retention.as_secs_f64()))
        .fetch_all(&mut *transaction)
        .await?;
    let mut walk = Walk::begin(&chain, keyring).map_err(StoreError::Chain)?;
    // What is not as it was chained is evidence, and stays.
    let mut old = rows.iter().take_while(|row| row.wanted);
    old.try_for_each(|row| walk.step(&row.record)).map_err(StoreError::Chain)?;
    if walk.at() == chain.anchor.number {
        return Ok(0);
    }
    set(&mut transaction, MOVE_ANCHOR, &walk.sign(Mark::Anchor)).await?;
    let done = sqlx::query(DELETE).bind(walk.at()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}
