//! Versions of credentials: reads of them, straight from the database, and every write.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Acknowledged, Intent, Service, ServiceError};
use crate::domain::{
    Action, By, CredentialType, Entry, FieldNames, Outcome, TenantId, Version, VersionInfo,
};
use crate::store::{CredentialsSet, Store, StoredCredentials, VersionsPage};
use crate::telemetry::logging::chain;

/// How often what was deleted for too long is looked for.
const INTERVAL: Duration = Duration::from_hours(1);

impl Service {
    /// One page of versions, newest first; `None` if the tenant is absent or suspended, or never had
    /// any.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn versions(
        &self,
        id: &TenantId,
        kind: CredentialType,
        page: VersionsPage,
    ) -> Result<Option<Vec<VersionInfo>>, ServiceError> {
        let listed = self.store()?.versions(id, kind, page).await;
        listed.map_err(|failure| ServiceError::of("versions", failure))
    }

    /// What a version holds, to be shown: that it is, is in the audit trail before this returns. `None` if
    /// there is no such version, or its credential is not there.
    ///
    /// # Errors
    /// It is destroyed, or the database is out of reach; or the audit trail can't be written.
    pub async fn reveal_version(
        &self,
        id: &TenantId,
        kind: CredentialType,
        version: Version,
        by: By,
    ) -> Result<Option<StoredCredentials>, ServiceError> {
        let found = self.store()?.version(id, kind, version).await;
        let entry = Entry::of(by, Action::CredentialsReveal).to_credentials(id, kind);
        let entry = Entry { version: Some(version.get()), ..entry };
        let found = match found.map_err(|failure| ServiceError::of("version", failure)) {
            Ok(found) => found,
            Err(gone @ ServiceError::NoVersion(_)) => {
                self.0.trail.commit(entry.ending(Outcome::NotFound)).await?;
                return Err(gone);
            }
            Err(error) => return Err(error),
        };
        let names = |stored: &StoredCredentials| {
            FieldNames::of(stored.credentials.reveal().keys().map(String::as_str))
        };
        let entry = match &found {
            Some(stored) => Entry { fields: names(stored), ..entry },
            None => entry.ending(Outcome::NotFound),
        };
        self.0.trail.commit(entry).await?;
        Ok(found)
    }

    /// Makes a new version of what an earlier one holds; `None` if there is no such tenant.
    ///
    /// # Errors
    /// There is nothing to do it with, the condition does not hold, or the database is out of reach.
    pub async fn roll_back(
        &self,
        id: TenantId,
        kind: CredentialType,
        to: Version,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<CredentialsSet>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::CredentialsRollBack).to_credentials(&id, kind);
        let write = move |store: Arc<dyn Store>| async move {
            store.roll_back(&id, kind, to, &precondition, &by).await
        };
        self.write("roll_back", entry, wait, write).await
    }

    /// Deletes a credential; its versions are kept for a while. `None` as of [`Service::roll_back`].
    ///
    /// # Errors
    /// See [`Service::roll_back`].
    pub async fn delete_credentials(
        &self,
        id: TenantId,
        kind: CredentialType,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<()>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::CredentialsDelete).to_credentials(&id, kind);
        let write = move |store: Arc<dyn Store>| async move {
            store.delete_credentials(&id, kind, &precondition, &by).await
        };
        self.write("delete_credentials", entry, wait, write).await
    }

    /// Brings a deleted credential back, as a new version. `None` as of [`Service::roll_back`].
    ///
    /// # Errors
    /// See [`Service::roll_back`].
    pub async fn undelete_credentials(
        &self,
        id: TenantId,
        kind: CredentialType,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<CredentialsSet>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::CredentialsUndelete).to_credentials(&id, kind);
        let write = move |store: Arc<dyn Store>| async move {
            store.undelete_credentials(&id, kind, &precondition, &by).await
        };
        self.write("undelete_credentials", entry, wait, write).await
    }

    /// Destroys a version, or all of them, and says how many. `None` as of [`Service::roll_back`].
    ///
    /// # Errors
    /// See [`Service::roll_back`].
    pub async fn destroy_versions(
        &self,
        id: TenantId,
        kind: CredentialType,
        which: Option<Version>,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<u64>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::CredentialsDestroy).to_credentials(&id, kind);
        let write = move |store: Arc<dyn Store>| async move {
            store.destroy_versions(&id, kind, which, &precondition, &by).await
        };
        self.write("destroy_versions", entry, wait, write).await
    }
}

/// Destroys what was deleted longer ago than `retention`, at once and then every hour, until `stop`.
pub async fn destroy_deleted(store: Arc<dyn Store>, retention: Duration, stop: CancellationToken) {
    loop {
        match store.destroy_deleted(retention).await {
            Ok(Some(versions)) if versions > 0 => {
                tracing::info!(versions, "destroyed credentials that were deleted long ago");
            }
            Ok(_) => {}
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "destroying credentials that were deleted long ago failed");
            }
        }
        let pause = INTERVAL.mul_f64(0.5 + fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
