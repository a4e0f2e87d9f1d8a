//! Credentials in PostgreSQL.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::audit::record;
use super::changes::logged_here;
use super::tenants::{locked_owner, owner, set_link};
use super::{Postgres, bounded};
use crate::crypto::{Keyring, Sealed, Subject};
use crate::domain::{Action, By, CredentialType, Credentials, ExpiresAt, Precondition, TenantId};
use crate::store::audit::credentials_made;
use crate::store::seal::{CredentialsRow, open_kept, sealed};
use crate::store::versions::{CurrentRow, require};
use crate::store::{
    CredentialStore, CredentialsSet, GenesysLink, SealedCredentials, StoreResult,
    StoredCredentials, Written,
};

const CURRENT: &str = "\
    SELECT c.id, c.version, c.credentials IS NOT NULL AS is_plain, c.sealed, c.key_id, c.wrapped_key \
    FROM tenant_credentials c JOIN tenants t ON t.id = c.tenant_id \
    WHERE c.tenant_id = $1 AND c.credential_type = $2 AND t.status = 'active'";
const TAG: &str =
    "SELECT id, version FROM tenant_credentials WHERE tenant_id = $1 AND credential_type = $2";
// The current version joins the history, and the next one is one more than the highest of both:
// after a revocation too. A version that is in the history already was put there by hand; it stays
// as it is.
const SUPERSEDE: &str = "\
    WITH current AS ( \
        SELECT version, id, sealed, key_id, wrapped_key, expires_at, updated_at \
        FROM tenant_credentials WHERE tenant_id = $1 AND credential_type = $2 \
    ), superseded AS ( \
        INSERT INTO tenant_credential_history \
            (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, expires_at, \
                valid_from) \
        SELECT $1, $2, version, id, sealed, key_id, wrapped_key, expires_at, updated_at \
        FROM current \
        ON CONFLICT DO NOTHING \
    ) \
    SELECT (SELECT id FROM current), 1 + greatest(0, (SELECT version FROM current), ( \
        SELECT max(version) FROM tenant_credential_history \
        WHERE tenant_id = $1 AND credential_type = $2))";
// The id too: it is what was sealed for this one that is stored.
const SET: &str = "\
    INSERT INTO tenant_credentials \
        (tenant_id, credential_type, id, version, sealed, key_id, wrapped_key, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::timestamptz) \
    ON CONFLICT (tenant_id, credential_type) \
    DO UPDATE SET id = EXCLUDED.id, version = EXCLUDED.version, credentials = NULL, \
        sealed = EXCLUDED.sealed, key_id = EXCLUDED.key_id, wrapped_key = EXCLUDED.wrapped_key, \
        expires_at = EXCLUDED.expires_at";
const IS_AHEAD: &str = "SELECT $1::text::timestamptz > clock_timestamp()";

#[async_trait]
impl CredentialStore for Postgres {
    async fn credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<StoredCredentials>> {
        let mut lease = self.lease().await?;
        let found = bounded("credentials", find(&mut lease, &self.keyring, tenant, kind)).await;
        lease.settle(found)
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
        let mut lease = self.turn(tenant, Some(kind), precondition).await?;
        let what = (credentials, link, precondition);
        let done = set(&mut lease, &self.keyring, (tenant, kind), what, by);
        let done = bounded("set_credentials", done).await;
        lease.settle(done)
    }
}

async fn find(
    connection: &mut PgConnection,
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
    connection: &mut PgConnection,
    keyring: &Keyring,
    (id, kind): (&TenantId, CredentialType),
    (credentials, link, precondition): (&Credentials, Option<&GenesysLink>, &Precondition),
    by: &By,
) -> StoreResult<Option<Written<CredentialsSet>>> {
    let mut transaction = connection.begin().await?;
    if locked_owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    if !precondition.is_none() {
        require_current(&mut transaction, id, kind, precondition).await?;
    }
    require_ahead(&mut transaction, credentials).await?;
    let linked = match link {
        Some(link) => set_link(&mut transaction, id, link, by).await?,
        None => 0,
    };
    let (credential, version) = put(&mut transaction, keyring, id, kind, credentials).await?;
    let action = Action::CredentialsSet;
    let entry = credentials_made(action, (id, kind), credentials, version, by);
    record(&mut transaction, &entry).await?;
    let changes = logged_here(&mut transaction).await?;
    let tenant = owner(&mut transaction, id).await?;
    transaction.commit().await?;
    let set = CredentialsSet { id: credential, version, tenant };
    Ok(Some(Written::logged(set, changes).with_entries(1 + linked)))
}

/// Refuses credentials whose end does not lie ahead. By the database's clock, which all replicas share.
async fn require_ahead(
    connection: &mut PgConnection,
    credentials: &Credentials,
) -> StoreResult<()> {
    let Some(end) = credentials.expires_at() else { return Ok(()) };
    let is_ahead = sqlx::query_scalar(IS_AHEAD).bind(end.to_string()).fetch_one(connection);
    if is_ahead.await? { Ok(()) } else { Err(ExpiresAt::passed().into()) }
}

/// Whether there are such credentials; refuses a write whose condition does not hold. The transaction
/// has locked the tenant.
///
/// A statement of its own: the one that waited for the lock sees of all other rows what there was
/// before it waited.
pub(super) async fn require_current(
    connection: &mut PgConnection,
    id: &TenantId,
    kind: CredentialType,
    precondition: &Precondition,
) -> StoreResult<bool> {
    let current = sqlx::query_as(TAG).bind(id.as_str()).bind(kind.as_str());
    let current: Option<CurrentRow> = current.fetch_optional(connection).await?;
    let is_there = current.is_some();
    require(precondition, current.map(|current| current.tag()))?;
    Ok(is_there)
}

/// Makes these the tenant's current credentials; returns their id and version. The transaction has
/// locked the tenant, or created it.
pub(super) async fn put(
    connection: &mut PgConnection,
    keyring: &Keyring,
    id: &TenantId,
    kind: CredentialType,
    credentials: &Credentials,
) -> StoreResult<(String, i64)> {
    set_as(connection, keyring, id, kind, credentials, None).await
}

/// The same. Where there are none, they become the credential of this id, or a new one.
pub(super) async fn set_as(
    connection: &mut PgConnection,
    keyring: &Keyring,
    id: &TenantId,
    kind: CredentialType,
    credentials: &Credentials,
    generation: Option<String>,
) -> StoreResult<(String, i64)> {
    let (credential, version): (Option<String>, i64) = sqlx::query_as(SUPERSEDE)
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
