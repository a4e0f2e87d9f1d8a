//! What is cached: answers, serialised once when they are filled, so that a hit serialises nothing;
//! and what access tokens may do.

use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::crypto::secret_text;
use crate::domain::{
    CredentialType, Credentials, FieldNames, IssuedToken, Lookup, MetaView, Tenant,
    mask_credentials, redact, version_tag,
};

/// A JSON document and the entity tag of this revision of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub body: Bytes,
    /// The strong entity tag, quotes included: the tenant's revision, or the credential's generation
    /// and version.
    pub etag: Bytes,
}

impl Document {
    /// A body of this revision.
    #[must_use]
    pub fn new(body: Vec<u8>, revision: i64) -> Self {
        Self::tagged(body, &revision.to_string())
    }

    fn tagged(mut body: Vec<u8>, tag: &str) -> Self {
        let end = body.len();
        for part in ["\"", tag, "\""] {
            body.extend_from_slice(part.as_bytes());
        }
        // One allocation for both.
        let mut body = exact(body);
        let etag = body.split_off(end);
        Self { body, etag }
    }

    /// The tenant that it is of.
    #[must_use]
    pub fn tenant(&self) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Owned<'d> {
            #[serde(borrow)]
            id: Cow<'d, str>,
        }
        let owned: Option<Owned<'_>> = serde_json::from_slice(&self.body).ok();
        owned.map(|owned| owned.id)
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
    /// The strong entity tag of all of them, quotes included.
    pub etag: Bytes,
    /// The names of its fields, for the audit trail.
    pub names: FieldNames,
    /// The credential's own counter.
    pub version: i64,
}

impl CredentialViews {
    /// The views of this version of credentials, of this generation.
    ///
    /// # Errors
    /// The object can't be serialised, which no stored object causes.
    pub fn of(
        kind: CredentialType,
        credentials: &Credentials,
        (generation, version): (&str, i64),
    ) -> serde_json::Result<Self> {
        let masked = mask_credentials(kind, credentials);
        let genesys = (kind == CredentialType::Genesys).then(|| genesys_summary(&masked));
        let meta = (kind == CredentialType::Whatsapp).then(|| MetaView::of(credentials));
        let tag = version_tag(generation, version);
        let Document { body, etag } = Document::tagged(serde_json::to_vec(&masked)?, &tag);
        Ok(Self {
            full: Bytes::from_owner(secret_text(credentials.reveal())?),
            meta: meta.map(|view| secret_text(&view).map(Bytes::from_owner)).transpose()?,
            genesys: genesys.map(|view| serde_json::to_vec(&view).map(exact)).transpose()?,
            names: FieldNames::of(masked.keys().map(String::as_str)),
            masked: body,
            etag,
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
        let text = self.masked.len() + self.full.len() + self.etag.len() + names;
        text + optional(&self.meta) + optional(&self.genesys) + OVERHEAD
    }
}

redact!(CredentialViews { version: |it| it.version });

/// A token that somebody has presented, with what is remembered of its uses.
#[derive(Debug)]
pub struct TokenEntry {
    /// The token, and what it is compared with.
    pub issued: IssuedToken,
    /// When a use of it was last noted, in seconds of the Unix epoch.
    noted: AtomicI64,
}

impl TokenEntry {
    /// One that was not used yet.
    #[must_use]
    pub const fn new(issued: IssuedToken) -> Self {
        Self { issued, noted: AtomicI64::new(0) }
    }

    /// Whether a use at this second is worth a note: none was made for so long.
    #[must_use]
    pub fn is_due(&self, second: i64, every: i64) -> bool {
        let noted = self.noted.load(Ordering::Relaxed);
        let swap = |to| {
            self.noted.compare_exchange(noted, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        (second - noted >= every) && swap(second)
    }

    /// Bytes held.
    #[must_use]
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 256;
        let token = &self.issued.token;
        let tenants = token.limits.tenants().unwrap_or_default();
        let tenants: usize = tenants.iter().map(|id| id.as_str().len() + 32).sum();
        OVERHEAD + token.name.len() + tenants
    }
}

impl PartialEq for TokenEntry {
    /// Its uses are no part of what it is.
    fn eq(&self, other: &Self) -> bool {
        self.issued == other.issued
    }
}

impl Eq for TokenEntry {}

/// Bytes without the room that a buffer has to grow: there are a great many of them.
fn exact(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
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
    use crate::domain::{Limits, Scopes, Token, TokenHash};

    #[test]
    fn a_use_is_noted_once_in_a_while() {
        let issued = IssuedToken {
            token: Token {
                id: "0123456789abcdef".parse().unwrap(),
                name: "n".into(),
                scopes: Scopes::ALL,
                limits: Limits::NONE,
                expires_at: None,
                revoked_at: None,
            },
            hash: TokenHash([0; 32]),
        };
        let entry = TokenEntry::new(issued.clone());
        let due: Vec<i64> = (1_000..1_200).filter(|second| entry.is_due(*second, 60)).collect();
        assert_eq!(due, [1_000, 1_060, 1_120, 1_180]);
        assert_eq!(entry, TokenEntry::new(issued));
    }

    #[test]
    fn debug_shows_no_view_of_credentials() {
        let value = json!({"clientId": "hunter2", "clientSecret": "hunter2"});
        let credentials = Credentials::new(CredentialType::Genesys, value).unwrap();
        let views = CredentialViews::of(CredentialType::Genesys, &credentials, ("g", 7)).unwrap();
        assert_eq!(views.etag, "\"g.7\"");
        assert_eq!(format!("{views:?}"), "CredentialViews { version: 7, .. }");
    }
}
