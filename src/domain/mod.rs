//! What the service talks about: ids, tenants, credentials, cache keys and changes.
//!
//! Types that cannot be wrong: a value that exists has been validated. No I/O, no clock, no
//! knowledge of a database, of Redis or of HTTP.

mod audit;
mod cache_key;
mod change;
mod credential;
mod expiry;
mod ids;
mod mask;
mod number;
mod precondition;
mod redacted;
mod region;
mod scope;
mod settings;
mod tenant;
mod text;
mod token;
mod version;

pub use audit::{Action, Actor, By, Entry, FieldNames, Outcome};
pub use cache_key::{CacheKey, KeyKind};
pub use change::{Change, ChangeKind};
pub use credential::{CredentialType, Credentials, MetaView};
pub use expiry::ExpiresAt;
pub use ids::{IntegrationId, PhoneNumberId, TenantId};
pub use mask::{MASK, mask_credentials, mask_text};
pub use number::keeps_digits;
pub use precondition::{NamedTag, Precondition, Tags, version_tag};
pub use redacted::Redacted;
pub(crate) use redacted::redact;
pub use region::{REGIONS, Region};
pub use scope::{Scope, Scopes, UnknownScope};
pub use settings::{SETTINGS_DEPTH, SETTINGS_LIMIT, Settings};
pub use tenant::{Edit, Lookup, NewTenant, Status, Tenant, TenantPatch};
pub use text::{Email, Name, ShortText, storable};
pub use token::{
    AccessToken, IssuedToken, Limits, NewToken, NotAToken, Token, TokenHash, TokenId, TokenRecord,
    TokenStanding,
};
pub use version::{NoVersion, Version, VersionInfo, VersionState};

/// A value from outside that cannot be accepted.
///
/// Names the field and says what would be accepted; never repeats the value that was sent, for
/// it may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// The field as the caller knows it.
    pub field: String,
    /// What is accepted, as a sentence fragment.
    pub reason: String,
    /// Whether the value is well-formed but not acceptable (a mask given as a secret).
    pub unprocessable: bool,
}

impl Invalid {
    /// A malformed value of `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), unprocessable: false }
    }

    /// A well-formed value of `field` that may not be stored.
    pub fn unprocessable(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { unprocessable: true, ..Self::new(field, reason) }
    }
}
