//! Samples of what there is in PostgreSQL.

use async_trait::async_trait;

use super::{Postgres, bounded};
use crate::domain::{CacheKey, TenantId};
use crate::store::row::{ids, keys};
use crate::store::{Sampling, StoreResult};

const IDS: &str = "SELECT id FROM tenants ORDER BY random() LIMIT $1";
const LATEST: &str = "SELECT to_json(keys)::text FROM tenant_changes ORDER BY seq DESC LIMIT $1";

#[async_trait]
impl Sampling for Postgres {
    async fn random_tenants(&self, limit: Option<u32>) -> StoreResult<Vec<TenantId>> {
        let mut lease = self.lease().await?;
        let read = bounded("random_tenants", async {
            let limit = limit.map(i64::from);
            Ok(sqlx::query_scalar(IDS).bind(limit).fetch_all(&mut *lease).await?)
        })
        .await;
        Ok(ids(&lease.settle(read)?))
    }

    async fn lately_touched(&self, changes: u32) -> StoreResult<Vec<CacheKey>> {
        let mut lease = self.lease().await?;
        let read = bounded("lately_touched", async {
            let limit = i64::from(changes);
            Ok(sqlx::query_scalar(LATEST).bind(limit).fetch_all(&mut *lease).await?)
        })
        .await;
        Ok(keys(&lease.settle(read)?))
    }
}
