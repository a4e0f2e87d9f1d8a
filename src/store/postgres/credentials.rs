//! Credentials in PostgreSQL.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::changes::logged_here;
use super::tenants::{locked_owner, owner, set_link};
use super::{Postgres, bounded};
use crate::domain::{CredentialType, Credentials, TenantId};
use crate::store::row::CredentialsRow;
use crate::store::{
    CredentialStore, CredentialsSet, GenesysLink, StoreResult, StoredCredentials, Written,
};

const CURRENT: &str = "\
    SELECT c.id, c.version, c.credentials::text AS credentials \
    FROM tenant_credentials c JOIN tenants t ON t.id = c.tenant_id \
    WHERE c.tenant_id = $1 AND c.credential_type = $2 AND t.status = 'active'";
// A version that is in the history already was put there by hand; it stays as it is.
const SUPERSEDE: &str = "\
    INSERT INTO tenant_credential_history \
        (tenant_id, credential_type, version, id, credentials, valid_from) \
    SELECT tenant_id, credential_type, version, id, credentials, updated_at \
    FROM tenant_credentials WHERE tenant_id = $1 AND credential_type = $2 \
    ON CONFLICT DO NOTHING";
// The current version has just joined the history, so one more than its highest is the next one:
// after a revocation too.
const SET: &str = "\
    INSERT INTO tenant_credentials (tenant_id, credential_type, credentials, version) \
    VALUES ($1, $2, $3::jsonb, ( \
        SELECT coalesce(max(version), 0) + 1 FROM tenant_credential_history \
        WHERE tenant_id = $1 AND credential_type = $2)) \
    ON CONFLICT (tenant_id, credential_type) \
    DO UPDATE SET credentials = EXCLUDED.credentials, version = EXCLUDED.version \
    RETURNING id, version";

#[async_trait]
impl CredentialStore for Postgres {
    async fn credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<StoredCredentials>> {
        let mut lease = self.lease().await?;
        let found = bounded("credentials", find(&mut lease, tenant, kind)).await;
        lease.settle(found)
    }

    async fn set_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        credentials: &Credentials,
        link: Option<&GenesysLink>,
    ) -> StoreResult<Option<Written<CredentialsSet>>> {
        let mut lease = self.lease().await?;
        let done = set(&mut lease, tenant, kind, credentials, link);
        let done = bounded("set_credentials", done).await;
        lease.settle(done)
    }
}

async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
    kind: CredentialType,
) -> StoreResult<Option<StoredCredentials>> {
    let row = sqlx::query_as::<_, CredentialsRow>(CURRENT)
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .fetch_optional(connection)
        .await?;
    row.map(StoredCredentials::try_from).transpose()
}

async fn set(
    connection: &mut PgConnection,
    id: &TenantId,
    kind: CredentialType,
    credentials: &Credentials,
    link: Option<&GenesysLink>,
) -> StoreResult<Option<Written<CredentialsSet>>> {
    let mut transaction = connection.begin().await?;
    if locked_owner(&mut transaction, id).await?.is_none() {
        return Ok(None);
    }
    if let Some(link) = link {
        set_link(&mut transaction, id, link).await?;
    }
    let (credential, version) = put(&mut transaction, id, kind, credentials).await?;
    let changes = logged_here(&mut transaction).await?;
    let tenant = owner(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged(CredentialsSet { id: credential, version, tenant }, changes)))
}

/// Makes these the tenant's current credentials; returns their id and version. The transaction has
/// locked the tenant, or created it.
pub(super) async fn put(
    connection: &mut PgConnection,
    id: &TenantId,
    kind: CredentialType,
    credentials: &Credentials,
) -> StoreResult<(String, i64)> {
    sqlx::query(SUPERSEDE).bind(id.as_str()).bind(kind.as_str()).execute(&mut *connection).await?;
    Ok(sqlx::query_as(SET)
        .bind(id.as_str())
        .bind(kind.as_str())
        .bind(Value::Object(credentials.reveal().clone()).to_string())
        .fetch_one(connection)
        .await?)
}
