//! Credentials that end, in SQLite.

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use super::changes::{last_number, logged_after};
use super::{BEGIN, Sqlite};
use crate::domain::{CredentialType, TenantId};
use crate::store::expiry::places;
use crate::store::{Announced, Expiring, Expiry, StoreResult, Written};
use crate::telemetry::metrics::timed_query;

/// So many days from now, as the column has its moments.
macro_rules! ahead {
    ($days:literal) => {
        concat!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+", $days, " days')")
    };
}

/// Within how many days it ends.
macro_rules! days {
    () => {
        concat!(
            "CASE WHEN expires_at <= ",
            ahead!(1),
            " THEN 1 WHEN expires_at <= ",
            ahead!(7),
            " THEN 7 ELSE 30 END"
        )
    };
}

/// Whether that is to be told.
macro_rules! is_due {
    () => {
        concat!(
            "expires_at <= ",
            ahead!(30),
            " AND ((announced_version, announced_expires_at) IS NOT (version, expires_at) \
                 OR announced_days > ",
            days!(),
            ") AND EXISTS (SELECT 1 FROM tenants WHERE id = tenant_id AND status = 'active')"
        )
    };
}

const TO_ANNOUNCE: &str = concat!(
    "SELECT tenant_id, credential_type FROM tenant_credentials WHERE ",
    is_due!(),
    " ORDER BY expires_at LIMIT ?1"
);
const ANNOUNCE: &str = concat!(
    "UPDATE tenant_credentials SET announced_version = version, \
         announced_expires_at = expires_at, announced_days = ",
    days!(),
    " WHERE tenant_id = ?1 AND credential_type = ?2 AND ",
    is_due!(),
    " RETURNING version, announced_days AS days"
);
// No key, for nothing changes that anybody caches.
const LOG: &str = "\
    INSERT INTO tenant_changes (tenant_id, kind, version) VALUES (?1, 'credentials.expiring', ?2)";
const COUNT: &str = concat!(
    "SELECT count(*) FILTER (WHERE c.expires_at > ",
    ahead!(0),
    ") AS within_30_days, count(*) FILTER (WHERE c.expires_at > ",
    ahead!(0),
    " AND c.expires_at <= ",
    ahead!(7),
    ") AS within_7_days, count(*) FILTER (WHERE c.expires_at > ",
    ahead!(0),
    " AND c.expires_at <= ",
    ahead!(1),
    ") AS within_1_day, count(*) FILTER (WHERE c.expires_at <= ",
    ahead!(0),
    ") AS expired \
     FROM tenant_credentials c JOIN tenants t ON t.id = c.tenant_id AND t.status = 'active' \
     WHERE c.expires_at <= ",
    ahead!(30)
);

#[async_trait]
impl Expiry for Sqlite {
    async fn to_announce(&self, limit: u32) -> StoreResult<Vec<(TenantId, CredentialType)>> {
        timed_query("to_announce", async {
            let rows = sqlx::query_as(TO_ANNOUNCE).bind(i64::from(limit));
            Ok(places(&rows.fetch_all(&self.readers).await?))
        })
        .await
    }

    async fn announce(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<Option<Written<Announced>>> {
        let mut connection = self.writer.acquire().await?;
        timed_query("announce", announce(&mut connection, tenant, kind)).await
    }

    async fn expiring(&self) -> StoreResult<Expiring> {
        timed_query("expiring", async { Ok(sqlx::query_as(COUNT).fetch_one(&self.readers).await?) })
            .await
    }
}

async fn announce(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    kind: CredentialType,
) -> StoreResult<Option<Written<Announced>>> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let before = last_number(&mut transaction).await?;
    let announced = sqlx::query_as(ANNOUNCE).bind(tenant.as_str()).bind(kind.as_str());
    let announced: Option<Announced> = announced.fetch_optional(&mut *transaction).await?;
    let Some(announced) = announced else { return Ok(None) };
    let log = sqlx::query(LOG).bind(tenant.as_str()).bind(announced.version);
    log.execute(&mut *transaction).await?;
    let changes = logged_after(&mut transaction, before).await?;
    transaction.commit().await?;
    Ok(Some(Written::logged(announced, changes).with_entries(0)))
}
