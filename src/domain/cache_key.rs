//! Names of cached things. A change carries the keys that it touched, as text.

use std::fmt;
use std::str::FromStr;

use super::{CredentialType, IntegrationId, PhoneNumberId, TenantId, TokenId};

/// What can be cached, and evicted by a change: `phone:{id}`, `integration:{id}`, `tenant:{id}`,
/// `tenant:{id}:credentials:{type}` and `token:{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheKey {
    /// Which active tenant has this phone number.
    Phone(PhoneNumberId),
    /// Which active tenant has this Genesys integration.
    Integration(IntegrationId),
    /// A tenant's own data.
    Tenant(TenantId),
    /// A tenant's current credentials of one type.
    Credentials(TenantId, CredentialType),
    /// What an access token may do.
    Token(TokenId),
}

/// The kind of a key: a metric label, and never more than that of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// `phone`
    Phone,
    /// `integration`
    Integration,
    /// `tenant`
    Tenant,
    /// `credentials`
    Credentials,
    /// `token`
    Token,
}

impl KeyKind {
    /// Every kind, in the order of its discriminant.
    pub const ALL: [Self; 5] =
        [Self::Phone, Self::Integration, Self::Tenant, Self::Credentials, Self::Token];

    /// The label of this kind in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Integration => "integration",
            Self::Tenant => "tenant",
            Self::Credentials => "credentials",
            Self::Token => "token",
        }
    }
}

impl CacheKey {
    /// The kind of this key.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Phone(_) => KeyKind::Phone,
            Self::Integration(_) => KeyKind::Integration,
            Self::Tenant(_) => KeyKind::Tenant,
            Self::Credentials(..) => KeyKind::Credentials,
            Self::Token(_) => KeyKind::Token,
        }
    }

    /// Bytes of text in this key: its share of a cache entry's weight.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self {
            Self::Phone(id) => id.as_str().len(),
            Self::Integration(id) => id.as_str().len(),
            Self::Tenant(id) | Self::Credentials(id, _) => id.as_str().len(),
            Self::Token(id) => id.as_str().len(),
        }
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(id) => write!(f, "phone:{id}"),
            Self::Integration(id) => write!(f, "integration:{id}"),
            Self::Tenant(id) => write!(f, "tenant:{id}"),
            Self::Credentials(id, kind) => write!(f, "tenant:{id}:credentials:{kind}"),
            Self::Token(id) => write!(f, "token:{id}"),
        }
    }
}

/// The text names nothing that can be cached, so nothing has to be evicted for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cache key")]
pub struct NotAKey;

impl FromStr for CacheKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let (prefix, rest) = text.split_once(':').ok_or(NotAKey)?;
        let key = match prefix {
            "phone" => rest.parse().map(Self::Phone).ok(),
            "integration" => rest.parse().map(Self::Integration).ok(),
            "token" => rest.parse().map(Self::Token).ok(),
            // A tenant id has no colon, so the first one ends it.
            "tenant" => match rest.split_once(":credentials:") {
                None => rest.parse().map(Self::Tenant).ok(),
                Some((id, kind)) => id
                    .parse()
                    .ok()
                    .zip(kind.parse().ok())
                    .map(|(id, kind)| Self::Credentials(id, kind)),
            },
            _ => None,
        };
        key.ok_or(NotAKey)
    }
}

impl serde::Serialize for CacheKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in [
            "phone:123456789",
            "integration:demo-integration-001",
            "integration:a:b",
            "tenant:demo-tenant-001",
            "tenant:demo-tenant-001:credentials:whatsapp",
            "tenant:t.1:credentials:genesys",
            "token:0123456789abcdef",
        ] {
            let key: CacheKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
        for text in
            ["", "phone", "phone:", "phone:x", "tenant:a:credentials:sip", "tenant:a:b", "token:a"]
        {
            assert_eq!(text.parse::<CacheKey>(), Err(NotAKey), "{text}");
        }
    }
}
