//! Versions of credentials in SQLite.
//!
//! What is destroyed is overwritten where it was (`secure_delete`), and the write-ahead log, which has
//! it as it was, is emptied.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use super::audit::record;
use super::changes::{last_number, logged_after};
use super::credentials::{put, require_current, set_as};
use super::tenants::owner;
use super::{BEGIN, BUSY_TIMEOUT, Sqlite};
use crate::crypto::Keyring;
use crate::domain::{
    Action, By, CredentialType, NoVersion, Precondition, TenantId, Version, VersionInfo,
};
use crate::store::audit::{credentials_gone, credentials_made, swept};
use crate::store::row::GONE;
use crate::store::versions::{BATCH_ROWS, BATCHES, VersionInfoRow, VersionRow, page, readable};
use crate::store::{
    CredentialVersions, CredentialsSet, StoreError, StoreResult, StoredCredentials, VersionsPage,
    Written,
};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::timed_query;

const LIST: &str = "\
    SELECT c.version, c.id AS generation, c.updated_at AS valid_from, c.expires_at, \
        NULL AS superseded_at, NULL AS deleted_at, NULL AS destroyed_at \
    FROM tenant_credentials c JOIN tenants t ON t.id = c.tenant_id AND t.status = 'active' \
    WHERE c.tenant_id = ?1 AND c.credential_type = ?2 AND (?3 IS NULL OR c.version < ?3) \
    UNION ALL SELECT h.version, h.id, h.valid_from, h.expires_at, h.superseded_at, \
        h.deleted_at, h.destroyed_at \
    FROM tenant_credential_history h JOIN tenants t ON t.id = h.tenant_id AND t.status = 'active' \
    WHERE h.tenant_id = ?1 AND h.credential_type = ?2 AND (?3 IS NULL OR h.version < ?3) \
    ORDER BY version DESC LIMIT ?4";

/// An end that is still ahead.
macro_rules! ahead {
    ($column:literal) => {
        concat!(
            "CASE WHEN ",
            $column,
            " > strftime('%Y-%m-%dT%H:%M:%fZ', 'now') THEN ",
            $column,
            " END AS expires_at"
        )
    };
}

macro_rules! history {
    ($rest:literal) => {
        concat!(
            "SELECT h.id, h.version, h.credentials IS NOT NULL AS is_plain, h.sealed, h.key_id, \
                 h.wrapped_key, h.deleted_at IS NOT NULL AS is_deleted, \
                 h.destroyed_at IS NOT NULL AS is_destroyed, ",
            ahead!("h.expires_at"),
            " FROM tenant_credential_history h \
             WHERE h.tenant_id = ?1 AND h.credential_type = ?2 ",
            $rest
        )
    };
}

const OF_VERSION: &str = concat!(
    "SELECT c.id, c.version, c.credentials IS NOT NULL AS is_plain, c.sealed, c.key_id, \
         c.wrapped_key, false AS is_deleted, false AS is_destroyed, ",
    ahead!("c.expires_at"),
    " FROM tenant_credentials c \
     WHERE c.tenant_id = ?1 AND c.credential_type = ?2 AND c.version = ?3 UNION ALL ",
    history!("AND h.version = ?3")
);
const LAST: &str = history!("ORDER BY h.version DESC LIMIT 1");
const IS_ACTIVE: &str = "SELECT EXISTS (SELECT 1 FROM tenants WHERE id = ?1 AND status = 'active')";
const ANY: &str = "\
    SELECT EXISTS (SELECT 1 FROM tenant_credential_history \
        WHERE tenant_id = ?1 AND credential_type = ?2 AND (?3 IS NULL OR version = ?3))";
const ANY_OF_ACTIVE: &str = "\
    SELECT EXISTS (SELECT 1 FROM tenants t WHERE t.id = ?1 AND t.status = 'active' AND ( \
        EXISTS (SELECT 1 FROM tenant_credentials \
            WHERE tenant_id = ?1 AND credential_type = ?2) \
        OR EXISTS (SELECT 1 FROM tenant_credential_history \
            WHERE tenant_id = ?1 AND credential_type = ?2)))";
const DELETE: &str = "\
    DELETE FROM tenant_credentials WHERE tenant_id = ?1 AND credential_type = ?2 \
        AND (?3 IS NULL OR version = ?3)";
const REVIVE: &str = "\
    UPDATE tenant_credential_history SET deleted_at = NULL \
    WHERE tenant_id = ?1 AND credential_type = ?2 AND id = ?3 AND deleted_at IS NOT NULL";
// Before the current version is deleted, so that its trigger finds it in the history, without its
// bytes, and copies none.
const BURY: &str = "\
    INSERT OR IGNORE INTO tenant_credential_history \
        (tenant_id, credential_type, version, id, expires_at, valid_from, destroyed_at) \
    SELECT tenant_id, credential_type, version, id, expires_at, updated_at, \
        strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
    FROM tenant_credentials WHERE tenant_id = ?1 AND credential_type = ?2 \
        AND (?3 IS NULL OR version = ?3)";
