//! What the cache is filled with: documents and views, made of what the store says.

use std::sync::Arc;

use super::{ServiceError, sealed};
use crate::cache::{
    ByIntegration, ByPhone, ByTenant, Cached, CredentialViews, CredentialsOf, Document, LoadError,
    Loaded as Shared, LookupBody, TenantBody, TokenEntry, TokenOf, TypedKey,
};
use crate::domain::{
    CacheKey, CredentialType, IntegrationId, Lookup, PhoneNumberId, Tenant, TenantId, TokenId,
};
use crate::store::{Store, StoreError, StoreResult, StoredCredentials};

type Loaded<T> = Result<Option<T>, LoadError>;

pub(super) async fn by_phone(store: &dyn Store, phone: &PhoneNumberId) -> Loaded<Document> {
    loaded("by_phone", store.tenant_by_phone(phone).await, lookup)
}

pub(super) async fn by_integration(store: &dyn Store, id: &IntegrationId) -> Loaded<Document> {
    loaded("by_integration", store.tenant_by_integration(id).await, lookup)
}

pub(super) async fn by_id(store: &dyn Store, id: &TenantId) -> Loaded<Document> {
    loaded("tenant", store.tenant(id).await, tenant)
}

pub(super) async fn credentials(
    store: &dyn Store,
    id: &TenantId,
    kind: CredentialType,
) -> Loaded<Arc<CredentialViews>> {
    Ok(shared_credentials(store, id, kind).await?.map(|found| found.value))
}

/// The same, with what other replicas may have of it.
pub(super) async fn shared_credentials(
    store: &dyn Store,
    id: &TenantId,
    kind: CredentialType,
) -> Loaded<Shared<Arc<CredentialViews>>> {
    loaded("credentials", store.credentials(id, kind).await, |stored| {
        let shared = Some(sealed::document(stored)?);
        Ok(Shared { value: views(kind, stored)?, shared })
    })
}

/// The views of what another replica has shared, if it opens here.
pub(super) fn opened_credentials(
    store: &dyn Store,
    id: &TenantId,
    kind: CredentialType,
    document: &Document,
) -> Option<Arc<CredentialViews>> {
    let stored = store.open_sealed(id, kind, sealed::read(document)?)?;
    views(kind, &stored).ok()
}

fn views(
    kind: CredentialType,
    stored: &StoredCredentials,
) -> serde_json::Result<Arc<CredentialViews>> {
    let (generation, version) = (stored.id.as_str(), stored.version);
    CredentialViews::of(kind, &stored.credentials, (generation, version)).map(Arc::new)
}

pub(super) async fn token(store: &dyn Store, id: &TokenId) -> Loaded<Arc<TokenEntry>> {
    let row = store.token(id).await;
    loaded("token", row, |issued| Ok(Arc::new(TokenEntry::new(issued.clone()))))
}

/// What a cache that is right has under this key: the truth, as it would be filled now.
///
/// # Errors
/// The database is out of reach, or a stored row can't be read.
pub async fn truth(store: &dyn Store, key: &CacheKey) -> Result<Cached, LoadError> {
    Ok(match key {
        CacheKey::Phone(phone) => ByPhone::wrap(by_phone(store, phone).await?),
        CacheKey::Integration(id) => ByIntegration::wrap(by_integration(store, id).await?),
        CacheKey::Tenant(id) => ByTenant::wrap(by_id(store, id).await?),
        CacheKey::Credentials(id, kind) => {
            CredentialsOf::wrap(credentials(store, id, *kind).await?)
        }
        CacheKey::Token(id) => TokenOf::wrap(token(store, id).await?),
    })
}

/// Which version this is, without a word of what is in it. A document's is its tenant's revision:
/// the number of a change in the log.
#[must_use]
pub fn version(cached: &Cached) -> String {
    match cached {
        Cached::Document(Some(document)) => {
            let revision = String::from_utf8_lossy(&document.etag);
            format!("revision {}", revision.trim_matches('"'))
        }
        Cached::Credentials(Some(views)) => format!("version {}", views.version),
        Cached::Token(Some(_)) => "another version".to_owned(),
        Cached::Document(None) | Cached::Credentials(None) | Cached::Token(None) => {
            "absent".to_owned()
        }
    }
}

/// Makes of a row what is cached.
fn loaded<R, T>(
    operation: &'static str,
    row: StoreResult<Option<R>>,
    view: impl FnOnce(&R) -> serde_json::Result<T>,
) -> Loaded<T> {
    let row = row.map_err(|failure| LoadError::from(ServiceError::of(operation, failure)))?;
    let view = row.as_ref().map(view).transpose();
    view.map_err(|_| ServiceError::of(operation, StoreError::Corrupt("not serialisable")).into())
}

fn lookup(found: &Lookup) -> serde_json::Result<Document> {
    Ok(Document::new(serde_json::to_vec(&LookupBody::of(found))?, found.revision))
}

fn tenant(tenant: &Tenant) -> serde_json::Result<Document> {
    Ok(Document::new(serde_json::to_vec(&TenantBody::of(tenant))?, tenant.revision))
}
