//! Keys that know the type of their value, so that a read of the wrong type does not compile.

use std::sync::Arc;

use super::{Cached, CredentialViews, Document, TokenEntry};
use crate::domain::{CacheKey, CredentialType, IntegrationId, PhoneNumberId, TenantId, TokenId};

/// A key bound to the type of what is cached under it.
pub trait TypedKey: Into<CacheKey> {
    /// What is cached.
    type Value: Clone + Send + Sync + 'static;

    /// Whether an old value, labelled as such, is better than none. A secret's is not.
    const MAY_BE_STALE: bool;

    /// Whether it may come from Redis, which others can write to. What decides who a caller is may not:
    /// whoever writes there could make a token of their own. A secret is there only sealed.
    const MAY_BE_SHARED: bool;

    /// The value as an entry; `None` is a cached absence.
    fn wrap(value: Option<Self::Value>) -> Cached;

    /// The entry as a value. The outer `None` is an entry of another type, which no fill makes.
    fn unwrap(entry: Cached) -> Option<Option<Self::Value>>;
}

macro_rules! typed_key {
    ($(#[$doc:meta])* $name:ident($($field:ident: $part:ty),+) => $key:expr, $value:ty, $variant:ident, stale: $stale:literal, shared: $shared:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name($(pub $part),+);

        impl From<$name> for CacheKey {
            fn from($name($($field),+): $name) -> Self {
                $key
            }
        }

        impl TypedKey for $name {
            type Value = $value;

            const MAY_BE_STALE: bool = $stale;

            const MAY_BE_SHARED: bool = $shared;

            fn wrap(value: Option<$value>) -> Cached {
                Cached::$variant(value)
            }

            fn unwrap(entry: Cached) -> Option<Option<$value>> {
                match entry {
                    Cached::$variant(value) => Some(value),
                    _ => None,
                }
            }
        }
    };
}

typed_key! {
    /// The active tenant of a phone number.
    ByPhone(id: PhoneNumberId) => CacheKey::Phone(id), Document, Document, stale: true, shared: true
}

typed_key! {
    /// The active tenant of an integration.
    ByIntegration(id: IntegrationId) => CacheKey::Integration(id), Document, Document, stale: true, shared: true
}

typed_key! {
    /// A tenant.
    ByTenant(id: TenantId) => CacheKey::Tenant(id), Document, Document, stale: true, shared: true
}

typed_key! {
    /// An active tenant's credentials.
    CredentialsOf(id: TenantId, kind: CredentialType) => CacheKey::Credentials(id, kind),
    Arc<CredentialViews>, Credentials, stale: false, shared: true
}

typed_key! {
    /// What an access token may do. An old answer is good for look-ups: whoever asks for more has to
    /// look at where it comes from.
    TokenOf(id: TokenId) => CacheKey::Token(id), Arc<TokenEntry>, Token, stale: true, shared: false
}
