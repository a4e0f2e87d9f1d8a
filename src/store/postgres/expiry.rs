//! Credentials that end, in PostgreSQL.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};

use super::changes::logged_here;
use super::{Postgres, bounded};
use crate::domain::{CredentialType, TenantId};
use crate::store::expiry::places;
use crate::store::{Announced, Expiring, Expiry, StoreResult, Written};

/// Within how many days it ends. Hours, for a day is not always 24 of them where the session's time
/// zone has summers.
macro_rules! days {
    () => {
        "CASE WHEN c.expires_at <= now() + interval '24 hours' THEN 1 \
              WHEN c.expires_at <= now() + interval '168 hours' THEN 7 ELSE 30 END"
    };
}

/// Whether that is to be told.
macro_rules! is_due {
    () => {
        concat!(
            "c.expires_at <= now() + interval '720 hours' AND ( \
                 (c.announced_version, c.announced_expires_at) \
                     IS DISTINCT FROM (c.version, c.expires_at) \
                 OR c.announced_days > ",
            days!(),
            ")"
        )
    };
}

const TO_ANNOUNCE: &str = concat!(
    "SELECT c.tenant_id, c.credential_type FROM tenant_credentials c \
     JOIN tenants t ON t.id = c.tenant_id AND t.status = 'active' WHERE ",
    is_due!(),
    " ORDER BY c.expires_at LIMIT $1"
);
// As every write: the changes of one tenant follow one another. But this one waits for nobody: whoever
// keeps a tenant locked would hold all others up.
const LOCK: &str = "\
    SELECT true FROM tenants WHERE id = $1 AND status = 'active' FOR NO KEY UPDATE SKIP LOCKED";
// A statement of its own: it sees what others have announced before they let go of the tenant. No key,
// for nothing changes that anybody caches.
const ANNOUNCE: &str = concat!(
    "WITH announced AS ( \
         UPDATE tenant_credentials c SET announced_version = c.version, \
             announced_expires_at = c.expires_at, announced_days = ",
    days!(),
    " WHERE c.tenant_id = $1 AND c.credential_type = $2 AND ",
    is_due!(),
    " RETURNING c.tenant_id, c.version, c.announced_days \
     ), logged AS ( \
         INSERT INTO tenant_changes (tenant_id, kind, version) \
         SELECT tenant_id, 'credentials.expiring', version FROM announced \
     ) \
     SELECT version, announced_days::bigint AS days FROM announced"
);
const COUNT: &str = "\
    SELECT count(*) FILTER (WHERE c.expires_at > now()) AS within_30_days, \
        count(*) FILTER (WHERE c.expires_at > now() \
            AND c.expires_at <= now() + interval '168 hours') AS within_7_days, \
        count(*) FILTER (WHERE c.expires_at > now() \
            AND c.expires_at <= now() + interval '24 hours') AS within_1_day, \
        count(*) FILTER (WHERE c.expires_at <= now()) AS expired \
    FROM tenant_credentials c JOIN tenants t ON t.id = c.tenant_id AND t.status = 'active' \
    WHERE c.expires_at <= now() + interval '720 hours'";

#[async_trait]
impl Expiry for Postgres {
    async fn to_announce(&self, limit: u32) -> StoreResult<Vec<(TenantId, CredentialType)>> {
        let mut lease = self.lease().await?;
        let found = bounded("to_announce", async {
            let rows = sqlx::query_as(TO_ANNOUNCE).bind(i64::from(limit));
            Ok(places(&rows.fetch_all(&mut *lease).await?))
        });
        let found = found.await;
        lease.settle(found)
    }

    async fn announce(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<Written<Announced>>> {
        let mut lease = self.lease().await?;
        let announced = bounded("announce", announce(&mut lease, tenant, kind)).await;
        lease.settle(announced)
    }

    async fn expiring(&self) -> StoreResult<Expiring> {
        let mut lease = self.lease().await?;
        let counted =
            bounded("expiring", async { Ok(sqlx::query_as(COUNT).fetch_one(&mut *lease).await?) });
        let counted = counted.await;
        lease.settle(counted)
    }
}

async fn announce(
    connection: &mut PgConnection,
    tenant: &TenantId,
    kind: CredentialType,
) -> StoreResult<Option<Written<Announced>>> {
    let mut transaction = connection.begin().await?;
    let locked: Option<bool> =
        sqlx::query_scalar(LOCK).bind(tenant.as_str()).fetch_optional(&mut *transaction).await?;
    if locked.is_none() {
        return Ok(None);
    }
    let announced = sqlx::query_as(ANNOUNCE).bind(tenant.as_str()).bind(kind.as_str());
    let Some(announced) = announced.fetch_optional(&mut *transaction).await? else {
        return Ok(None);
    };
    let changes = logged_here(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged(announced, changes).with_entries(0)))
}
