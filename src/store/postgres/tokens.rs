//! Tokens in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Connection, PgConnection};

use super::audit::record as enter;
use super::changes::{current_xid, logged_here};
use super::{Postgres, bounded};
use crate::crypto::{Keyring, Pepper, Sealed};
use crate::domain::{
    AccessToken, Action, By, Entry, IssuedToken, Limits, NewToken, Scope, ShortText, TenantId,
    TokenId, TokenRecord, TokenStanding,
};
use crate::store::row::{GONE, number};
use crate::store::token::{
    IssuedRow, PepperRow, RecordRow, new_pepper, of_tenant_gone, tenants_of, types_of,
};
use crate::store::{Rotated, StoreError, StoreResult, TokenPage, Tokens, Written};

macro_rules! moment {
    ($column:literal) => {
        concat!(
            "to_char(",
            $column,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS ",
            $column
        )
    };
}

macro_rules! select {
    ($more:expr, $rest:literal) => {
        concat!(
            "SELECT id, name, to_json(scopes)::text AS scopes, to_json(tenants)::text AS tenants, \
                 to_json(types)::text AS types, ",
            moment!("expires_at"),
            ", ",
            moment!("revoked_at"),
            ", ",
            $more,
            " FROM tenant_tokens ",
            $rest
        )
    };
}

macro_rules! select_record {
    ($rest:literal) => {
        select!(
            concat!(
                "description, created_by, replaced_by, ",
                moment!("created_at"),
                ", ",
                moment!("last_used_at")
            ),
            $rest
        )
    };
}

const ISSUED: &str = select!("hash", "WHERE id = $1");
const RECORD: &str = select_record!("WHERE id = $1");
const LOCKED: &str = select_record!("WHERE id = $1 FOR NO KEY UPDATE");
// Nothing is contained in null, and null is no limit.
const LIST: &str = select_record!(
    "WHERE ($1::text[] IS NULL OR tenants <@ $1) AND ($2::text[] IS NULL OR types <@ $2) \
     ORDER BY created_at, tenant_tokens.id LIMIT $3 OFFSET $4"
);
const COUNT: &str = "\
    SELECT count(*) FROM tenant_tokens \
    WHERE ($1::text[] IS NULL OR tenants <@ $1) AND ($2::text[] IS NULL OR types <@ $2)";
const INSERT: &str = "\
    INSERT INTO tenant_tokens \
        (id, hash, name, description, scopes, tenants, types, expires_at, created_by) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::timestamptz, $9)";
const REVOKE: &str = "UPDATE tenant_tokens SET revoked_at = clock_timestamp() WHERE id = $1";
// What a newer version has written is copied as it is. It lives as long as the other one was to.
const SUCCEED: &str = "\
    INSERT INTO tenant_tokens \
        (id, hash, name, description, scopes, tenants, types, created_by, expires_at) \
    SELECT $2, $3, name, description, scopes, tenants, types, $4, \
        clock_timestamp() + (expires_at - created_at) \
    FROM tenant_tokens WHERE id = $1";
const REPLACE: &str = "\
    UPDATE tenant_tokens SET replaced_by = $2, \
        expires_at = CASE WHEN $3 > 0 \
            THEN least(expires_at, clock_timestamp() + make_interval(secs => $3)) \
            ELSE expires_at END, \
        revoked_at = CASE WHEN $3 > 0 THEN NULL ELSE clock_timestamp() END \
    WHERE id = $1";
// In one order, so that two tenants can be deleted at once.
const OF_TENANT: &str = "\
    SELECT id FROM tenant_tokens WHERE tenants @> ARRAY[$1] ORDER BY id FOR NO KEY UPDATE";
// A token that is limited to others as well stays good for those.
const FORGET_TENANT: &str = "\
    UPDATE tenant_tokens SET \
        tenants = CASE WHEN cardinality(tenants) > 1 \
            THEN array_remove(tenants, $1) ELSE tenants END, \
        revoked_at = CASE WHEN cardinality(tenants) > 1 THEN NULL ELSE clock_timestamp() END \
    WHERE id = ANY ($2) AND revoked_at IS NULL RETURNING id, revoked_at IS NOT NULL";
const PEPPER: &str = "SELECT sealed, key_id, wrapped_key FROM tenant_token_pepper";
// Of two that make it at once, one waits here for the other, and then reads that one's.
const NEW_PEPPER: &str = "\
    INSERT INTO tenant_token_pepper (sealed, key_id, wrapped_key) VALUES ($1, $2, $3) \
    ON CONFLICT DO NOTHING";
