//! Writes of credentials.

use std::sync::Arc;

use super::{Acknowledged, Intent, Service, ServiceError};
use crate::domain::{CredentialType, Credentials, TenantId};
use crate::store::{CredentialsSet, GenesysLink, Store};

impl Service {
    /// Replaces a tenant's credentials of one type; `None` if there is no such tenant. With `link`,
    /// the same transaction sets it on the tenant.
    ///
    /// # Errors
    /// Another tenant has the integration, the condition does not hold, their end does not lie ahead, or
    /// the database is out of reach.
    pub async fn set_credentials(
        &self,
        id: TenantId,
        kind: CredentialType,
        credentials: Credentials,
        link: Option<GenesysLink>,
        Intent { wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<CredentialsSet>>, ServiceError> {
        let ends = credentials.expires_at().is_some();
        let set = move |store: Arc<dyn Store>| async move {
            store.set_credentials(&id, kind, &credentials, link.as_ref(), &precondition).await
        };
        let written = self.write("set_credentials", wait, set).await;
        if ends {
            self.0.expiry_set.notify_one();
        }
        written
    }
}
