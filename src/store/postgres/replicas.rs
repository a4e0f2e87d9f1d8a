//! The rows of the replicas in PostgreSQL.
//!
//! They are written on the connections of the poll, for a proof must not wait for a pool that writes
//! exhaust; and read, by writes that wait for them, on that pool.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::FromRow;

use super::changes::{HeadRow, identity, with_head};
use super::{Postgres, bounded};
use crate::coherence::{LogIdentity, Snapshot};
use crate::store::row::{first_count, key_list, replica, to_millis};
use crate::store::{Replicas, Roster, StoreError, StoreResult};

const RENEW: &str = "\
    INSERT INTO tenant_replicas (instance, applied, bound_ms, renewals, keys) \
    VALUES ($1, $2::pg_snapshot, $3, $4, $5) \
    ON CONFLICT (instance) DO UPDATE \
        SET renewals = tenant_replicas.renewals + 1, applied = excluded.applied, \
            bound_ms = excluded.bound_ms, keys = excluded.keys";
const ROWS: &str = with_head!(
    "pg_current_snapshot()",
    "SELECT head.snapshot::text AS snapshot, head.database, head.timeline, head.pruned_below, \
         EXISTS (SELECT FROM tenant_changes_incarnation WHERE settled_in = head.database) \
             AS is_settled, \
         r.instance, r.renewals, r.applied::text AS applied, r.bound_ms, r.keys \
     FROM head LEFT JOIN tenant_replicas r ON true ORDER BY r.instance"
);
const SETTLE: &str = with_head!(
    "pg_current_snapshot()",
    "UPDATE tenant_changes_incarnation SET settled_in = $1 \
     FROM head WHERE head.database = $1 AND head.timeline = $2 AND settled_in IS DISTINCT FROM $1"
);
const DEREGISTER: &str = "DELETE FROM tenant_replicas WHERE instance = $1";
const BURY: &str = "DELETE FROM tenant_replicas WHERE instance = $1 AND renewals = $2";

/// The head, and a row unless there is none.
#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    head: HeadRow,
    is_settled: bool,
    instance: Option<String>,
    renewals: Option<i64>,
    applied: Option<String>,
    bound_ms: Option<i64>,
    keys: Option<String>,
}

#[async_trait]
impl Replicas for Postgres {
    async fn renew(&self, instance: &str, applied: &Snapshot, bound: Duration) -> StoreResult<()> {
        let mut lease = self.log_lease().await?;
        let done = bounded("renew", async {
            let renew = sqlx::query(RENEW).bind(instance).bind(applied.to_string());
            let renew =
                renew.bind(to_millis(bound)).bind(first_count()).bind(key_list(&self.keyring));
            renew.execute(&mut *lease).await?;
            Ok(())
        })
        .await;
        lease.settle(done)
    }

    async fn replicas(&self) -> StoreResult<Roster> {
        let mut lease = self.lease().await?;
        let read = bounded("replicas", async {
            Ok(sqlx::query_as::<_, Row>(ROWS).fetch_all(&mut *lease).await?)
        })
        .await;
        let (mut of_all, mut replicas) = (None, Vec::new());
        for row in lease.settle(read)? {
            of_all = Some((row.head, row.is_settled));
            if let (Some(instance), Some(renewals), Some(applied), Some(bound_ms)) =
                (row.instance, row.renewals, row.applied, row.bound_ms)
            {
                let keys = row.keys.unwrap_or_default();
                replicas.push(replica(instance, renewals, &applied, (bound_ms, &keys))?);
            }
        }
        let gone = StoreError::Corrupt("tenant_changes_horizon: the row is gone");
        let (head, is_settled) = of_all.ok_or(gone)?;
        Ok(Roster { head: head.try_into()?, is_settled, replicas })
    }

    async fn settle(&self, identity: &LogIdentity) -> StoreResult<()> {
        let mut lease = self.log_lease().await?;
        let done = bounded("settle", async {
            let settle = sqlx::query(SETTLE).bind(&identity.database).bind(&identity.timeline);
            settle.execute(&mut *lease).await?;
            Ok(())
        })
        .await;
        lease.settle(done)
    }

    async fn deregister(&self, instance: &str) -> StoreResult<()> {
        let mut lease = self.log_lease().await?;
        let done = bounded("deregister", async {
            sqlx::query(DEREGISTER).bind(instance).execute(&mut *lease).await?;
            Ok(())
        })
        .await;
        lease.settle(done)
    }

    async fn bury(&self, instance: &str, renewals: i64) -> StoreResult<bool> {
        let mut lease = self.log_lease().await?;
        let done = bounded("bury", async {
            let bury = sqlx::query(BURY).bind(instance).bind(renewals);
            Ok(bury.execute(&mut *lease).await?.rows_affected() == 1)
        })
        .await;
        lease.settle(done)
    }
}
