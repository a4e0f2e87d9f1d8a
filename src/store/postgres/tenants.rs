//! Tenants in PostgreSQL.
//!
//! Locks are taken in one order: the tenant's row, then what belongs to it. One transaction locks
//! one tenant, so two of ours can only meet at a unique index, where a swap of numbers would have
//! each wait for the other. Hence [`refuse_claimed`] looks first, and answers [`Duplicate`] where
//! the index would have made it wait. What is left to the index, and to Postgres' detection of
//! deadlocks, takes a third transaction that commits in between, or one by hand that locks two
//! tenants; its victim is [`StoreError::Unavailable`], and nothing of it was written. No
//! statement is ever repeated in silence.
//!
//! [`Duplicate`]: StoreError::Duplicate

use async_trait::async_trait;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection};

use super::audit::record;
use super::changes::{current_xid, logged_here};
use super::credentials::put;
use super::tokens::forget_tenant;
use super::{Postgres, bounded};
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
             genesys_integration_id, genesys_org_id, genesys_region, settings::text AS settings, \
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
                 AS created_at, \
             to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
                 AS updated_at, \
             revision FROM tenants ",
            $rest
        )
    };
}

const BY_PHONE: &str = select_lookup!("WHERE phone_number_id = $1 AND status = 'active'");
const BY_INTEGRATION: &str =
    select_lookup!("WHERE genesys_integration_id = $1 AND status = 'active'");
const BY_ID: &str = select_tenant!("WHERE id = $1");
const OWNER: &str = select_lookup!("WHERE id = $1");
// Compatible with the lock that a foreign key takes: whoever inserts a row of this tenant by hand
// has that one already when the trigger comes for this one.
const LOCKED: &str = select_tenant!("WHERE id = $1 FOR NO KEY UPDATE");
const LOCKED_OWNER: &str = select_lookup!("WHERE id = $1 FOR NO KEY UPDATE");
const LIST: &str = select_tenant!(
    "WHERE ($1::text IS NULL OR status = $1) AND ($2::text[] IS NULL OR id = ANY ($2)) \
     ORDER BY created_at, id LIMIT $3 OFFSET $4"
);
const COUNT: &str = "\
    SELECT count(*) FROM tenants \
    WHERE ($1::text IS NULL OR status = $1) AND ($2::text[] IS NULL OR id = ANY ($2))";
const NONE: &str = "SELECT NOT EXISTS (SELECT 1 FROM tenants)";
const CLAIMED: &str = "\
    SELECT coalesce(bool_or(phone_number_id = $2), false), \
        coalesce(bool_or(genesys_integration_id = $3), false) \
    FROM tenants WHERE id <> $1 AND (phone_number_id = $2 OR genesys_integration_id = $3)";
const INSERT: &str = "\
    INSERT INTO tenants (id, name, email, status, phone_number_id, display_phone_number, \
        genesys_integration_id, genesys_org_id, genesys_region, settings) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb)";
const UPDATE: &str = "\
    UPDATE tenants SET name = $2, email = $3, status = $4, phone_number_id = $5, \
        display_phone_number = $6, genesys_integration_id = $7, genesys_org_id = $8, \
        genesys_region = $9, settings = $10::jsonb WHERE id = $1";
const LINKS_ELSEWHERE: &str = "\
    SELECT genesys_integration_id IS DISTINCT FROM $2, genesys_region IS DISTINCT FROM $3 FROM tenants WHERE id = $1";
const LINK: &str =
    "UPDATE tenants SET genesys_integration_id = $2, genesys_region = $3 WHERE id = $1";
const LOCK_WHOLLY: &str = "SELECT revision FROM tenants WHERE id = $1 FOR UPDATE";
const DELETE: &str = "DELETE FROM tenants WHERE id = $1";

#[async_trait]
impl Tenants for Postgres {
    async fn tenant_by_phone(&self, phone: &PhoneNumberId) -> StoreResult<Option<Lookup>> {
        let mut lease = self.lease().await?;
        let found = lookup(&mut lease, BY_PHONE, phone.as_str());
        let found = bounded("tenant_by_phone", found).await;
        lease.settle(found)
    }

    async fn tenant_by_integration(&self, id: &IntegrationId) -> StoreResult<Option<Lookup>> {
        let mut lease = self.lease().await?;
        let found = lookup(&mut lease, BY_INTEGRATION, id.as_str());
        let found = bounded("tenant_by_integration", found).await;
        lease.settle(found)
    }

