//! Tokens in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};

use super::audit::record as enter;
use super::changes::{last_number, logged_after};
use super::{BEGIN, Sqlite};
use crate::crypto::{Keyring, Pepper, Sealed};
use crate::domain::{
    AccessToken, Action, By, Entry, IssuedToken, Limits, NewToken, ShortText, TenantId, TokenId,
    TokenRecord, TokenStanding,
};
use crate::store::row::{GONE, number};
use crate::store::token::{
    IssuedRow, PepperRow, RecordRow, new_pepper, of_tenant_gone, tenants_of, types_of,
};
use crate::store::{Rotated, StoreError, StoreResult, TokenPage, Tokens, Written};
use crate::telemetry::metrics::timed_query;

macro_rules! select {
    ($more:literal, $rest:expr) => {
        concat!(
            "SELECT id, name, scopes, tenants, types, expires_at, revoked_at, ",
            $more,
            " FROM tenant_tokens ",
            $rest
        )
    };
}

macro_rules! select_record {
    ($rest:expr) => {
        select!("description, created_by, replaced_by, created_at, last_used_at", $rest)
    };
}

// Nothing that is not in the lists; and null is no limit.
macro_rules! within {
    () => {
        "WHERE (?1 IS NULL OR tenants IS NOT NULL AND NOT EXISTS ( \
             SELECT 1 FROM json_each(tenants) \
             WHERE value NOT IN (SELECT value FROM json_each(?1)))) \
         AND (?2 IS NULL OR types IS NOT NULL AND NOT EXISTS ( \
             SELECT 1 FROM json_each(types) \
             WHERE value NOT IN (SELECT value FROM json_each(?2))))"
    };
}

const ISSUED: &str = select!("hash", "WHERE id = ?1");
const RECORD: &str = select_record!("WHERE id = ?1");
const LIST: &str =
    select_record!(concat!(within!(), " ORDER BY created_at, id LIMIT ?3 OFFSET ?4"));
const COUNT: &str = concat!("SELECT count(*) FROM tenant_tokens ", within!());
const INSERT: &str = "\
    INSERT INTO tenant_tokens \
        (id, hash, name, description, scopes, tenants, types, expires_at, created_by) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const REVOKE: &str = "\
    UPDATE tenant_tokens SET revoked_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = ?1";
// A token that is limited to others as well stays good for those.
const FORGET_TENANT: &str = "\
    UPDATE tenant_tokens SET \
        tenants = CASE WHEN json_array_length(tenants) > 1 THEN ( \
            SELECT json_group_array(value) FROM json_each(tenant_tokens.tenants) WHERE value <> ?1) \
            ELSE tenants END, \
        revoked_at = CASE WHEN json_array_length(tenants) > 1 THEN NULL \
            ELSE strftime('%Y-%m-%dT%H:%M:%fZ', 'now') END \
    WHERE revoked_at IS NULL \
        AND EXISTS (SELECT 1 FROM json_each(tenant_tokens.tenants) WHERE value = ?1) \
    RETURNING id, revoked_at IS NOT NULL";
// What a newer version has written is copied as it is. It lives as long as the other one was to.
const SUCCEED: &str = "\
    INSERT INTO tenant_tokens \
        (id, hash, name, description, scopes, tenants, types, created_by, expires_at) \
    SELECT ?2, ?3, name, description, scopes, tenants, types, ?4, \
        strftime('%Y-%m-%dT%H:%M:%fZ', \
            julianday('now') + julianday(expires_at) - julianday(created_at)) \
    FROM tenant_tokens WHERE id = ?1";
const REPLACE: &str = "\
    UPDATE tenant_tokens SET replaced_by = ?2, \
        expires_at = CASE \
            WHEN ?3 > 0 AND (expires_at IS NULL \
                OR julianday(expires_at) > julianday('now') + ?3 / 86400.0) \
            THEN strftime('%Y-%m-%dT%H:%M:%fZ', julianday('now') + ?3 / 86400.0) \
            ELSE expires_at END, \
        revoked_at = CASE WHEN ?3 > 0 THEN NULL ELSE strftime('%Y-%m-%dT%H:%M:%fZ', 'now') END \
    WHERE id = ?1";
const PEPPER: &str = "SELECT sealed, key_id, wrapped_key FROM tenant_token_pepper";
const NEW_PEPPER: &str =
    "INSERT INTO tenant_token_pepper (sealed, key_id, wrapped_key) VALUES (?1, ?2, ?3)";
const USED: &str = "\
    UPDATE tenant_tokens SET last_used_at = ?2 \
    WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";

