//! Tenants: listing, and every write of them.

use std::sync::Arc;

use super::{Acknowledged, Intent, Service, ServiceError};
use crate::domain::{Action, Entry, Limits, NewTenant, Tenant, TenantId, TenantPatch};
use crate::store::{Page, Store};

impl Service {
    /// One page of the tenants within these limits, and how many there are. Always from the database. A tenant that can't
    /// be read is counted and left out.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn tenants(
        &self,
        page: Page,
        within: &Limits,
    ) -> Result<(Vec<Tenant>, u64), ServiceError> {
        let listed = self.store()?.tenants(page, within).await;
        listed.map_err(|failure| ServiceError::of("tenants", failure))
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// Another tenant has the id, the phone number or the integration; the condition is that something
    /// is there; or as [`Service::tenants`].
    pub async fn create_tenant(
        &self,
        tenant: NewTenant,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Acknowledged<Tenant>, ServiceError> {
        // Where one is to be made, none is there: an id that is taken is a conflict.
        let entry = Entry::of(by.clone(), Action::TenantCreate).to(&tenant.id);
        if !precondition.holds(None) {
            return Err(self.not_written(ServiceError::PreconditionFailed { current: None }, entry));
        }
        let create = move |store: Arc<dyn Store>| async move {
            store.create_tenant(&tenant, &by).await.map(Some)
        };
        let nothing = || ServiceError::Internal("create_tenant: no tenant".into());
        self.write("create_tenant", entry, wait, create).await?.ok_or_else(nothing)
    }

    /// Changes a tenant; `None` if there is none.
    ///
    /// # Errors
    /// Its settings, merged, would be too large; it is of another revision than it has to be; or as [`Service::create_tenant`].
    pub async fn patch_tenant(
        &self,
        id: TenantId,
        patch: TenantPatch,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<Tenant>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::TenantUpdate).to(&id);
        let patch = move |store: Arc<dyn Store>| async move {
            store.patch_tenant(&id, &patch, &precondition, &by).await
        };
        self.write("patch_tenant", entry, wait, patch).await
    }

    /// Deletes a tenant and everything of it; `None` if there was none.
    ///
    /// # Errors
    /// It is of another revision than it has to be; or as [`Service::tenants`].
    pub async fn delete_tenant(
        &self,
        id: TenantId,
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<()>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::TenantDelete).to(&id);
        let delete = move |store: Arc<dyn Store>| async move {
            store.delete_tenant(&id, &precondition, &by).await
        };
        self.write("delete_tenant", entry, wait, delete).await
    }
}
