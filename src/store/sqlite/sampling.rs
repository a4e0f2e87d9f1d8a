//! Samples of what there is in SQLite.

use async_trait::async_trait;

use super::Sqlite;
use crate::domain::{CacheKey, TenantId};
use crate::store::row::{ids, keys};
use crate::store::{Sampling, StoreResult};
use crate::telemetry::metrics::timed_query;

// A limit below zero is none.
const IDS: &str = "SELECT id FROM tenants ORDER BY random() LIMIT $1";
const LATEST: &str = "SELECT keys FROM tenant_changes ORDER BY seq DESC LIMIT $1";

#[async_trait]
impl Sampling for Sqlite {
    async fn random_tenants(&self, limit: Option<u32>) -> StoreResult<Vec<TenantId>> {
        let limit = limit.map_or(-1, i64::from);
        let read = sqlx::query_scalar(IDS).bind(limit).fetch_all(&self.readers);
        Ok(ids(&timed_query("random_tenants", read).await?))
    }

    async fn lately_touched(&self, changes: u32) -> StoreResult<Vec<CacheKey>> {
        let read = sqlx::query_scalar(LATEST).bind(i64::from(changes)).fetch_all(&self.readers);
        Ok(keys(&timed_query("lately_touched", read).await?))
    }
}
