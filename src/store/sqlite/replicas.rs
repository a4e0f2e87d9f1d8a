//! The rows of the replicas in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection;

use super::Sqlite;
use super::changes::head;
use crate::coherence::{LogIdentity, Snapshot};
use crate::store::row::{first_count, key_list, replica, to_millis};
use crate::store::{Replicas, Roster, StoreResult};
use crate::telemetry::metrics::timed_query;

const RENEW: &str = "\
    INSERT INTO tenant_replicas (instance, applied, bound_ms, renewals, keys) \
    VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (instance) DO UPDATE \
        SET renewals = renewals + 1, applied = excluded.applied, bound_ms = excluded.bound_ms, \
            keys = excluded.keys";
const ROWS: &str =
    "SELECT instance, renewals, applied, bound_ms, keys FROM tenant_replicas ORDER BY instance";
const DEREGISTER: &str = "DELETE FROM tenant_replicas WHERE instance = ?1";
const BURY: &str = "DELETE FROM tenant_replicas WHERE instance = ?1 AND renewals = ?2";

#[async_trait]
impl Replicas for Sqlite {
    async fn renew(&self, instance: &str, applied: &Snapshot, bound: Duration) -> StoreResult<()> {
        let renew = sqlx::query(RENEW).bind(instance).bind(applied.to_string());
        let renew = renew.bind(to_millis(bound)).bind(first_count()).bind(key_list(&self.keyring));
        timed_query("renew", renew.execute(&self.writer)).await?;
        Ok(())
    }

    async fn replicas(&self) -> StoreResult<Roster> {
        timed_query("replicas", async {
            let mut connection = self.readers.acquire().await?;
            let mut transaction = connection.begin().await?;
            let (head, _) = head(&mut transaction, None).await?;
            let rows = sqlx::query_as::<_, (String, i64, String, i64, String)>(ROWS);
            let rows = rows.fetch_all(&mut *transaction).await?.into_iter();
            let replicas = rows.map(|(name, renewals, applied, bound, keys)| {
                replica(name, renewals, &applied, (bound, &keys))
            });
            let replicas = replicas.collect::<StoreResult<_>>()?;
            // A file has no standby to be promoted, and no other host that served from it.
            Ok(Roster { head, is_settled: true, replicas })
        })
        .await
    }

    async fn settle(&self, _: &LogIdentity) -> StoreResult<()> {
        Ok(())
    }

    async fn deregister(&self, instance: &str) -> StoreResult<()> {
        let deregister = sqlx::query(DEREGISTER).bind(instance).execute(&self.writer);
        timed_query("deregister", deregister).await?;
        Ok(())
    }

    async fn bury(&self, instance: &str, renewals: i64) -> StoreResult<bool> {
        let bury = sqlx::query(BURY).bind(instance).bind(renewals).execute(&self.writer);
        Ok(timed_query("bury", bury).await?.rows_affected() == 1)
    }
}
