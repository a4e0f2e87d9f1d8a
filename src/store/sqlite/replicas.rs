//! The rows of the replicas in SQLite.

use async_trait::async_trait;
use sqlx::Connection;

use super::Sqlite;
use super::changes::head;
use crate::coherence::{LogIdentity, Snapshot};
use crate::store::{Replica, Replicas, Roster, StoreError, StoreResult};
use crate::telemetry::metrics::timed_query;

const REGISTER: &str = "\
    INSERT INTO tenant_replicas (instance, applied) VALUES (?1, '1:1:') \
    ON CONFLICT (instance) DO UPDATE SET renewals = renewals + 1, applied = '1:1:'";
const RENEW: &str = "\
    INSERT INTO tenant_replicas (instance, applied) VALUES (?1, ?2) \
    ON CONFLICT (instance) DO UPDATE SET renewals = renewals + 1, applied = excluded.applied";
const ROWS: &str = "SELECT instance, renewals, applied FROM tenant_replicas ORDER BY instance";
const DEREGISTER: &str = "DELETE FROM tenant_replicas WHERE instance = ?1";
const BURY: &str = "DELETE FROM tenant_replicas WHERE instance = ?1 AND renewals = ?2";

#[async_trait]
impl Replicas for Sqlite {
    async fn register(&self, instance: &str) -> StoreResult<()> {
        let register = sqlx::query(REGISTER).bind(instance).execute(&self.writer);
        timed_query("register", register).await?;
        Ok(())
    }

    async fn renew(&self, instance: &str, applied: &Snapshot) -> StoreResult<()> {
        let renew = sqlx::query(RENEW).bind(instance).bind(applied.to_string());
        timed_query("renew", renew.execute(&self.writer)).await?;
        Ok(())
    }

    async fn replicas(&self) -> StoreResult<Roster> {
        timed_query("replicas", async {
            let mut connection = self.readers.acquire().await?;
            let mut transaction = connection.begin().await?;
            let (head, _) = head(&mut transaction, None).await?;
            let rows = sqlx::query_as::<_, (String, i64, String)>(ROWS);
            let rows = rows.fetch_all(&mut *transaction).await?;
            let row = |(instance, renewals, applied): (String, i64, String)| {
                let applied = applied.parse();
                let applied =
                    applied.map_err(|_| StoreError::Corrupt("tenant_replicas.applied"))?;
                Ok(Replica { instance, renewals, applied })
            };
            let replicas = rows.into_iter().map(row).collect::<StoreResult<_>>()?;
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
