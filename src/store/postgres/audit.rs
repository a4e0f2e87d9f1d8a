//! The audit trail in PostgreSQL.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::{Connection, FromRow, PgConnection};

use super::lease::bounded_by;
use super::{Postgres, bounded};
use crate::crypto::{Keyring, Mark};
use crate::domain::{CredentialType, Entry, TenantId, TokenId};
use crate::store::audit::{BATCH, ChainRow, LookedAtRow, MOST_COUNTED, StandingRow, page};
use crate::store::{
    AuditPage, AuditQuery, AuditRecord, AuditTrail, Break, Chain, Chained, Order, Position,
    Standing, StoreError, StoreResult, Walk,
};

// To what is no moment of the calendar no format applies.
macro_rules! record_columns {
    () => {
        "number, seq, coalesce( \
             to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             occurred_at::text) AS occurred_at, \
         actor_kind, actor_id, action, tenant_id, credential_type, version, token_id, \
         to_json(fields)::text AS fields, outcome, times, address, request_id, hash "
    };
}

macro_rules! chain_columns {
    () => {
        "anchor, anchor_hash, anchor_mac, head, head_hash, head_mac, sealed, key_id, wrapped_key "
    };
}

// Lists of lists must be of one length in an array, so each list of names travels as JSON.
const APPEND: &str = "\
    INSERT INTO tenant_audit (actor_kind, actor_id, action, tenant_id, credential_type, version, \
        token_id, fields, outcome, times, address, request_id) \
    SELECT actor_kind, actor_id, action, tenant_id, credential_type, version, token_id, \
        ARRAY(SELECT json_array_elements_text(fields::json)), outcome, times, address, request_id \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], \
        $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[], $12::text[]) \
        AS entry (actor_kind, actor_id, action, tenant_id, credential_type, version, token_id, fields, \
            outcome, times, address, request_id)";

macro_rules! select_page {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT ",
            record_columns!(),
            ", ($3::text IS NULL OR action = $3) \
                 AND ($4::text IS NULL OR outcome = $4) \
                 AND ($5::text IS NULL OR actor_kind = $5 OR actor_id IS NOT DISTINCT FROM $5) \
                 AND ($6::text IS NULL OR occurred_at >= $6::timestamptz) \
                 AND ($7::text IS NULL OR occurred_at < $7::timestamptz) AS wanted \
             FROM tenant_audit WHERE ",
            $where,
            " ORDER BY number ",
            $order,
            " LIMIT $2"
        )
    };
}
const OLDEST: &str = select_page!("number > $1", "ASC");
const NEWEST: &str = select_page!("number < $1", "DESC");
const OLDEST_OF_TENANT: &str = select_page!("number > $1 AND tenant_id = $8", "ASC");
const NEWEST_OF_TENANT: &str = select_page!("number < $1 AND tenant_id = $8", "DESC");

// One number among the advisory locks of the database, chosen at random. Pruning takes it as well.
const CHAINING: &str = "SELECT pg_try_advisory_xact_lock(7718250946112043)";
const CHAIN: &str = concat!("SELECT ", chain_columns!(), "FROM tenant_audit_chain");
const IS_NUMBERED: &str = "SELECT EXISTS (SELECT 1 FROM tenant_audit WHERE number IS NOT NULL)";
const BEGIN_CHAIN: &str = concat!(
    "INSERT INTO tenant_audit_chain (",
    chain_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
);
const UNCHAINED: &str = concat!(
    "SELECT ",
    record_columns!(),
    "FROM tenant_audit WHERE number IS NULL AND seq > $2 ORDER BY seq LIMIT $1"
);
const HASH: &str = "SELECT hash FROM tenant_audit WHERE number = $1";
const NUMBER: &str = "\
    UPDATE tenant_audit a SET number = given.number, hash = given.hash \
    FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS given (seq, number, hash) \
    WHERE a.seq = given.seq AND a.number IS NULL";
const MOVE_HEAD: &str =
    "UPDATE tenant_audit_chain SET head = $1, head_hash = $2, head_mac = $3 WHERE one_row";
const MOVE_ANCHOR: &str =
    "UPDATE tenant_audit_chain SET anchor = $1, anchor_hash = $2, anchor_mac = $3 WHERE one_row";
