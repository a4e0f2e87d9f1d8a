//! Versions of credentials: what a store does with them, and their rows as both databases return
//! them.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::FromRow;

use super::row::moment;
use super::seal::CredentialsRow;
use super::{CredentialsSet, StoreError, StoreResult, StoredCredentials, Written};
use crate::crypto::Keyring;
use crate::domain::{
    By, CredentialType, ExpiresAt, NoVersion, Precondition, TenantId, Version, VersionInfo,
    version_tag,
};

/// Versions that one transaction of [`CredentialVersions::destroy_deleted`] destroys.
pub(super) const BATCH_ROWS: i64 = 1_000;
/// Its transactions; the next call goes on.
pub(super) const BATCHES: usize = 100;

/// Which versions to list, newest first.
#[derive(Debug, Clone, Copy)]
pub struct VersionsPage {
    /// How many at most.
    pub limit: u32,
    /// Only those before this one.
    pub before: Option<Version>,
}

/// Versions of credentials.
///
/// Writes return `None` where there is no such tenant; [`StoreError::PreconditionFailed`] where their
/// condition does not hold; and [`StoreError::NoVersion`] where there is nothing to do it with. They
/// work on a suspended tenant too, whose secrets have to be destructible. Reads find nothing there.
#[async_trait]
pub trait CredentialVersions: Send + Sync {
    /// One page of what there is and was. `None`: the tenant is absent or suspended, or never had any.
    async fn versions(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        page: VersionsPage,
    ) -> StoreResult<Option<Vec<VersionInfo>>>;

    /// One version of the credential that is there now. A version of one that was deleted is as
    /// absent as that is.
    async fn version(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        version: Version,
    ) -> StoreResult<Option<StoredCredentials>>;

    /// Makes a new version of what an earlier one holds, of the credential that is there now.
    async fn roll_back(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        to: Version,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>>;

    /// Deletes the credential. Its versions are kept for a while.
    async fn delete_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<()>>>;

    /// Makes a new version of what the credential was when it was deleted. It is the same credential
    /// again, with all its versions.
    async fn undelete_credentials(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<CredentialsSet>>>;

    /// Removes the bytes of a version for good, or of all there are and were; says of how many. If the
    /// current one is among them, the credential is deleted. What was destroyed before is not counted.
    async fn destroy_versions(
        &self,
        tenant: &TenantId,
        kind: CredentialType,
        which: Option<Version>,
        precondition: &Precondition,
        by: &By,
    ) -> StoreResult<Option<Written<u64>>>;

    /// Removes the bytes of all versions of credentials that were deleted longer ago than that; says of
    /// how many. `None`: another replica is at it.
    async fn destroy_deleted(&self, retention: Duration) -> StoreResult<Option<u64>>;
}

/// Refuses a write whose condition does not hold where this entity tag is there.
pub(super) fn require(precondition: &Precondition, current: Option<String>) -> StoreResult<()> {
    if precondition.holds(current.as_deref()) {
        Ok(())
    } else {
        Err(StoreError::PreconditionFailed { current })
    }
}

/// Which credential is there, and which version of it.
#[derive(FromRow)]
pub(super) struct CurrentRow {
    id: String,
    version: i64,
}

impl CurrentRow {
    pub fn tag(&self) -> String {
        version_tag(&self.id, self.version)
    }
}

/// A version as it is stored.
#[derive(FromRow)]
pub(super) struct VersionRow {
    #[sqlx(flatten)]
    credentials: CredentialsRow,
    is_deleted: bool,
    is_destroyed: bool,
    /// Its end, if that is still ahead.
    expires_at: Option<String>,
}

impl VersionRow {
    /// What it holds, if its credential is there: to be stored again, with the end that it had if that is
    /// still ahead.
    pub fn open_again(
        self,
        keyring: &Keyring,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<StoredCredentials> {
        let ahead = self.ahead()?;
        Ok(expiring(self.open(keyring, tenant, kind)?, ahead))
    }

    /// What it holds, if its credential is there.
    pub fn open(
        self,
        keyring: &Keyring,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<StoredCredentials> {
        if self.is_deleted && !self.is_destroyed {
            return Err(NoVersion::Deleted.into());
        }
        self.open_any(keyring, tenant, kind)
    }

    /// The same as [`VersionRow::open_again`], also if its credential was deleted.
    pub fn open_deleted(
        self,
        keyring: &Keyring,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<StoredCredentials> {
        let ahead = self.ahead()?;
        Ok(expiring(self.open_any(keyring, tenant, kind)?, ahead))
    }

    fn open_any(
        self,
        keyring: &Keyring,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<StoredCredentials> {
        if self.is_destroyed {
            return Err(NoVersion::Destroyed.into());
        }
        self.credentials.open(keyring, tenant, kind)
    }

    fn ahead(&self) -> StoreResult<Option<ExpiresAt>> {
        let ahead = self.expires_at.as_deref().map(str::parse).transpose();
        ahead.map_err(|_| StoreError::Corrupt("tenant_credential_history.expires_at"))
    }
}

fn expiring(stored: StoredCredentials, ahead: Option<ExpiresAt>) -> StoredCredentials {
    StoredCredentials { credentials: stored.credentials.expiring(ahead), ..stored }
}

/// A version without what it holds.
#[derive(FromRow)]
pub(super) struct VersionInfoRow {
    version: i64,
    generation: String,
    valid_from: String,
    expires_at: Option<String>,
    superseded_at: Option<String>,
    deleted_at: Option<String>,
    destroyed_at: Option<String>,
}

impl TryFrom<VersionInfoRow> for VersionInfo {
    type Error = StoreError;

    fn try_from(row: VersionInfoRow) -> StoreResult<Self> {
        let some =
            |text: Option<String>, column| text.map(|text| moment(&text, column)).transpose();
        Ok(Self {
            version: row.version,
            generation: row.generation,
            valid_from: moment(&row.valid_from, "tenant_credential_history.valid_from")?,
            expires_at: some(row.expires_at, "tenant_credential_history.expires_at")?,
            superseded_at: some(row.superseded_at, "tenant_credential_history.superseded_at")?,
            deleted_at: some(row.deleted_at, "tenant_credential_history.deleted_at")?,
            destroyed_at: some(row.destroyed_at, "tenant_credential_history.destroyed_at")?,
        })
    }
}

/// A page of versions.
pub(super) fn page(rows: Vec<VersionInfoRow>) -> StoreResult<Vec<VersionInfo>> {
    rows.into_iter().map(VersionInfo::try_from).collect()
}

/// What is opened for whoever reads a version: one of a credential that was deleted is as absent as
/// that is.
pub(super) fn readable(
    opened: Option<StoreResult<StoredCredentials>>,
) -> StoreResult<Option<StoredCredentials>> {
    match opened.transpose() {
        Err(StoreError::NoVersion(NoVersion::Deleted)) => Ok(None),
        read => read,
    }
}
