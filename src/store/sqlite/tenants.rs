//! Tenants in SQLite.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, FromRow, SqliteConnection, SqlitePool};

use super::audit::record;
use super::changes::{last_number, logged_after};
use super::credentials::put;
use super::tokens::forget_tenant;
use super::{BEGIN, Sqlite};
use crate::crypto::Keyring;
use crate::domain::{
    Action, By, Email, IntegrationId, Limits, Lookup, NewTenant, PhoneNumberId, Precondition,
    Region, ShortText, Status, Tenant, TenantId, TenantPatch,
};
use crate::store::audit::{changed, created, credentials_made, deleted, linked};
use crate::store::patch::patched;
use crate::store::row::{GONE, LookupRow, TenantRow, number, readable};
use crate::store::token::tenants_of;
use crate::store::versions::require;
use crate::store::{GenesysLink, Page, StoreError, StoreResult, Tenants, Written};
use crate::telemetry::metrics::timed_query;

macro_rules! select_lookup {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, status, phone_number_id, genesys_integration_id, revision \
             FROM tenants ",
            $rest
        )
    };
}

macro_rules! select_tenant {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, email, status, phone_number_id, display_phone_number, \
             genesys_integration_id, genesys_org_id, genesys_region, settings, created_at, \
             updated_at, revision FROM tenants ",
            $rest
        )
    };
}

const BY_PHONE: &str = select_lookup!("WHERE phone_number_id = ?1 AND status = 'active'");
const BY_INTEGRATION: &str =
    select_lookup!("WHERE genesys_integration_id = ?1 AND status = 'active'");
const BY_ID: &str = select_tenant!("WHERE id = ?1");
const OWNER: &str = select_lookup!("WHERE id = ?1");
const LIST: &str = select_tenant!(
    "WHERE (?1 IS NULL OR status = ?1) \
     AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2))) \
     ORDER BY created_at, id LIMIT ?3 OFFSET ?4"
);
const COUNT: &str = "\
    SELECT count(*) FROM tenants \
    WHERE (?1 IS NULL OR status = ?1) \
    AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))";
const NONE: &str = "SELECT NOT EXISTS (SELECT 1 FROM tenants)";
const INSERT: &str = "\
    INSERT INTO tenants (id, name, email, status, phone_number_id, display_phone_number, \
        genesys_integration_id, genesys_org_id, genesys_region, settings) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const UPDATE: &str = "\
    UPDATE tenants SET name = ?2, email = ?3, status = ?4, phone_number_id = ?5, \
        display_phone_number = ?6, genesys_integration_id = ?7, genesys_org_id = ?8, \
        genesys_region = ?9, settings = ?10 WHERE id = ?1";
const LINKS_ELSEWHERE: &str = "\
    SELECT genesys_integration_id IS NOT ?2, genesys_region IS NOT ?3 FROM tenants WHERE id = ?1";
const LINK: &str =
    "UPDATE tenants SET genesys_integration_id = ?2, genesys_region = ?3 WHERE id = ?1";
const REVISION: &str = "SELECT revision FROM tenants WHERE id = ?1";
const DELETE: &str = "DELETE FROM tenants WHERE id = ?1";

