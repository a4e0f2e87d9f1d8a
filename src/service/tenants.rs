//! Tenants: listing, and every write of them.

use std::sync::Arc;

use super::{Acknowledged, Service, ServiceError, Wait};
use crate::domain::{Action, By, Entry, NewTenant, Tenant, TenantId, TenantPatch};
use crate::store::{Page, Store};

impl Service {
    /// One page of tenants, and how many there are. Always from the database. A tenant that can't
    /// be read is counted and left out.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn tenants(&self, page: Page) -> Result<(Vec<Tenant>, u64), ServiceError> {
        let listed = self.store()?.tenants(page).await;
        listed.map_err(|failure| ServiceError::of("tenants", failure))
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// Another tenant has the id, the phone number or the integration; or as [`Service::tenants`].
    pub async fn create_tenant(
        &self,
        tenant: NewTenant,
        by: By,
        wait: Wait,
    ) -> Result<Acknowledged<Tenant>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::TenantCreate).to(&tenant.id);
        let create = move |store: Arc<dyn Store>| async move {
            store.create_tenant(&tenant, &by).await.map(Some)
        };
        let nothing = || ServiceError::Internal("create_tenant: no tenant".into());
        self.write("create_tenant", entry, wait, create).await?.ok_or_else(nothing)
    }

    /// Changes a tenant; `None` if there is none.
    ///
    /// # Errors
    /// Its settings, merged, would be too large; or as [`Service::create_tenant`].
    pub async fn patch_tenant(
        &self,
        id: TenantId,
        patch: TenantPatch,
        by: By,
        wait: Wait,
    ) -> Result<Option<Acknowledged<Tenant>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::TenantUpdate).to(&id);
        let patch =
            move |store: Arc<dyn Store>| async move { store.patch_tenant(&id, &patch, &by).await };
        self.write("patch_tenant", entry, wait, patch).await
    }

    /// Deletes a tenant and everything of it; `None` if there was none.
    ///
    /// # Errors
    /// As [`Service::tenants`].
    pub async fn delete_tenant(
        &self,
        id: TenantId,
        by: By,
        wait: Wait,
    ) -> Result<Option<Acknowledged<()>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::TenantDelete).to(&id);
        let delete =
            move |store: Arc<dyn Store>| async move { store.delete_tenant(&id, &by).await };
        self.write("delete_tenant", entry, wait, delete).await
    }
}