const DESTROY: &str = "\
    UPDATE tenant_credential_history SET credentials = NULL, sealed = NULL, key_id = NULL, \
        wrapped_key = NULL, destroyed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
    WHERE tenant_id = ?1 AND credential_type = ?2 AND (?3 IS NULL OR version = ?3) \
        AND destroyed_at IS NULL";

const DESTROY_DELETED: &str = "\
    UPDATE tenant_credential_history SET credentials = NULL, sealed = NULL, key_id = NULL, \
        wrapped_key = NULL, destroyed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
    WHERE (tenant_id, credential_type, version) IN ( \
        SELECT tenant_id, credential_type, version FROM tenant_credential_history \
        WHERE deleted_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || ?1 || ' seconds') \
            AND sealed IS NOT NULL \
        ORDER BY deleted_at LIMIT ?2)";
// What was destroyed is in the write-ahead log until that is overwritten. (busy, pages, moved)
const FORGET: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

#[async_trait]
impl CredentialVersions for Sqlite {
    async fn versions(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        page: VersionsPage,
    ) -> StoreResult<Option<Vec<VersionInfo>>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("versions", list(&mut connection, tenant, kind, page)).await
    }

    async fn version(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        version: Version,
    ) -> StoreResult<Option<StoredCredentials>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("version", find(&mut connection, &self.keyring, tenant, kind, version)).await
    }

    async fn roll_back(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        to: Version,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query(
            "roll_back",
            roll_back(&mut connection, &self.keyring, (tenant, kind), (to, precondition), by),
        )
        .await
    }

    async fn delete_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<()>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query("delete_credentials", delete(&mut connection, (tenant, kind), precondition, by))
            .await
    }

    async fn undelete_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query(
            "undelete_credentials",
            undelete(&mut connection, &self.keyring, (tenant, kind), precondition, by),
        )
        .await
    }

    async fn destroy_versions(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        which: Option<Version>,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<u64>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query(
            "destroy_versions",
            destroy(&mut connection, (tenant, kind), (which, precondition), by),
        )
        .await
    }

    async fn destroy_deleted(&self, retention: Duration) -> StoreResult<Option<u64>> {
        let mut destroyed = 0;
        for _ in 0..BATCHES {
            let mut connection = self.writer.acquire().await?;
            let batch = destroy_batch(&mut connection, retention);
            let batch = timed_query("destroy_deleted", batch).await?;
            destroyed += batch;
            if batch < BATCH_ROWS.unsigned_abs() {
                break;
            }
        }
        // Also where there was nothing: a process may have been killed before it came to this.
        forget(&mut *self.writer.acquire().await?).await;
        Ok(Some(destroyed))
    }
}

async fn list(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    kind: CredentialType,
    VersionsPage { limit, before }: VersionsPage,
) -> StoreResult<Option<Vec<VersionInfo>>> {
    let rows: Vec<VersionInfoRow> = sqlx::query_as(LIST)
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .bind(before.map(Version::get))
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await?;
    if rows.is_empty() {
        let any = sqlx::query_scalar(ANY_OF_ACTIVE).bind(tenant.as_str()).bind(kind.as_str());
        if !any.fetch_one(connection).await? {
            return Ok(None);
        }
    }
    page(rows).map(Some)
}

async fn find(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    tenant: &TenantId,
    kind: CredentialType,
    version: Version,
) -> StoreResult<Option<StoredCredentials>> {
    let is_active = sqlx::query_scalar(IS_ACTIVE).bind(tenant.as_str());
    if !is_active.fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let row = of_version(connection, tenant, kind, version).await?;
    readable(row.map(|row| row.open(keyring, tenant, kind)))
}

async fn of_version(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    kind: CredentialType,
    version: Version,
) -> StoreResult<Option<VersionRow>> {
    let row = sqlx::query_as(OF_VERSION)
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .bind(version.get())
        .fetch_optional(connection)
        .await?;
    Ok(row)
}

async fn roll_back(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    (id, kind): (&TenantId, CredentialType),
    (to, precondition): (Version, &Precondition),
    by: &By,
) -> StoreResult<Option<Written<CredentialsSet>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    if owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    let before = last_number(&mut transaction).await?;
    if !require_current(&mut transaction, id, kind, precondition).await? {
        return Err(NoVersion::OfType(kind).into());
    }
    let row = of_version(&mut transaction, id, kind, to).await?.ok_or(NoVersion::Unknown)?;
    let stored = row.open_again(keyring, id, kind)?;
    let (credential, version) =
        put(&mut transaction, keyring, id, kind, &stored.credentials).await?;
    let (action, made) = (Action::CredentialsRollBack, &stored.credentials);
    record(&mut transaction, &credentials_made(action, (id, kind), made, version, by)).await?;
    let changes = logged_after(&mut transaction, before).await?;
    let tenant = owner(&mut transaction, id).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Some(Written::logged(CredentialsSet { id: credential, version, tenant }, changes)))
}

