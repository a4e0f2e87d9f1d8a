//! Look-ups: the hot path. A hit in memory awaits nothing and allocates nothing but its key.

use std::sync::Arc;

use super::{Service, ServiceError, load};
use crate::cache::{
    ByIntegration, ByPhone, ByTenant, CredentialViews, CredentialsOf, Document, Found,
};
use crate::domain::{CredentialType, IntegrationId, PhoneNumberId, TenantId};

impl Service {
    /// The active tenant that has this phone number.
    ///
    /// # Errors
    /// The database is out of reach, or a stored row can't be read.
    pub async fn by_phone(&self, phone: PhoneNumberId) -> Result<Found<Document>, ServiceError> {
        let load = || {
            let (store, phone) = (Arc::clone(&self.0.store), phone.clone());
            async move { load::by_phone(store.as_ref(), &phone).await }
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
            async move { load::by_integration(store.as_ref(), &id).await }
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
            async move { load::by_id(store.as_ref(), &id).await }
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
            async move { load::shared_credentials(store.as_ref(), &id, kind).await }
        };
        let (store, owner) = (Arc::clone(&self.0.store), id.clone());
        let open = move |document: Document| {
            load::opened_credentials(store.as_ref(), &owner, kind, &document)
        };
        Ok(self.0.cache.get_shared(CredentialsOf(id.clone(), kind), load, open).await?)
    }
}
