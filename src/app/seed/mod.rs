//! Loads tenants and their credentials from JSON, through the service: what holds for a request
//! (validation, one transaction a write, telling every replica) holds for them.
//!
//! A tenant comes with its credentials, in one transaction. So whatever ends a load in the middle,
//! the next one goes on from there, and never touches what a tenant that exists has become.

mod file;

use std::time::{Duration, Instant};

use anyhow::Context;

pub use self::file::{SeedFile, parse};
use crate::domain::{By, NewTenant};
use crate::service::{Intent, Service, ServiceError, Wait};
use crate::store::Tenants;

/// A load that takes longer says how far it is, this often.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// What was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeedReport {
    /// Tenants that were created, with their credentials.
    pub created: usize,
    /// Tenants that were there already and were left as they are, with their credentials.
    pub kept: usize,
}

/// Loads every tenant of a file that does not exist yet, and waits for the replicas once, at the
/// end.
///
/// # Errors
/// A phone number or an integration belongs to another tenant, or the database is out of reach.
/// What was loaded before stays.
pub async fn load<S: Tenants + ?Sized>(
    store: &S,
    service: &Service,
    file: SeedFile,
    by: &By,
) -> anyhow::Result<SeedReport> {
    let (mut report, mut progress) = (SeedReport::default(), Progress::from(Instant::now()));
    let total = file.tenants.len();
    for (at, tenant) in file.tenants.into_iter().enumerate() {
        if progress.is_due(Instant::now()) {
            let SeedReport { created, kept } = report;
            tracing::info!(created, kept, total, "loading {}", file.name);
        }
        if create(store, service, tenant, by.clone())
            .await
            .with_context(|| format!("tenants[{at}]"))?
        {
            report.created += 1;
        } else {
            report.kept += 1;
        }
    }
    // For what was kept too: a load before this one may have ended before its replicas knew.
    service.settle().await.context("waiting for the replicas")?;
    Ok(report)
}

/// Creates a tenant, unless there is one of this id.
async fn create<S: Tenants + ?Sized>(
    store: &S,
    service: &Service,
    tenant: NewTenant,
    by: By,
) -> anyhow::Result<bool> {
    let id = tenant.id.clone();
    match service.create_tenant(tenant, Intent::unconditional(by, Wait::No)).await {
        Ok(_) => Ok(true),
        // By whichever field it was found: a number that it had may be another tenant's by now.
        Err(ServiceError::Conflict(_)) if store.tenant(&id).await?.is_some() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// When a load says how far it is.
struct Progress(Instant);

impl Progress {
    const fn from(begin: Instant) -> Self {
        Self(begin)
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.duration_since(self.0) >= SAID_EVERY;
        if is_due {
            self.0 = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_load_says_how_far_it_is_now_and_then() {
        let begin = Instant::now();
        let mut progress = Progress::from(begin);
        let said: Vec<u64> = (0..=20)
            .filter(|seconds| progress.is_due(begin + Duration::from_secs(*seconds)))
            .collect();
        assert_eq!(said, [5, 10, 15, 20]);
    }
}