async fn delete(
    connection: &mut SqliteConnection,
    (id, kind): (&TenantId, CredentialType),
    precondition: &Precondition,
    by: &By,
) -> StoreResult<Option<Written<()>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    if owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    let before = last_number(&mut transaction).await?;
    if !require_current(&mut transaction, id, kind, precondition).await? {
        return Err(NoVersion::OfType(kind).into());
    }
    of_which(&mut transaction, DELETE, (id, kind), None).await?;
    let action = Action::CredentialsDelete;
    record(&mut transaction, &credentials_gone(action, (id, kind), None, by)).await?;
    let changes = logged_after(&mut transaction, before).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged((), changes)))
}

async fn undelete(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    (id, kind): (&TenantId, CredentialType),
    precondition: &Precondition,
    by: &By,
) -> StoreResult<Option<Written<CredentialsSet>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    if owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    let before = last_number(&mut transaction).await?;
    if require_current(&mut transaction, id, kind, precondition).await? {
        return Err(NoVersion::Present(kind).into());
    }
    let row: Option<VersionRow> = sqlx::query_as(LAST)
        .bind(id.as_str())
        .bind(kind.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
    let stored = row.ok_or(NoVersion::OfType(kind))?.open_deleted(keyring, id, kind)?;
    let (generation, credentials) = (stored.id, stored.credentials);
    let (credential, version) =
        set_as(&mut transaction, keyring, id, kind, &credentials, Some(generation)).await?;
    sqlx::query(REVIVE)
        .bind(id.as_str())
        .bind(kind.as_str())
        .bind(&credential)
        .execute(&mut *transaction)
        .await?;
    let (action, made) = (Action::CredentialsUndelete, &credentials);
    record(&mut transaction, &credentials_made(action, (id, kind), made, version, by)).await?;
    let changes = logged_after(&mut transaction, before).await?;
    let tenant = owner(&mut transaction, id).await?.ok_or(GONE)?;
    transaction.commit().await?;
    Ok(Some(Written::logged(CredentialsSet { id: credential, version, tenant }, changes)))
}

async fn destroy(
    connection: &mut SqliteConnection,
    place: (&TenantId, CredentialType),
    (which, precondition): (Option<Version>, &Precondition),
    by: &By,
) -> StoreResult<Option<Written<u64>>> {
    let (id, kind) = place;
    let mut transaction = connection.begin_with(BEGIN).await?;
    if owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    let before = last_number(&mut transaction).await?;
    require_current(&mut transaction, id, kind, precondition).await?;
    let mut destroyed = of_which(&mut transaction, BURY, place, which).await?;
    of_which(&mut transaction, DELETE, place, which).await?;
    destroyed += of_which(&mut transaction, DESTROY, place, which).await?;
    if destroyed == 0 {
        let any = sqlx::query_scalar(ANY)
            .bind(id.as_str())
            .bind(kind.as_str())
            .bind(which.map(Version::get));
        if !any.fetch_one(&mut *transaction).await? {
            let none = if which.is_some() { NoVersion::Unknown } else { NoVersion::OfType(kind) };
            return Err(none.into());
        }
    }
    let (action, version) = (Action::CredentialsDestroy, which.map(Version::get));
    record(&mut transaction, &credentials_gone(action, place, version, by)).await?;
    let changes = logged_after(&mut transaction, before).await?;
    transaction.commit().await?;
    if destroyed > 0 {
        forget(connection).await;
    }
    Ok(Some(Written::logged_if_any(destroyed, changes)))
}

/// Runs a statement on this version, or on all of them; says how many rows it has changed.
async fn of_which(
    connection: &mut SqliteConnection,
    statement: &'static str,
    (id, kind): (&TenantId, CredentialType),
    which: Option<Version>,
) -> StoreResult<u64> {
    let done = sqlx::query(statement)
        .bind(id.as_str())
        .bind(kind.as_str())
        .bind(which.map(Version::get))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

async fn destroy_batch(connection: &mut SqliteConnection, retention: Duration) -> StoreResult<u64> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let done = sqlx::query(DESTROY_DELETED)
        .bind(format!("{:.3}", retention.as_secs_f64()))
        .bind(BATCH_ROWS)
        .execute(&mut *transaction)
        .await?;
    let versions = done.rows_affected();
    if versions > 0 {
        record(&mut transaction, &swept(versions)).await?;
    }
    transaction.commit().await?;
    Ok(versions)
}

/// Empties the write-ahead log. That it can't be done fails no write: it is done again within the
/// hour.
async fn forget(connection: &mut SqliteConnection) {
    match forget_soon(connection).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "somebody reads the database: the write-ahead log keeps for now what was destroyed"
        ),
        Err(error) => {
            let error = chain(&StoreError::from(error));
            tracing::warn!(error, "the write-ahead log keeps for now what was destroyed");
        }
    }
}

/// Waits for readers a moment only: whoever wants to write waits as well.
async fn forget_soon(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    sqlx::query("PRAGMA busy_timeout = 250").execute(&mut *connection).await?;
    let done = sqlx::query_as::<_, (i64, i64, i64)>(FORGET).fetch_one(&mut *connection).await;
    let patience = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
    sqlx::query(sqlx::AssertSqlSafe(patience)).execute(connection).await?;
    done.map(|(is_busy, _, _)| is_busy == 0)
}