// Book-keeping waits for nobody: a row that is being written is left out, until its next use.
const USED: &str = "\
    WITH used AS ( \
        SELECT t.id, u.at::timestamptz AS at \
        FROM unnest($1::text[], $2::text[]) AS u (id, at) JOIN tenant_tokens t ON t.id = u.id \
        WHERE t.last_used_at IS NULL OR t.last_used_at < u.at::timestamptz \
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED \
    ) \
    UPDATE tenant_tokens t SET last_used_at = used.at FROM used WHERE t.id = used.id";

#[async_trait]
impl Tokens for Postgres {
    async fn token(&self, id: &TokenId) -> StoreResult<Option<IssuedToken>> {
        let mut lease = self.lease().await?;
        let found = bounded("token", async {
            let row = sqlx::query_as::<_, IssuedRow>(ISSUED).bind(id.as_str());
            row.fetch_optional(&mut *lease).await?.map(IssuedToken::try_from).transpose()
        })
        .await;
        lease.settle(found)
    }

    async fn pepper(&self) -> StoreResult<Option<Pepper>> {
        let mut lease = self.lease().await?;
        let found = bounded("pepper", pepper(&mut lease, &self.keyring)).await;
        lease.settle(found)
    }

    async fn token_record(&self, id: &TokenId) -> StoreResult<Option<TokenRecord>> {
        let mut lease = self.lease().await?;
        let found = bounded("token_record", record(&mut lease, RECORD, id)).await;
        lease.settle(found)
    }

    async fn tokens(
        &self,
        page: TokenPage,
        within: &Limits,
    ) -> StoreResult<(Vec<TokenRecord>, u64)> {
        let mut lease = self.lease().await?;
        let listed = bounded("tokens", list(&mut lease, page, within)).await;
        lease.settle(listed)
    }

    async fn create_token(
        &self,
        token: &NewToken,
        secret: &AccessToken,
        by: &By,
    ) -> StoreResult<Written<TokenRecord>> {
        let mut lease = self.lease().await?;
        let created = create(&mut lease, &self.keyring, token, secret, by);
        let created = bounded("create_token", created).await;
        lease.settle(created)
    }

    async fn revoke_token(
        &self,
        id: &TokenId,
        by: &By,
    ) -> StoreResult<Option<Written<TokenRecord>>> {
        let mut lease = self.lease().await?;
        let revoked = bounded("revoke_token", revoke(&mut lease, id, by)).await;
        lease.settle(revoked)
    }

    async fn rotate_token(
        &self,
        id: &TokenId,
        successor: &AccessToken,
        overlap: Duration,
        by: &By,
    ) -> StoreResult<Option<Written<Rotated>>> {
        let mut lease = self.lease().await?;
        let rotated = rotate(&mut lease, &self.keyring, id, successor, (overlap, by));
        let rotated = bounded("rotate_token", rotated).await;
        lease.settle(rotated)
    }

    async fn tokens_used(&self, uses: &[(TokenId, Timestamp)]) -> StoreResult<()> {
        let mut lease = self.lease().await?;
        let noted = bounded("tokens_used", async {
            let ids: Vec<&str> = uses.iter().map(|(id, _)| id.as_str()).collect();
            let moments: Vec<String> = uses.iter().map(|(_, at)| at.to_string()).collect();
            sqlx::query(USED).bind(ids).bind(moments).execute(&mut *lease).await?;
            Ok(())
        })
        .await;
        lease.settle(noted)
    }
}

async fn record(
    connection: &mut PgConnection,
    statement: &'static str,
    id: &TokenId,
) -> StoreResult<Option<TokenRecord>> {
    let row = sqlx::query_as::<_, RecordRow>(statement).bind(id.as_str());
    row.fetch_optional(connection).await?.map(TokenRecord::try_from).transpose()
}

async fn list(
    connection: &mut PgConnection,
    TokenPage { limit, offset }: TokenPage,
    within: &Limits,
) -> StoreResult<(Vec<TokenRecord>, u64)> {
    let (tenants, types) = (tenants_of(within), types_of(within));
    let rows = sqlx::query_as::<_, RecordRow>(LIST)
        .bind(&tenants)
        .bind(&types)
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let count = sqlx::query_scalar(COUNT).bind(tenants).bind(types);
    let total: i64 = count.fetch_one(connection).await?;
    let records = rows.into_iter().map(TokenRecord::try_from).collect::<StoreResult<_>>()?;
    Ok((records, number(total, "tenant_tokens: count")?))
}

async fn pepper(connection: &mut PgConnection, keyring: &Keyring) -> StoreResult<Option<Pepper>> {
    let row = sqlx::query_as::<_, PepperRow>(PEPPER).fetch_optional(connection).await?;
    row.map(|row| row.open(keyring)).transpose()
}

