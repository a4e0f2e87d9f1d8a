//! What is cached: answers, serialised once when they are filled, so that a hit serialises nothing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::domain::{
    CredentialType, Credentials, FieldNames, Lookup, MetaView, Tenant, mask_credentials,
};

/// A JSON document and the entity tag of this revision of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub body: Bytes,
    /// The strong entity tag, quotes included: the tenant's revision.
    pub etag: Bytes,
}

impl Document {
    /// A body of this revision.
    #[must_use]
    pub fn new(body: Vec<u8>, revision: i64) -> Self {
        let end = body.len();
        // One allocation for both.
        let mut body = exact([body, format!("\"{revision}\"").into_bytes()].concat());
        let etag = body.split_off(end);
        Self { body, etag }
    }
}

/// The answer to "whose is this?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupBody {
    /// The tenant's id.
    pub id: String,
    /// The same again, under the name that the webhook services read.
    #[serde(rename = "tenantId")]
    pub tenant_id: String,
    /// The tenant's name.
    pub name: String,
    /// Its phone number.
    pub phone_number_id: Option<String>,
    /// Its Genesys integration.
    pub genesys_integration_id: Option<String>,
    /// Always `active`: no other tenant resolves.
    pub status: String,
}

impl LookupBody {
    /// The answer that names this tenant.
    #[must_use]
    pub fn of(found: &Lookup) -> Self {
        Self {
            id: found.id.to_string(),
            tenant_id: found.id.to_string(),
            name: found.name.clone(),
            phone_number_id: found.phone_number_id.as_ref().map(ToString::to_string),
            genesys_integration_id: found.genesys_integration_id.as_ref().map(ToString::to_string),
            status: found.status.to_string(),
        }
    }
}

/// A tenant as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantBody {
    /// The tenant's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// A contact address.
    pub email: Option<String>,
    /// `active` or `suspended`.
    pub status: String,
    /// Its WhatsApp phone number.
    pub phone_number_id: Option<String>,
    /// The phone number as people write it.
    pub display_phone_number: Option<String>,
    /// Its Genesys integration.
    pub genesys_integration_id: Option<String>,
    /// Its Genesys organisation.
    pub genesys_org_id: Option<String>,
    /// The domain of its Genesys region.
    pub genesys_region: Option<String>,
    /// Whatever its owner keeps here.
    pub settings: Map<String, Value>,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// When its data last changed (RFC 3339).
    pub updated_at: String,
}

impl TenantBody {
    /// This tenant.
    #[must_use]
    pub fn of(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name.clone(),
            email: tenant.email.clone(),
            status: tenant.status.to_string(),
            phone_number_id: tenant.phone_number_id.as_ref().map(ToString::to_string),
            display_phone_number: tenant.display_phone_number.clone(),
            genesys_integration_id: tenant.genesys_integration_id.as_ref().map(ToString::to_string),
            genesys_org_id: tenant.genesys_org_id.clone(),
            genesys_region: tenant.genesys_region.clone(),
            settings: tenant.settings.clone(),
            created_at: tenant.created_at.to_string(),
            updated_at: tenant.updated_at.to_string(),
        }
    }
}

/// Every view of a credential that the API shows. `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialViews {
    /// The object with its secrets masked.
    pub masked: Bytes,
    /// The object as it was stored.
    pub full: Bytes,
    /// The Meta view, of whatsapp credentials.
    pub meta: Option<Bytes>,
    /// The summary, of genesys credentials.
    pub genesys: Option<Bytes>,
    /// The names of its fields, for the audit trail.
    pub names: FieldNames,
    /// The credential's own counter.
    pub version: i64,
}

impl CredentialViews {
    /// The views of this version of credentials.
    ///
    /// # Errors
    /// The object can't be serialised, which no stored object causes.
    pub fn of(
        kind: CredentialType,
        credentials: &Credentials,
        version: i64,
    ) -> serde_json::Result<Self> {
        let masked = mask_credentials(kind, credentials);
        let genesys = (kind == CredentialType::Genesys).then(|| genesys_summary(&masked));
        let meta = (kind == CredentialType::Whatsapp).then(|| MetaView::of(credentials));
        Ok(Self {
            full: Bytes::from_owner(secret_text(credentials.reveal())?),
            meta: meta.map(|view| secret_text(&view).map(Bytes::from_owner)).transpose()?,
            genesys: genesys.map(|view| serde_json::to_vec(&view).map(exact)).transpose()?,
            names: FieldNames::of(masked.keys().map(String::as_str)),
            masked: exact(serde_json::to_vec(&masked)?),
            version,
        })
    }

    /// Bytes held, with what three or four allocations cost beside their text (as measured).
    #[must_use]
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 320;
        let optional = |view: &Option<Bytes>| view.as_ref().map_or(0, Bytes::len);
        // A name with its own allocation.
        let names = self.names.as_slice().iter().map(|name| name.len() + 40).sum::<usize>();
        let text = self.masked.len() + self.full.len() + names;
        text + optional(&self.meta) + optional(&self.genesys) + OVERHEAD
    }
}

impl std::fmt::Debug for CredentialViews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialViews").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Bytes without the room that a buffer has to grow: there are a great many of them.
fn exact(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

/// JSON that is overwritten when the last view of it is dropped. Measured first, for a buffer that
/// grows leaves copies of its beginning behind.
fn secret_text(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *text, value)?;
    Ok(text)
}

/// Counts what is written to it.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What an administration page shows of genesys credentials, out of their masked form.
fn genesys_summary(masked: &Map<String, Value>) -> Value {
    let field = |name: &str| masked.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "configured": true,
        "clientId": field("clientId"),
        "clientSecret": field("clientSecret"),
        "region": field("region"),
        "integrationId": field("integrationId"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_view_of_credentials() {
        let value = json!({"clientId": "hunter2", "clientSecret": "hunter2"});
        let credentials = Credentials::new(CredentialType::Genesys, value).unwrap();
        let views = CredentialViews::of(CredentialType::Genesys, &credentials, 7).unwrap();
        assert_eq!(format!("{views:?}"), "CredentialViews { version: 7, .. }");
    }
}