const AFTER: &str = concat!(
    "SELECT ",
    record_columns!(),
    "FROM tenant_audit WHERE number > $1 ORDER BY number LIMIT $2"
);
const OLDEST_ROWS: &str = concat!(
    "SELECT ",
    record_columns!(),
    ", occurred_at < now() - make_interval(secs => $3) AS wanted \
     FROM tenant_audit WHERE number > $1 ORDER BY number LIMIT $2"
);
const DELETE: &str = "DELETE FROM tenant_audit WHERE number <= $1";
const STANDING: &str = concat!(
    "SELECT ",
    chain_columns!(),
    ", u.unchained, u.first_unchained, \
       least(extract(epoch FROM clock_timestamp() - u.oldest) * 1000, 1e15)::bigint \
           AS oldest_unchained_ms, \
       (SELECT coalesce(max(seq), 0) FROM tenant_audit) AS last, \
       (SELECT count(*) FROM ( \
           SELECT 1 FROM tenant_audit WHERE number > coalesce(head, 0) LIMIT $1) AS b) AS beyond, \
       (SELECT count(*) FROM ( \
           SELECT 1 FROM tenant_audit WHERE number <= anchor LIMIT $1) AS b) AS behind \
     FROM ( \
         SELECT count(*) AS unchained, min(seq) AS first_unchained, \
             min(occurred_at) FILTER (WHERE isfinite(occurred_at)) AS oldest \
         FROM ( \
             SELECT seq, occurred_at FROM tenant_audit \
             WHERE number IS NULL AND seq > $2 ORDER BY seq LIMIT $1 \
         ) AS unchained \
     ) AS u LEFT JOIN tenant_audit_chain ON true"
);

/// A look from the beginning reads what any open transaction keeps in the index.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
const LOOK_PATIENCE: &str = "SET LOCAL statement_timeout = '30s'";

/// How the trail stands, and what a look has found.
#[derive(FromRow)]
struct LookRow {
    #[sqlx(flatten)]
    standing: StandingRow,
    first_unchained: Option<i64>,
    last: i64,
}

#[async_trait]
impl AuditTrail for Postgres {
    async fn append(&self, entries: &[Entry]) -> StoreResult<()> {
        let mut lease = self.lease().await?;
        let done = bounded("audit", append(&mut lease, entries)).await;
        lease.settle(done)
    }

    async fn audit_page(&self, query: &AuditQuery) -> StoreResult<AuditPage> {
        let mut lease = self.lease().await?;
        let read = bounded("audit_page", read(&mut lease, query)).await;
        lease.settle(read)
    }

    async fn chain(&self) -> StoreResult<Option<Chained>> {
        let mut lease = self.lease().await?;
        let chained = chain(&mut lease, &self.keyring, self.looks.floor());
        let done = bounded("audit_chain", chained).await;
        lease.settle(done)
    }

    async fn prune_audit(&self, retention: Duration) -> StoreResult<Option<u64>> {
        let mut lease = self.lease().await?;
        let done = bounded("audit_prune", prune(&mut lease, &self.keyring, retention)).await;
        lease.settle(done)
    }

    async fn audit_standing(&self) -> StoreResult<Standing> {
        let mut lease = self.lease().await?;
        let behind = self.looks.next(Instant::now());
        let read = bounded_by(LONGEST_LOOK, "audit_standing", async {
            let row = look(&mut lease, behind).await?;
            self.looks.found(row.first_unchained, row.last, Instant::now());
            Ok(row.standing.into())
        });
        let read = read.await;
        lease.settle(read)
    }

    fn walk(&self, chain: &Chain) -> Result<Walk, Break> {
        Walk::begin(chain, &self.keyring)
    }

    async fn chained_after(&self, number: i64) -> StoreResult<Vec<AuditRecord>> {
        let mut lease = self.lease().await?;
        let read = bounded("audit_walk", after(&mut lease, number)).await;
        lease.settle(read)
    }
}

/// Adds an entry in the running transaction.
pub(super) async fn record(connection: &mut PgConnection, entry: &Entry) -> StoreResult<()> {
    append(connection, std::slice::from_ref(entry)).await
}

async fn look(connection: &mut PgConnection, behind: i64) -> StoreResult<LookRow> {
    let standing = sqlx::query_as(STANDING).bind(MOST_COUNTED + 1).bind(behind);
    if behind > 0 {
        return Ok(standing.fetch_one(connection).await?);
    }
    let mut transaction = connection.begin().await?;
    sqlx::query(LOOK_PATIENCE).execute(&mut *transaction).await?;
    let row = standing.fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(row)
}

async fn append(connection: &mut PgConnection, entries: &[Entry]) -> StoreResult<()> {
    fn column<'e, T>(entries: &'e [Entry], of: impl FnMut(&'e Entry) -> T) -> Vec<T> {
        entries.iter().map(of).collect()
    }
    let names = |entry: &Entry| serde_json::json!(entry.fields.as_slice()).to_string();
    let done = sqlx::query(APPEND)
        .bind(column(entries, |entry| entry.by.actor.kind()))
        .bind(column(entries, |entry| entry.by.actor.id()))
        .bind(column(entries, |entry| entry.action.as_str()))
        .bind(column(entries, |entry| entry.tenant.as_ref().map(TenantId::as_str)))
        .bind(column(entries, |entry| entry.kind.map(CredentialType::as_str)))
        .bind(column(entries, |entry| entry.version))
        .bind(column(entries, |entry| entry.token.as_ref().map(TokenId::as_str)))
        .bind(column(entries, names))
        .bind(column(entries, |entry| entry.outcome.as_str()))
        .bind(column(entries, |entry| i64::try_from(entry.times).unwrap_or(i64::MAX)))
        .bind(column(entries, |entry| entry.by.address.map(|address| address.to_string())))
        .bind(column(entries, |entry| entry.by.request_id.as_deref()))
        .execute(connection)
        .await;
    done.map(|_| ()).map_err(|error| StoreError::of_audit(&error))
}