    async fn tenant(&self, id: &TenantId) -> StoreResult<Option<Tenant>> {
        let mut lease = self.lease().await?;
        let found = bounded("tenant", tenant(&mut lease, BY_ID, id.as_str())).await;
        lease.settle(found)
    }

    async fn tenants(&self, page: Page, within: &Limits) -> StoreResult<(Vec<Tenant>, u64)> {
        let mut lease = self.lease().await?;
        let listed = bounded("tenants", list(&mut lease, page, within)).await;
        lease.settle(listed)
    }

    async fn create_tenant(&self, tenant: &NewTenant, by: &By) -> StoreResult<Written<Tenant>> {
        let mut lease = self.lease().await?;
        let created = bounded("create_tenant", create(&mut lease, &self.keyring, tenant, by)).await;
        lease.settle(created)
    }

    async fn patch_tenant(
        &self,
        id: &TenantId,
        patch: &TenantPatch,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<Tenant>>> {
        let mut lease = self.turn(id, None, precondition).await?;
        let done = bounded("patch_tenant", apply(&mut lease, id, patch, precondition, by)).await;
        lease.settle(done)
    }

    async fn delete_tenant(
        &self,
        id: &TenantId,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<()>>> {
        let mut lease = self.turn(id, None, precondition).await?;
        let deleted = bounded("delete_tenant", delete(&mut lease, id, precondition, by)).await;
        lease.settle(deleted)
    }
}

async fn one<R, T>(
    connection: &mut PgConnection,
    statement: &'static str,
    id: &str,
) -> StoreResult<Option<T>>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    T: TryFrom<R, Error = StoreError>,
{
    let row = sqlx::query_as::<_, R>(statement).bind(id).fetch_optional(connection).await?;
    row.map(T::try_from).transpose()
}

async fn lookup(
    connection: &mut PgConnection,
    statement: &'static str,
    id: &str,
) -> StoreResult<Option<Lookup>> {
    one::<LookupRow, _>(connection, statement, id).await
}

async fn tenant(
    connection: &mut PgConnection,
    statement: &'static str,
    id: &str,
) -> StoreResult<Option<Tenant>> {
    one::<TenantRow, _>(connection, statement, id).await
}

/// The tenant whose credentials are written, its row locked until the transaction ends. Every
/// write begins with such a lock.
pub(super) async fn locked_owner(
    connection: &mut PgConnection,
    id: &TenantId,
) -> StoreResult<Option<Lookup>> {
    lookup(connection, LOCKED_OWNER, id.as_str()).await
}

/// The same, as this transaction has left it, triggers included.
pub(super) async fn owner(connection: &mut PgConnection, id: &TenantId) -> StoreResult<Lookup> {
    lookup(connection, OWNER, id.as_str()).await?.ok_or(GONE)
}

/// The tenant as this transaction has left it, triggers included.
async fn current(connection: &mut PgConnection, id: &TenantId) -> StoreResult<Tenant> {
    tenant(connection, BY_ID, id.as_str()).await?.ok_or(GONE)
}

async fn list(
    connection: &mut PgConnection,
    page: Page,
    within: &Limits,
) -> StoreResult<(Vec<Tenant>, u64)> {
    let (status, within) = (page.status.map(Status::as_str), tenants_of(within));
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

pub(super) async fn none(connection: &mut PgConnection) -> StoreResult<bool> {
    Ok(sqlx::query_scalar(NONE).fetch_one(connection).await?)
}

/// See the head of this file.
async fn refuse_claimed(
    connection: &mut PgConnection,
    id: &TenantId,
    phone: Option<&PhoneNumberId>,
    integration: Option<&IntegrationId>,
) -> StoreResult<()> {
    let (phone_taken, integration_taken): (bool, bool) = sqlx::query_as(CLAIMED)
        .bind(id.as_str())
        .bind(phone.map(PhoneNumberId::as_str))
        .bind(integration.map(IntegrationId::as_str))
        .fetch_one(connection)
        .await?;
    if phone_taken {
        Err(StoreError::Duplicate("phone_number_id"))
    } else if integration_taken {
        Err(StoreError::Duplicate("genesys_integration_id"))
    } else {
        Ok(())
    }
}

async fn create(
    connection: &mut PgConnection,
    keyring: &Keyring,
    tenant: &NewTenant,
    by: &By,
) -> StoreResult<Written<Tenant>> {
    let mut transaction = connection.begin().await?;
    let (phone, integration) = (&tenant.phone_number_id, &tenant.genesys_integration_id);
    refuse_claimed(&mut transaction, &tenant.id, phone.as_ref(), integration.as_ref()).await?;
    sqlx::query(INSERT)
        .bind(tenant.id.as_str())
        .bind(tenant.name.as_str())
        .bind(tenant.email.as_ref().map(Email::as_str))
        .bind(tenant.status.as_str())
        .bind(phone.as_ref().map(PhoneNumberId::as_str))
        .bind(tenant.display_phone_number.as_ref().map(ShortText::as_str))
        .bind(integration.as_ref().map(IntegrationId::as_str))
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
    let changes = logged_here(&mut transaction).await?;
    let value = current(&mut transaction, &tenant.id).await?;
    transaction.commit().await?;
    let entries = 1 + tenant.credentials.len() as u64;
    Ok(Written::logged(value, changes).with_entries(entries))
}

async fn apply(
    connection: &mut PgConnection,
    id: &TenantId,
    patch: &TenantPatch,
    precondition: &Precondition,
    by: &By,
) -> StoreResult<Option<Written<Tenant>>> {
    let mut transaction = connection.begin().await?;
    let before = tenant(&mut transaction, LOCKED, id.as_str()).await?;
    let Some(before) = before else { return Ok(None) };
    require(precondition, Some(before.revision.to_string()))?;
    let after = patched(&before, patch)?;
    if after == before {
        let xid = current_xid(&mut transaction).await?;
        return Ok(Some(Written::unchanged(before, xid)));
    }
    replace(&mut transaction, &after).await?;
    record(&mut transaction, &changed(&before, &after, by)).await?;
    let changes = logged_here(&mut transaction).await?;
    let value = current(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged(value, changes)))
}

/// Sets the integration and the region of a tenant whose row is locked.
pub(super) async fn set_link(
    connection: &mut PgConnection,
    id: &TenantId,
    link: &GenesysLink,
    by: &By,
) -> StoreResult<u64> {
    refuse_claimed(&mut *connection, id, None, Some(&link.integration_id)).await?;
    let (integration, region) = (link.integration_id.as_str(), link.region.domain());
    let differ = sqlx::query_as(LINKS_ELSEWHERE).bind(id.as_str()).bind(integration).bind(region);
    let differ: (bool, bool) = differ.fetch_optional(&mut *connection).await?.ok_or(GONE)?;
    let Some(entry) = linked(id, differ, by) else { return Ok(0) };
    let link = sqlx::query(LINK).bind(id.as_str()).bind(integration).bind(region);
    link.execute(&mut *connection).await?;
    record(connection, &entry).await?;
    Ok(1)
}

/// Writes every field of a tenant whose row is locked.
async fn replace(connection: &mut PgConnection, tenant: &Tenant) -> StoreResult<()> {
    let (phone, integration) = (&tenant.phone_number_id, &tenant.genesys_integration_id);
    refuse_claimed(connection, &tenant.id, phone.as_ref(), integration.as_ref()).await?;
    sqlx::query(UPDATE)
        .bind(tenant.id.as_str())
        .bind(&tenant.name)
        .bind(&tenant.email)
        .bind(tenant.status.as_str())
        .bind(phone.as_ref().map(PhoneNumberId::as_str))
        .bind(&tenant.display_phone_number)
        .bind(integration.as_ref().map(IntegrationId::as_str))
        .bind(&tenant.genesys_org_id)
        .bind(&tenant.genesys_region)
        .bind(Value::Object(tenant.settings.clone()).to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete(
    connection: &mut PgConnection,
    id: &TenantId,
    precondition: &Precondition,
    by: &By,
) -> StoreResult<Option<Written<()>>> {
    let mut transaction = connection.begin().await?;
    // The lock that the deletion needs, at once: to raise a weaker one could meet another's.
    let lock = sqlx::query_scalar(LOCK_WHOLLY).bind(id.as_str());
    let revision: Option<i64> = lock.fetch_optional(&mut *transaction).await?;
    let Some(revision) = revision else { return Ok(None) };
    require(precondition, Some(revision.to_string()))?;
    sqlx::query(DELETE).bind(id.as_str()).execute(&mut *transaction).await?;
    let of_tokens = forget_tenant(&mut transaction, id, by).await?;
    record(&mut transaction, &deleted(id, by)).await?;
    let changes = logged_here(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged((), changes).with_entries(1 + of_tokens)))
}
