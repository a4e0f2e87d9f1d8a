//! Writes of credentials, and what shows their secrets.

use std::sync::Arc;

use super::{Acknowledged, Service, ServiceError, Wait};
use crate::cache::{CredentialViews, Found};
use crate::domain::{
    Action, By, CredentialType, Credentials, Entry, FieldNames, MetaView, Outcome, TenantId,
};
use crate::store::{CredentialsSet, GenesysLink, Store};

/// Which view of credentials is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All fields.
    Full,
    /// The Meta view.
    Meta,
}

impl Service {
    /// The current credentials of an active tenant, to be shown with their secrets: that they are is in
    /// the audit trail, committed, before this returns.
    ///
    /// # Errors
    /// As [`Service::credentials`]; or the audit trail can't be written.
    pub async fn reveal(
        &self,
        id: TenantId,
        kind: CredentialType,
        shown: Shown,
        by: By,
    ) -> Result<Found<Arc<CredentialViews>>, ServiceError> {
        let entry = Entry::of(by, Action::CredentialsReveal).to(&id);
        let found = self.credentials(id, kind).await?;
        let fields = |views: &CredentialViews| match shown {
            Shown::Full => views.names.clone(),
            Shown::Meta => FieldNames::of(MetaView::NAMES),
        };
        let views = found.value.as_deref();
        self.0
            .trail
            .commit(Entry {
                kind: Some(kind),
                version: views.map(|views| views.version),
                fields: views.map(fields).unwrap_or_default(),
                outcome: if views.is_some() { Outcome::Ok } else { Outcome::NotFound },
                ..entry
            })
            .await?;
        Ok(found)
    }

    /// Replaces a tenant's credentials of one type; `None` if there is no such tenant. With `link`,
    /// the same transaction sets it on the tenant.
    ///
    /// # Errors
    /// Another tenant has the integration, or the database is out of reach.
    pub async fn set_credentials(
        &self,
        id: TenantId,
        kind: CredentialType,
        credentials: Credentials,
        link: Option<GenesysLink>,
        by: By,
        wait: Wait,
    ) -> Result<Option<Acknowledged<CredentialsSet>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::CredentialsSet).to(&id);
        let entry = Entry { kind: Some(kind), ..entry };
        let set = move |store: Arc<dyn Store>| async move {
            store.set_credentials(&id, kind, &credentials, link.as_ref(), &by).await
        };
        self.write("set_credentials", entry, wait, set).await
    }
}