#[async_trait]
impl Tokens for Sqlite {
    async fn token(&self, id: &TokenId) -> StoreResult<Option<IssuedToken>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("token", async {
            let row = sqlx::query_as::<_, IssuedRow>(ISSUED).bind(id.as_str());
            row.fetch_optional(&mut *connection).await?.map(IssuedToken::try_from).transpose()
        })
        .await
    }

    async fn pepper(&self) -> StoreResult<Option<Pepper>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("pepper", pepper(&mut connection, &self.keyring)).await
    }

    async fn token_record(&self, id: &TokenId) -> StoreResult<Option<TokenRecord>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("token_record", record(&mut connection, id)).await
    }

    async fn tokens(
        &self,
        page: TokenPage,
        within: &Limits,
    ) -> StoreResult<(Vec<TokenRecord>, u64)> {
        let mut connection = self.readers.acquire().await?;
        timed_query("tokens", list(&mut connection, page, within)).await
    }

    async fn create_token(
        &self,
        token: &NewToken,
        secret: &AccessToken,
        by: &By,
    ) -> StoreResult<Written<TokenRecord>> {
        let mut connection = self.writer.acquire().await?;
        let created = create(&mut connection, &self.keyring, token, secret, by);
        timed_query("create_token", created).await
    }

    async fn revoke_token(
        &self,
        id: &TokenId,
        by: &By,
    ) -> StoreResult<Option<Written<TokenRecord>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query("revoke_token", revoke(&mut connection, id, by)).await
    }

    async fn rotate_token(
        &self,
        id: &TokenId,
        successor: &AccessToken,
        overlap: Duration,
        by: &By,
    ) -> StoreResult<Option<Written<Rotated>>> {
        let mut connection = self.writer.acquire().await?;
        let rotated = rotate(&mut connection, &self.keyring, id, successor, (overlap, by));
        timed_query("rotate_token", rotated).await
    }

    async fn tokens_used(&self, uses: &[(TokenId, Timestamp)]) -> StoreResult<()> {
        let mut connection = self.writer.acquire().await?;
        timed_query("tokens_used", async {
            let mut transaction = connection.begin_with(BEGIN).await?;
            for (id, at) in uses {
                let at = at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
                sqlx::query(USED).bind(id.as_str()).bind(at).execute(&mut *transaction).await?;
            }
            Ok(transaction.commit().await?)
        })
        .await
    }
}

async fn record(
    connection: &mut SqliteConnection,
    id: &TokenId,
) -> StoreResult<Option<TokenRecord>> {
    let row = sqlx::query_as::<_, RecordRow>(RECORD).bind(id.as_str());
    row.fetch_optional(connection).await?.map(TokenRecord::try_from).transpose()
}

/// A list as a column has it.
fn json(list: Option<Vec<String>>) -> Option<String> {
    list.map(|list| serde_json::Value::from(list).to_string())
}

async fn list(
    connection: &mut SqliteConnection,
    TokenPage { limit, offset }: TokenPage,
    within: &Limits,
) -> StoreResult<(Vec<TokenRecord>, u64)> {
    let (tenants, types) = (json(tenants_of(within)), json(types_of(within)));
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

async fn pepper(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
) -> StoreResult<Option<Pepper>> {
    let row = sqlx::query_as::<_, PepperRow>(PEPPER).fetch_optional(connection).await?;
    row.map(|row| row.open(keyring)).transpose()
}

/// The pepper; the first token brings it. There is no other writer meanwhile.
async fn pepper_or_new(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
) -> StoreResult<Pepper> {
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
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    token: &NewToken,
    secret: &AccessToken,
    by: &By,
) -> StoreResult<Written<TokenRecord>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let before = last_number(&mut transaction).await?;
    let hash = pepper_or_new(&mut transaction, keyring).await?.hash(secret);
    let scopes: Vec<String> = token.scopes.iter().map(|scope| scope.to_string()).collect();
    sqlx::query(INSERT)
        .bind(secret.id().as_str())
        .bind(hash.0.as_slice())
        .bind(token.name.as_str())
        .bind(token.description.as_ref().map(ShortText::as_str))
        .bind(json(Some(scopes)))
        .bind(json(tenants_of(&token.limits)))
        .bind(json(types_of(&token.limits)))
        .bind(token.expires_at.map(|end| end.to_string()))
        .bind(&token.created_by)
        .execute(&mut *transaction)
        .await?;
    enter(&mut transaction, &Entry::of(by.clone(), Action::TokenCreate).to_token(secret.id()))
        .await?;
    let changes = logged_after(&mut transaction, before).await?;
    let value = record(&mut transaction, secret.id()).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Written::logged(value, changes))
}

async fn revoke(
    connection: &mut SqliteConnection,
    id: &TokenId,
    by: &By,
) -> StoreResult<Option<Written<TokenRecord>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let Some(before) = record(&mut transaction, id).await? else { return Ok(None) };
    let last = last_number(&mut transaction).await?;
    if before.token.revoked_at.is_some() {
        return Ok(Some(Written::unchanged(before, last.unsigned_abs())));
    }
    sqlx::query(REVOKE).bind(id.as_str()).execute(&mut *transaction).await?;
    enter(&mut transaction, &Entry::of(by.clone(), Action::TokenRevoke).to_token(id)).await?;
    let changes = logged_after(&mut transaction, last).await?;
    let value = record(&mut transaction, id).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Some(Written::logged(value, changes)))
}

/// Has no token outlive the tenant that it is limited to, whose id another one may get; says how many
/// entries that made.
pub(super) async fn forget_tenant(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    by: &By,
) -> StoreResult<u64> {
    let changed = sqlx::query_as(FORGET_TENANT).bind(tenant.as_str());
    let entries = of_tenant_gone(changed.fetch_all(&mut *connection).await?, by)?;
    for entry in &entries {
        enter(connection, entry).await?;
    }
    Ok(entries.len() as u64)
}

async fn rotate(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    id: &TokenId,
    successor: &AccessToken,
    (overlap, by): (Duration, &By),
) -> StoreResult<Option<Written<Rotated>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let Some(found) = record(&mut transaction, id).await? else { return Ok(None) };
    let standing = found.token.standing(Timestamp::now);
    if standing != TokenStanding::Active || found.replaced_by.is_some() {
        return Err(StoreError::Inactive);
    }
    let before = last_number(&mut transaction).await?;
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
    let changes = logged_after(&mut transaction, before).await?;
    let old = record(&mut transaction, id).await?.ok_or(GONE)?;
    let new = record(&mut transaction, successor.id()).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Some(Written::logged(Rotated { old, new }, changes).with_entries(2)))
}