#[async_trait]
impl Tenants for Sqlite {
    async fn tenant_by_phone(&self, phone: &PhoneNumberId) -> StoreResult<Option<Lookup>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("tenant_by_phone", lookup(&mut connection, BY_PHONE, phone.as_str())).await
    }

    async fn tenant_by_integration(&self, id: &IntegrationId) -> StoreResult<Option<Lookup>> {
        let mut connection = self.readers.acquire().await?;
        let found = lookup(&mut connection, BY_INTEGRATION, id.as_str());
        timed_query("tenant_by_integration", found).await
    }

    async fn tenant(&self, id: &TenantId) -> StoreResult<Option<Tenant>> {
        let mut connection = self.readers.acquire().await?;
        timed_query("tenant", by_id(&mut connection, id)).await
    }

    async fn tenants(&self, page: Page, within: &Limits) -> StoreResult<(Vec<Tenant>, u64)> {
        let mut connection = self.readers.acquire().await?;
        timed_query("tenants", list(&mut connection, page, within)).await
    }

    async fn create_tenant(&self, tenant: &NewTenant, by: &By) -> StoreResult<Written<Tenant>> {
        let mut connection = self.writer.acquire().await?;
        timed_query("create_tenant", create(&mut connection, &self.keyring, tenant, by)).await
    }

    async fn patch_tenant(
        &self,
        id: &TenantId,
        patch: &TenantPatch,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<Tenant>>> {
        let mut connection = self.writer.acquire().await?;
        let done = apply(&mut connection, id, patch, precondition, by);
        timed_query("patch_tenant", done).await
    }

    async fn delete_tenant(
        &self,
        id: &TenantId,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<()>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query("delete_tenant", delete(&mut connection, id, precondition, by)).await
    }
}

async fn one<R, T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    id: &str,
) -> StoreResult<Option<T>>
where
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    T: TryFrom<R, Error = StoreError>,
{
    let row = sqlx::query_as::<_, R>(statement).bind(id).fetch_optional(connection).await?;
    row.map(T::try_from).transpose()
}

async fn lookup(
    connection: &mut SqliteConnection,
    statement: &'static str,
    id: &str,
) -> StoreResult<Option<Lookup>> {
    one::<LookupRow, _>(connection, statement, id).await
}

async fn by_id(connection: &mut SqliteConnection, id: &TenantId) -> StoreResult<Option<Tenant>> {
    one::<TenantRow, _>(connection, BY_ID, id.as_str()).await
}

/// The tenant as the running transaction, which wrote it, has left it; triggers included.
async fn current(connection: &mut SqliteConnection, id: &TenantId) -> StoreResult<Tenant> {
    by_id(connection, id).await?.ok_or(GONE)
}

/// The tenant whose credentials the running transaction writes, as it has left it.
pub(super) async fn owner(
    connection: &mut SqliteConnection,
    id: &TenantId,
) -> StoreResult<Option<Lookup>> {
    lookup(connection, OWNER, id.as_str()).await
}

async fn list(
    connection: &mut SqliteConnection,
    page: Page,
    within: &Limits,
) -> StoreResult<(Vec<Tenant>, u64)> {
    let status = page.status.map(Status::as_str);
    let within = tenants_of(within).map(|ids| Value::from(ids).to_string());
    let rows = sqlx::query(LIST)
        .bind(status)
        .bind(&within)
        .bind(i64::from(page.limit))
        .bind(i64::try_from(page.offset).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let count = sqlx::query_scalar(COUNT).bind(status).bind(within);
    let total: i64 = count.fetch_one(connection).await?;
    Ok((readable(&rows), number(total, "tenants: count")?))
}

pub(super) async fn none(pool: &SqlitePool) -> StoreResult<bool> {
    Ok(sqlx::query_scalar(NONE).fetch_one(pool).await?)
}

async fn create(
    connection: &mut SqliteConnection,
    keyring: &Keyring,
    tenant: &NewTenant,
    by: &By,
) -> StoreResult<Written<Tenant>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let before = last_number(&mut transaction).await?;
    sqlx::query(INSERT)
        .bind(tenant.id.as_str())
        .bind(tenant.name.as_str())
        .bind(tenant.email.as_ref().map(Email::as_str))
        .bind(tenant.status.as_str())
        .bind(tenant.phone_number_id.as_ref().map(PhoneNumberId::as_str))
        .bind(tenant.display_phone_number.as_ref().map(ShortText::as_str))
        .bind(tenant.genesys_integration_id.as_ref().map(IntegrationId::as_str))
        .bind(tenant.genesys_org_id.as_ref().map(ShortText::as_str))
        .bind(tenant.genesys_region.map(Region::domain))
        .bind(Value::Object(tenant.settings.as_object().clone()).to_string())
        .execute(&mut *transaction)
        .await?;
    record(&mut transaction, &created(tenant, by)).await?;
    for (kind, credentials) in &tenant.credentials {
        let (_, version) = put(&mut transaction, keyring, &tenant.id, *kind, credentials).await?;
        let place = (&tenant.id, *kind);
        let entry = credentials_made(Action::CredentialsSet, place, credentials, version, by);
        record(&mut transaction, &entry).await?;
    }
    let changes = logged_after(&mut transaction, before).await?;
    let value = current(&mut transaction, &tenant.id).await?;
    transaction.commit().await?;
    let entries = 1 + tenant.credentials.len() as u64;
    Ok(Written::logged(value, changes).with_entries(entries))
}

