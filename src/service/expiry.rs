//! Credentials that end: telling of it, and counting them.
//!
//! Every replica looks. Which of them tells does not matter: a transaction that locks the tenant notes
//! with the change that it was told, so that it is told once.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError, Wait, panicked};
use crate::domain::{CredentialType, TenantId};
use crate::store::{Announced, Expiring, StoreResult};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{CREDENTIALS_EXPIRING, gauge_of};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_mins(1);
/// Looks that writes ask for keep at least this distance.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Credentials that are looked for at once.
const BATCH: u32 = 500;

impl Service {
    /// Tells of credentials whose end is near, and counts them: at once, every minute, and when such were
    /// set here, until `stop`.
    pub async fn watch_expiry(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let Some(looked) = stop.run_until_cancelled(self.look_for_expiry()).await else {
                return;
            };
            match looked {
                Ok(()) => failing = false,
                // Once an outage, not once a look.
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    let error = chain(&error);
                    tracing::warn!(error, "looking for credentials whose end is near failed");
                }
                Err(_) => {}
            }
            // So that replicas do not look in step.
            let pause = INTERVAL.mul_f64(0.9 + fastrand::f64() / 10.0);
            let rest = pause.saturating_sub(SHORTEST_INTERVAL);
            let wait = async {
                tokio::time::sleep(SHORTEST_INTERVAL).await;
                // Elapsed or wanted: look.
                drop(tokio::time::timeout(rest, self.0.expiry_set.notified()).await);
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    async fn look_for_expiry(&self) -> Result<(), ServiceError> {
        let store = &self.0.store;
        let of = |failure| ServiceError::of("expiry", failure);
        show(&store.expiring().await.map_err(of)?);
        loop {
            let found = store.to_announce(BATCH).await.map_err(of)?;
            let is_last = found.len() < BATCH as usize;
            let (mut announced, mut failed) = (0, None);
            for (tenant, kind) in found {
                match self.announce(tenant, kind).await {
                    Ok(is_ours) => announced += usize::from(is_ours),
                    Err(away @ ServiceError::Unavailable(_)) => return Err(away),
                    // One row that can't be written holds up no other.
                    Err(error) => failed = Some(error),
                }
            }
            // What is left is told by another one, or belongs to a tenant that somebody writes now.
            if is_last || announced == 0 {
                return failed.map_or(Ok(()), Err);
            }
        }
    }

    /// Says whether it was this replica that has told it.
    async fn announce(&self, tenant: TenantId, kind: CredentialType) -> Result<bool, ServiceError> {
        let (parts, store) = (Arc::clone(&self.0), Arc::clone(&self.0.store));
        // To its end, as a write: what is committed is published.
        let task = self.0.writes.spawn(async move {
            let Some(written) = store.announce(&tenant, kind).await? else {
                return StoreResult::Ok(false);
            };
            let (Announced { version, days }, written) = written.take();
            let tenant_id = tenant.as_str();
            tracing::info!(
                tenant_id,
                kind = kind.as_str(),
                version,
                days,
                "credentials expire soon"
            );
            // No replica has anything to evict.
            parts.publisher.after_commit(written, Wait::No).await;
            Ok(true)
        });
        match task.await {
            Ok(announced) => announced.map_err(|failure| ServiceError::of("announce", failure)),
            Err(_) => Err(panicked("announce")),
        }
    }
}

fn show(expiring: &Expiring) {
    let Expiring { within_30_days, within_7_days, within_1_day, expired } = *expiring;
    for (within, count) in
        [("30d", within_30_days), ("7d", within_7_days), ("1d", within_1_day), ("expired", expired)]
    {
        // Fewer than 2^52 rows fit any table of credentials.
        #[expect(clippy::cast_precision_loss, reason = "far below a float's last integer")]
        gauge_of(CREDENTIALS_EXPIRING, &[("within", within)]).set(count as f64);
    }
}
