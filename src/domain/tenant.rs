//! Tenants: an organisation with a phone number and a Genesys integration.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    CacheKey, CredentialType, Credentials, Email, IntegrationId, Invalid, Name, PhoneNumberId,
    Region, Settings, ShortText, TenantId,
};

/// Whether a tenant takes part. Only an active one resolves and has credentials to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Resolves.
    Active,
    /// Looks absent to lookups and credentials; its data stays.
    Suspended,
}

impl Status {
    /// The status as the API and the database write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Active, Self::Suspended]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Invalid::new("status", "must be active or suspended"))
    }
}

/// A tenant as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// A contact address.
    pub email: Option<String>,
    /// Whether it takes part.
    pub status: Status,
    /// Its WhatsApp phone number, by Meta's id; no other tenant has it.
    pub phone_number_id: Option<PhoneNumberId>,
    /// The phone number as people write it.
    pub display_phone_number: Option<String>,
    /// Its Genesys integration; no other tenant has it.
    pub genesys_integration_id: Option<IntegrationId>,
    /// Its Genesys organisation.
    pub genesys_org_id: Option<String>,
    /// The domain of its Genesys region.
    pub genesys_region: Option<String>,
    /// Whatever its owner keeps here; see [`Settings`].
    pub settings: Map<String, Value>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its data last changed.
    pub updated_at: Timestamp,
    /// Sequence number of its last change; never reset, not even by deletion and re-creation.
    pub revision: i64,
}

impl Tenant {
    /// The keys under which this tenant can be looked up, and its own.
    #[must_use]
    pub fn keys(&self) -> Vec<CacheKey> {
        let phone = self.phone_number_id.clone().map(CacheKey::Phone);
        let integration = self.genesys_integration_id.clone().map(CacheKey::Integration);
        phone.into_iter().chain(integration).chain([CacheKey::Tenant(self.id.clone())]).collect()
    }

    /// The keys of its credentials.
    #[must_use]
    pub fn credential_keys(&self) -> Vec<CacheKey> {
        let of = |kind| CacheKey::Credentials(self.id.clone(), kind);
        CredentialType::ALL.into_iter().map(of).collect()
    }
}

/// What a look-up finds: whose a phone number or an integration is. As much of a tenant as that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// See [`Tenant::id`].
    pub id: TenantId,
    /// See [`Tenant::name`].
    pub name: String,
    /// See [`Tenant::phone_number_id`].
    pub phone_number_id: Option<PhoneNumberId>,
    /// See [`Tenant::genesys_integration_id`].
    pub genesys_integration_id: Option<IntegrationId>,
    /// See [`Tenant::status`].
    pub status: Status,
    /// See [`Tenant::revision`].
    pub revision: i64,
}

/// A tenant to be created.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// The id, chosen by the caller or drawn by the service.
    pub id: TenantId,
    /// See [`Tenant::name`].
    pub name: Name,
    /// See [`Tenant::email`].
    pub email: Option<Email>,
    /// See [`Tenant::status`].
    pub status: Status,
    /// See [`Tenant::phone_number_id`].
    pub phone_number_id: Option<PhoneNumberId>,
    /// See [`Tenant::display_phone_number`].
    pub display_phone_number: Option<ShortText>,
    /// See [`Tenant::genesys_integration_id`].
    pub genesys_integration_id: Option<IntegrationId>,
    /// See [`Tenant::genesys_org_id`].
    pub genesys_org_id: Option<ShortText>,
    /// See [`Tenant::genesys_region`].
    pub genesys_region: Option<Region>,
    /// See [`Tenant::settings`].
    pub settings: Settings,
    /// Its first credentials, at most one of each type. Requests set them on their own.
    pub credentials: Vec<(CredentialType, Credentials)>,
}

/// What a patch does to an optional field (RFC 7396: absent keeps, null clears).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Edit<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Remove its value.
    Clear,
    /// Give it this value.
    Set(T),
}

impl<T> Edit<T> {
    /// Whether the field changes at all.
    #[must_use]
    pub const fn is_edit(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// The new value, where there is one.
    #[must_use]
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }
}

/// A merge patch of a tenant. Name, status and settings can be replaced, not cleared.
#[derive(Debug, Clone, Default)]
pub struct TenantPatch {
    /// See [`Tenant::name`].
    pub name: Option<Name>,
    /// See [`Tenant::email`].
    pub email: Edit<Email>,
    /// See [`Tenant::status`].
    pub status: Option<Status>,
    /// See [`Tenant::phone_number_id`].
    pub phone_number_id: Edit<PhoneNumberId>,
    /// See [`Tenant::display_phone_number`].
    pub display_phone_number: Edit<ShortText>,
    /// See [`Tenant::genesys_integration_id`].
    pub genesys_integration_id: Edit<IntegrationId>,
    /// See [`Tenant::genesys_org_id`].
    pub genesys_org_id: Edit<ShortText>,
    /// See [`Tenant::genesys_region`].
    pub genesys_region: Edit<Region>,
    /// A merge patch of [`Tenant::settings`]; `Clear` empties them.
    pub settings: Edit<Map<String, Value>>,
}
