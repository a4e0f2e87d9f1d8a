//! Look-ups: the hot path. A hit in memory awaits nothing and allocates nothing but its key.

use std::sync::Arc;

use super::{Service, ServiceError};
use crate::cache::{
    ByIntegration, ByPhone, ByTenant, CredentialViews, CredentialsOf, Document, Found, LoadError,
    LookupBody, TenantBody,
};
use crate::domain::{CredentialType, IntegrationId, Lookup, PhoneNumberId, Tenant, TenantId};
use crate::store::{StoreError, StoreResult};

impl Service {
    /// The active tenant that has this phone number.
    ///
    /// # Errors
    /// The database is out of reach, or a stored row can't be read.
    pub async fn by_phone(&self, phone: PhoneNumberId) -> Result<Found<Document>, ServiceError> {
        let load = || {
            let (store, phone) = (Arc::clone(&self.0.store), phone.clone());
            async move { loaded("by_phone", store.tenant_by_phone(&phone).await, lookup) }
        };
        Ok(self.0.cache.get(ByPhone(phone.clone()), load).await?)
    }

    /// The same, if it is in memory.
    #[must_use]
    pub fn cached_by_phone(&self, phone: PhoneNumberId) -> Option<Found<Document>> {
        self.0.cache.peek(ByPhone(phone))
    }

    /// The active tenant that has this integration.
    ///
    /// # Errors
    /// See [`Service::by_phone`].
    pub async fn by_integration(
        &self,
        integration: IntegrationId,
    ) -> Result<Found<Document>, ServiceError> {
        let load = || {
            let (store, id) = (Arc::clone(&self.0.store), integration.clone());
            async move { loaded("by_integration", store.tenant_by_integration(&id).await, lookup) }
        };
        Ok(self.0.cache.get(ByIntegration(integration.clone()), load).await?)
    }

    /// The same, if it is in memory.
    #[must_use]
    pub fn cached_by_integration(&self, integration: IntegrationId) -> Option<Found<Document>> {
        self.0.cache.peek(ByIntegration(integration))
    }

    /// A tenant, whatever its status.
    ///
    /// # Errors
    /// See [`Service::by_phone`].
    pub async fn tenant(&self, id: TenantId) -> Result<Found<Document>, ServiceError> {
        let load = || {
            let (store, id) = (Arc::clone(&self.0.store), id.clone());
            async move { loaded("tenant", store.tenant(&id).await, tenant) }
        };
        Ok(self.0.cache.get(ByTenant(id.clone()), load).await?)
    }

    /// The current credentials of an active tenant.
    ///
    /// # Errors
    /// See [`Service::by_phone`].
    pub async fn credentials(
        &self,
        id: TenantId,
        kind: CredentialType,
    ) -> Result<Found<Arc<CredentialViews>>, ServiceError> {
        let load = || {
            let (store, id) = (Arc::clone(&self.0.store), id.clone());
            async move {
                loaded("credentials", store.credentials(&id, kind).await, |stored| {
                    CredentialViews::of(kind, &stored.credentials, stored.version).map(Arc::new)
                })
            }
        };
        Ok(self.0.cache.get(CredentialsOf(id.clone(), kind), load).await?)
    }
}

/// Makes of a row what is cached.
fn loaded<R, T>(
    operation: &'static str,
    row: StoreResult<Option<R>>,
    view: impl FnOnce(&R) -> serde_json::Result<T>,
) -> Result<Option<T>, LoadError> {
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