/// The pepper; the first token brings it.
async fn pepper_or_new(connection: &mut PgConnection, keyring: &Keyring) -> StoreResult<Pepper> {
    if let Some(pepper) = pepper(connection, keyring).await? {
        return Ok(pepper);
    }
    let Sealed { sealed, key_id, wrapped_key } = new_pepper(keyring)?;
    sqlx::query(NEW_PEPPER)
        .bind(sealed)
        .bind(key_id)
        .bind(wrapped_key)
        .execute(&mut *connection)
        .await?;
    pepper(connection, keyring).await?.ok_or(StoreError::Corrupt("tenant_token_pepper"))
}

async fn create(
    connection: &mut PgConnection,
    keyring: &Keyring,
    token: &NewToken,
    secret: &AccessToken,
    by: &By,
) -> StoreResult<Written<TokenRecord>> {
    let mut transaction = connection.begin().await?;
    let hash = pepper_or_new(&mut transaction, keyring).await?.hash(secret);
    let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
    sqlx::query(INSERT)
        .bind(secret.id().as_str())
        .bind(hash.0.as_slice())
        .bind(token.name.as_str())
        .bind(token.description.as_ref().map(ShortText::as_str))
        .bind(scopes)
        .bind(tenants_of(&token.limits))
        .bind(types_of(&token.limits))
        .bind(token.expires_at.map(|end| end.to_string()))
        .bind(&token.created_by)
        .execute(&mut *transaction)
        .await?;
    enter(&mut transaction, &Entry::of(by.clone(), Action::TokenCreate).to_token(secret.id()))
        .await?;
    let changes = logged_here(&mut transaction).await?;
    let value = record(&mut transaction, RECORD, secret.id()).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Written::logged(value, changes))
}

async fn revoke(
    connection: &mut PgConnection,
    id: &TokenId,
    by: &By,
) -> StoreResult<Option<Written<TokenRecord>>> {
    let mut transaction = connection.begin().await?;
    let Some(before) = record(&mut transaction, LOCKED, id).await? else { return Ok(None) };
    if before.token.revoked_at.is_some() {
        let xid = current_xid(&mut transaction).await?;
        return Ok(Some(Written::unchanged(before, xid)));
    }
    sqlx::query(REVOKE).bind(id.as_str()).execute(&mut *transaction).await?;
    enter(&mut transaction, &Entry::of(by.clone(), Action::TokenRevoke).to_token(id)).await?;
    let changes = logged_here(&mut transaction).await?;
    let value = record(&mut transaction, RECORD, id).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Some(Written::logged(value, changes)))
}

/// Has no token outlive the tenant that it is limited to, whose id another one may get; says how many
/// entries that made.
pub(super) async fn forget_tenant(
    connection: &mut PgConnection,
    tenant: &TenantId,
    by: &By,
) -> StoreResult<u64> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let of_tenant = sqlx::query_scalar(OF_TENANT).bind(tenant.as_str());
        let locked: Vec<String> = of_tenant.fetch_all(&mut *connection).await?;
        // While one was waited for, it may have been replaced: its successor is seen by the next look alone.
        if locked.len() == ids.len() {
            break;
        }
        ids = locked;
    }
    let changed = sqlx::query_as(FORGET_TENANT).bind(tenant.as_str()).bind(ids);
    let changed: Vec<(String, bool)> = changed.fetch_all(&mut *connection).await?;
    let entries = of_tenant_gone(changed, by)?;
    for entry in &entries {
        enter(connection, entry).await?;
    }
    Ok(entries.len() as u64)
}

async fn rotate(
    connection: &mut PgConnection,
    keyring: &Keyring,
    id: &TokenId,
    successor: &AccessToken,
    (overlap, by): (Duration, &By),
) -> StoreResult<Option<Written<Rotated>>> {
    let mut transaction = connection.begin().await?;
    let Some(before) = record(&mut transaction, LOCKED, id).await? else { return Ok(None) };
    let standing = before.token.standing(Timestamp::now);
    if standing != TokenStanding::Active || before.replaced_by.is_some() {
        return Err(StoreError::Inactive);
    }
    let hash = pepper_or_new(&mut transaction, keyring).await?.hash(successor);
    sqlx::query(SUCCEED)
        .bind(id.as_str())
        .bind(successor.id().as_str())
        .bind(hash.0.as_slice())
        .bind(by.actor.to_string())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(REPLACE)
        .bind(id.as_str())
        .bind(successor.id().as_str())
        .bind(overlap.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
    enter(&mut transaction, &Entry::of(by.clone(), Action::TokenRotate).to_token(id)).await?;
    enter(&mut transaction, &Entry::of(by.clone(), Action::TokenCreate).to_token(successor.id()))
        .await?;
    let changes = logged_here(&mut transaction).await?;
    let old = record(&mut transaction, RECORD, id).await?.ok_or(GONE)?;
    let new = record(&mut transaction, RECORD, successor.id()).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Some(Written::logged(Rotated { old, new }, changes).with_entries(2)))
}
