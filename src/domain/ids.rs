//! Identifiers. Cheap to clone: a key is shared by the cache, a flight and a change.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Invalid;

/// Path segments that stand where a tenant id does, so no tenant may be called so.
const RESERVED_TENANT_IDS: [&str; 2] = ["by-phone", "by-integration"];

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $field:literal, $valid:path, $accepts:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                if $valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(Invalid::new($field, $accepts))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

identifier! {
    /// A tenant's id: given by the caller, or `t_` and 16 hexadecimal digits.
    TenantId, "id", is_tenant_id,
    "must be 1 to 50 characters of A-Z a-z 0-9 _ . -, start with a letter or digit, and be neither by-phone nor by-integration"
}

identifier! {
    /// Meta's id of a WhatsApp phone number: digits, as text, for it may exceed an integer.
    PhoneNumberId, "phone_number_id", is_phone_number_id, "must be 1 to 32 digits"
}

identifier! {
    /// The id of a Genesys Cloud integration.
    IntegrationId, "genesys_integration_id", is_integration_id,
    "must be 1 to 128 visible ASCII characters without spaces"
}

impl TenantId {
    /// A new id out of 64 random bits.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        Self(format!("t_{bits:016x}").into())
    }
}

fn is_tenant_id(text: &str) -> bool {
    text.len() <= 50
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !RESERVED_TENANT_IDS.contains(&text)
}

fn is_phone_number_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_integration_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_checked() {
        for good in ["demo-tenant-001", "a", "T_1.x-y", &"a".repeat(50)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a:b", "ä", "a\n", "by-phone", &"a".repeat(51)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
        assert_eq!(TenantId::from_random(255).as_str(), "t_00000000000000ff");
        assert!(TenantId::from_random(u64::MAX).as_str().parse::<TenantId>().is_ok());
    }

    #[test]
    fn phones_are_digits_and_integrations_visible() {
        assert!("123456789".parse::<PhoneNumberId>().is_ok());
        for bad in ["", "+49", "12a", "١٢٣", &"1".repeat(33)] {
            assert!(bad.parse::<PhoneNumberId>().is_err(), "{bad:?}");
        }
        assert!("demo-integration-001".parse::<IntegrationId>().is_ok());
        for bad in ["", "a b", "a\0", "é", &"i".repeat(129)] {
            assert!(bad.parse::<IntegrationId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_never_repeats_the_value() {
        let error = "hunter2 secret".parse::<TenantId>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