async fn read(connection: &mut PgConnection, query: &AuditQuery) -> StoreResult<AuditPage> {
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
        .bind(query.from.map(|moment| moment.to_string()))
        .bind(query.to.map(|moment| moment.to_string()));
    let statement = match &query.tenant {
        Some(tenant) => statement.bind(tenant.as_str()),
        None => statement,
    };
    Ok(page(statement.fetch_all(connection).await?, query))
}

/// The chain, its row locked by the advisory lock that this transaction has.
async fn current(connection: &mut PgConnection) -> StoreResult<Option<Chain>> {
    let row = sqlx::query_as::<_, ChainRow>(CHAIN).fetch_optional(&mut *connection).await?;
    if let Some(chain) = row.and_then(ChainRow::into_chain) {
        return Ok(Some(chain));
    }
    let is_numbered: bool = sqlx::query_scalar(IS_NUMBERED).fetch_one(connection).await?;
    if is_numbered { Err(StoreError::Chain(Break::NoChain)) } else { Ok(None) }
}

async fn chain(
    connection: &mut PgConnection,
    keyring: &Keyring,
    behind: i64,
) -> StoreResult<Option<Chained>> {
    let mut transaction = connection.begin().await?;
    let ours: bool = sqlx::query_scalar(CHAINING).fetch_one(&mut *transaction).await?;
    if !ours {
        return Ok(None);
    }
    let chain = match current(&mut transaction).await? {
        Some(chain) => chain,
        None => begin(&mut transaction, keyring).await?,
    };
    let rows = sqlx::query_as::<_, AuditRecord>(UNCHAINED).bind(BATCH).bind(behind);
    let rows = rows.fetch_all(&mut *transaction).await?;
    let last: Option<Option<Vec<u8>>> =
        sqlx::query_scalar(HASH).bind(chain.head.number).fetch_optional(&mut *transaction).await?;
    let last = last.flatten();
    let mut walk = Walk::at_the_end(&chain, keyring, last.as_deref()).map_err(StoreError::Chain)?;
    let (mut seqs, mut numbers, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let (number, link) = walk.extend(row);
        seqs.push(row.seq);
        numbers.push(number);
        hashes.push(link.as_bytes().to_vec());
    }
    let head = walk.sign(Mark::Head);
    if !rows.is_empty() {
        let done = sqlx::query(NUMBER).bind(&seqs).bind(&numbers).bind(&hashes);
        let done = done.execute(&mut *transaction).await?;
        if done.rows_affected() != rows.len() as u64 {
            return Err(StoreError::Corrupt("tenant_audit: a row was taken while it was chained"));
        }
        set(&mut transaction, MOVE_HEAD, &head).await?;
    }
    transaction.commit().await?;
    let more = i64::try_from(rows.len()).is_ok_and(|rows| rows >= BATCH);
    Ok(Some(Chained { rows: rows.len() as u64, head, more }))
}

async fn begin(connection: &mut PgConnection, keyring: &Keyring) -> StoreResult<Chain> {
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
    connection: &mut PgConnection,
    statement: &'static str,
    position: &Position,
) -> StoreResult<()> {
    let Position { number, hash, mac } = position;
    sqlx::query(statement).bind(*number).bind(hash).bind(mac).execute(connection).await?;
    Ok(())
}

async fn after(connection: &mut PgConnection, number: i64) -> StoreResult<Vec<AuditRecord>> {
    let rows = sqlx::query_as::<_, AuditRecord>(AFTER).bind(number).bind(BATCH);
    Ok(rows.fetch_all(connection).await?)
}

async fn prune(
    connection: &mut PgConnection,
    keyring: &Keyring,
    retention: Duration,
) -> StoreResult<Option<u64>> {
    let mut transaction = connection.begin().await?;
    let ours: bool = sqlx::query_scalar(CHAINING).fetch_one(&mut *transaction).await?;
    if !ours {
        return Ok(None);
    }
    let Some(chain) = current(&mut transaction).await? else { return Ok(Some(0)) };
    let rows = sqlx::query_as::<_, LookedAtRow>(OLDEST_ROWS)
        .bind(chain.anchor.number)
        .bind(BATCH)
        .bind(retention.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
    let mut walk = Walk::begin(&chain, keyring).map_err(StoreError::Chain)?;
    // What is not as it was chained is evidence, and stays.
    let mut old = rows.iter().take_while(|row| row.wanted);
    old.try_for_each(|row| walk.step(&row.record)).map_err(StoreError::Chain)?;
    if walk.at() == chain.anchor.number {
        return Ok(Some(0));
    }
    set(&mut transaction, MOVE_ANCHOR, &walk.sign(Mark::Anchor)).await?;
    let done = sqlx::query(DELETE).bind(walk.at()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some(done.rows_affected()))
}
