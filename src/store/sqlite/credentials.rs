//! Credentials in SQLite.

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use super::audit::record;
use super::changes::{last_number, logged_after};
use super::tenants::{owner, set_link};
use super::{BEGIN, Sqlite};
use crate::crypto::{Keyring, Sealed, Subject};
use crate::domain::{Action, By, CredentialType, Credentials, ExpiresAt, Precondition, TenantId};
use crate::store::audit::credentials_made;
use crate::store::row::GONE;
use crate::store::seal::{CredentialsRow, open_kept, sealed};
use crate::store::versions::{CurrentRow, require};
use crate::store::{
    CredentialStore, CredentialsSet, GenesysLink, SealedCredentials, StoreResult,
    StoredCredentials, Written,
};
use crate::telemetry::metrics::timed_query;

const CURRENT: &str = "\
    SELECT c.id, c.version, c.credentials IS NOT NULL AS is_plain, c.sealed, c.key_id, c.wrapped_key \
    FROM tenant_credentials c JOIN tenants t ON t.id = c.tenant_id \
    WHERE c.tenant_id = ?1 AND c.credential_type = ?2 AND t.status = 'active'";
const TAG: &str =
    "SELECT id, version FROM tenant_credentials WHERE tenant_id = ?1 AND credential_type = ?2";
// A version that is in the history already was put there by hand; it stays as it is.
const SUPERSEDE: &str = "\
    INSERT OR IGNORE INTO tenant_credential_history \
        (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, expires_at, valid_from) \
    SELECT tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, expires_at, \
        updated_at \
    FROM tenant_credentials WHERE tenant_id = ?1 AND credential_type = ?2";
// The current version has just joined the history, so one more than its highest is the next one:
// after a revocation too.
const NEXT: &str = "\
    SELECT ( \
        SELECT id FROM tenant_credentials WHERE tenant_id = ?1 AND credential_type = ?2 \
    ), coalesce(max(version), 0) + 1 \
    FROM tenant_credential_history WHERE tenant_id = ?1 AND credential_type = ?2";
const SET: &str = "\
    INSERT INTO tenant_credentials \
        (tenant_id, credential_type, id, version, sealed, key_id, wrapped_key, expires_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
    ON CONFLICT (tenant_id, credential_type) \
    DO UPDATE SET version = excluded.version, credentials = NULL, \
        sealed = excluded.sealed, key_id = excluded.key_id, wrapped_key = excluded.wrapped_key, \
        expires_at = excluded.expires_at";
const IS_AHEAD: &str = "SELECT ?1 > strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

#[async_trait]
impl CredentialStore for Sqlite {
    async fn credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<StoredCredentials>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("credentials", find(&mut connection, &self.keyring, tenant, kind)).await
    }

    fn open_sealed(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        kept: SealedCredentials,
    ) -> Option<StoredCredentials> {
        open_kept(&self.keyring, tenant, kind, kept)
    }

    async fn set_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        credentials: &Credentials,
        link: Option<&GenesysLink>,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>> {
        let mut connection = self.writer.acquire().await?;
        let what = (credentials, link, precondition);
        let done = set(&mut connection, &self.keyring, (tenant, kind), what, by);
        timed_query("set_credentials", done).await
    }
}

async fn find(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    tenant: &TenantId,
    kind: CredentialType,
) -> StoreResult<Option<StoredCredentials>> {
    let row = sqlx::query_as::<_, CredentialsRow>(CURRENT)
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.open(keyring, tenant, kind)).transpose()
}

async fn set(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    (id, kind): (&TenantId, CredentialType),
    (credentials, link, precondition): (&Credentials, Option<&GenesysLink>, &Precondition),
    by: &By,
) -> StoreResult<Option<Written<CredentialsSet>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    if owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    if !precondition.is_none() {
        require_current(&mut transaction, id, kind, precondition).await?;
    }
    require_ahead(&mut transaction, credentials).await?;
    let before = last_number(&mut transaction).await?;
    let linked = match link {
        Some(link) => set_link(&mut transaction, id, link, by).await?,
        None => 0,
    };
    let (credential, version) = put(&mut transaction, keyring, id, kind, credentials).await?;
    let action = Action::CredentialsSet;
    let entry = credentials_made(action, (id, kind), credentials, version, by);
    record(&mut transaction, &entry).await?;
    let changes = logged_after(&mut transaction, before).await?;
    let tenant = owner(&mut transaction, id).await?.ok_or(GONE)?;
    transaction.commit().await?;
    let set = CredentialsSet { id: credential, version, tenant };
    Ok(Some(Written::logged(set, changes).with_entries(1 + linked)))
}

/// Refuses credentials whose end does not lie ahead.
async fn require_ahead(
    connection: &mut SqliteConnection,
    credentials: &Credentials,
) -> StoreResult<()> {
    let Some(end) = credentials.expires_at() else { return Ok(()) };
    let is_ahead = sqlx::query_scalar(IS_AHEAD).bind(end.to_string()).fetch_one(connection);
    if is_ahead.await? { Ok(()) } else { Err(ExpiresAt::passed().into()) }
}

/// Whether there are such credentials; refuses a write whose condition does not hold.
pub(super) async fn require_current(
    connection: &mut SqliteConnection,
    id: &TenantId,
    kind: CredentialType,
    precondition: &Precondition,
) -> StoreResult<bool> {
    let current: Option<CurrentRow> = sqlx::query_as(TAG)
        .bind(id.as_str())
        .bind(kind.as_str())
        .fetch_optional(connection)
        .await?;
    let is_there = current.is_some();
    require(precondition, current.map(|current| current.tag()))?;
    Ok(is_there)
}

/// Makes these the tenant's current credentials; returns their id and version. The transaction has
/// locked the tenant, or created it.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    id: &TenantId,
    kind: CredentialType,
    credentials: &Credentials,
) -> StoreResult<(String, i64)> {
    set_as(connection, keyring, id, kind, credentials, None).await
}

/// The same. Where there are none, they become the credential of this id, or a new one.
pub(super) async fn set_as(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    id: &TenantId,
    kind: CredentialType,
    credentials: &Credentials,
    generation: Option<String>,
) -> StoreResult<(String, i64)> {
    sqlx::query(SUPERSEDE).bind(id.as_str()).bind(kind.as_str()).execute(&mut *connection).await?;
    let (credential, version): (Option<String>, i64) = sqlx::query_as(NEXT)
        .bind(id.as_str())
        .bind(kind.as_str())
        .fetch_one(&mut *connection)
        .await?;
    let credential = credential.or(generation).unwrap_or_else(|| Uuid::new_v4().to_string());
    let subject = Subject { credential: &credential, tenant: id, kind, version };
    let Sealed { sealed, key_id, wrapped_key } = sealed(keyring, &subject, credentials)?;
    sqlx::query(SET)
        .bind(id.as_str())
        .bind(kind.as_str())
        .bind(&credential)
        .bind(version)
        .bind(sealed)
        .bind(key_id)
        .bind(wrapped_key)
        .bind(credentials.expires_at().map(|end| end.to_string()))
        .execute(connection)
        .await?;
    Ok((credential, version))
}