async fn apply(
    connection: &mut SqliteConnection,
    id: &TenantId,
    patch: &TenantPatch,
    precondition: &Precondition,
    by: &By,
) -> StoreResult<Option<Written<Tenant>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let Some(before) = by_id(&mut transaction, id).await? else { return Ok(None) };
    require(precondition, Some(before.revision.to_string()))?;
    let after = patched(&before, patch)?;
    let last = last_number(&mut transaction).await?;
    if after == before {
        return Ok(Some(Written::unchanged(before, last.unsigned_abs())));
    }
    replace(&mut transaction, &after).await?;
    record(&mut transaction, &changed(&before, &after, by)).await?;
    let changes = logged_after(&mut transaction, last).await?;
    let value = current(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged(value, changes)))
}

/// Sets the integration and the region of a tenant.
pub(super) async fn set_link(
    connection: &mut SqliteConnection,
    id: &TenantId,
    link: &GenesysLink,
    by: &By,
) -> StoreResult<u64> {
    let (integration, region) = (link.integration_id.as_str(), link.region.domain());
    let differ = sqlx::query_as(LINKS_ELSEWHERE).bind(id.as_str()).bind(integration).bind(region);
    let differ: (bool, bool) = differ.fetch_optional(&mut *connection).await?.ok_or(GONE)?;
    let Some(entry) = linked(id, differ, by) else { return Ok(0) };
    let link = sqlx::query(LINK).bind(id.as_str()).bind(integration).bind(region);
    link.execute(&mut *connection).await?;
    record(connection, &entry).await?;
    Ok(1)
}

/// Writes every field of a tenant.
async fn replace(connection: &mut SqliteConnection, tenant: &Tenant) -> StoreResult<()> {
    sqlx::query(UPDATE)
        .bind(tenant.id.as_str())
        .bind(&tenant.name)
        .bind(&tenant.email)
        .bind(tenant.status.as_str())
        .bind(tenant.phone_number_id.as_ref().map(PhoneNumberId::as_str))
        .bind(&tenant.display_phone_number)
        .bind(tenant.genesys_integration_id.as_ref().map(IntegrationId::as_str))
        .bind(&tenant.genesys_org_id)
        .bind(&tenant.genesys_region)
        .bind(Value::Object(tenant.settings.clone()).to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete(
    connection: &mut SqliteConnection,
    id: &TenantId,
    precondition: &Precondition,
    by: &By,
) -> StoreResult<Option<Written<()>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let revision = sqlx::query_scalar(REVISION).bind(id.as_str());
    let revision: Option<i64> = revision.fetch_optional(&mut *transaction).await?;
    let Some(revision) = revision else { return Ok(None) };
    require(precondition, Some(revision.to_string()))?;
    let before = last_number(&mut transaction).await?;
    sqlx::query(DELETE).bind(id.as_str()).execute(&mut *transaction).await?;
    let of_tokens = forget_tenant(&mut transaction, id, by).await?;
    record(&mut transaction, &deleted(id, by)).await?;
    let changes = logged_after(&mut transaction, before).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged((), changes).with_entries(1 + of_tokens)))
}
