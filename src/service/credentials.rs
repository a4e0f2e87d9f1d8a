//! Writes of credentials, and what shows their secrets.

use std::sync::Arc;

use bytes::Bytes;

use super::{Acknowledged, Intent, Service, ServiceError};
use crate::cache::{CredentialViews, Found, Via};
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

/// What somebody may be shown of credentials.
#[derive(Debug)]
pub enum Revealed {
    /// There are none.
    Absent(Via),
    /// They are those that the caller has, by this entity tag.
    Same(Bytes, Via),
    /// These.
    Shown(Arc<CredentialViews>, Via),
}

impl Service {
    /// The current credentials of an active tenant, to be shown with their secrets: that they are is in
    /// the audit trail, committed, before this returns. Whoever has them already (`is_known` tells by
    /// their entity tag) is shown nothing, and nothing is entered.
    ///
    /// # Errors
    /// As [`Service::credentials`]; or the audit trail can't be written.
    pub async fn reveal(
        &self,
        id: TenantId,
        kind: CredentialType,
        shown: Shown,
        is_known: impl FnOnce(&[u8]) -> bool,
        by: By,
    ) -> Result<Revealed, ServiceError> {
        let entry = Entry::of(by, Action::CredentialsReveal).to_credentials(&id, kind);
        let Found { value, via } = self.credentials(id, kind).await?;
        let Some(views) = value else {
            self.0.trail.commit(entry.ending(Outcome::NotFound)).await?;
            return Ok(Revealed::Absent(via));
        };
        if is_known(&views.etag) {
            return Ok(Revealed::Same(views.etag.clone(), via));
        }
        let fields = match shown {
            Shown::Full => views.names.clone(),
            Shown::Meta => FieldNames::of(MetaView::NAMES),
        };
        self.0.trail.commit(Entry { version: Some(views.version), fields, ..entry }).await?;
        Ok(Revealed::Shown(views, via))
    }

    /// Enters that somebody was not let at what they asked for, which looks absent to them. Nobody waits
    /// for that.
    pub fn denied(&self, by: By, action: Action, id: &TenantId, kind: Option<CredentialType>) {
        let entry = Entry { kind, ..Entry::of(by, action).to(id) };
        self.0.trail.note(entry.ending(Outcome::Denied));
    }

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
        Intent { by, wait, precondition }: Intent,
    ) -> Result<Option<Acknowledged<CredentialsSet>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::CredentialsSet).to_credentials(&id, kind);
        let ends = credentials.expires_at().is_some();
        let set = move |store: Arc<dyn Store>| async move {
            let link = link.as_ref();
            store.set_credentials(&id, kind, &credentials, link, &precondition, &by).await
        };
        let written = self.write("set_credentials", entry, wait, set).await;
        if ends {
            self.0.expiry_set.notify_one();
        }
        written
    }
}
