//! Bounded text without control characters.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::Invalid;

fn checked(text: &str, most: usize) -> Option<String> {
    let text = text.trim();
    let length = text.chars().count();
    ((1..=most).contains(&length) && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $most:literal, $valid:expr, $field:literal, $accepts:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The text, trimmed.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let valid: fn(&str) -> bool = $valid;
                checked(text, $most)
                    .filter(|text| valid(text))
                    .map(Self)
                    .ok_or_else(|| Invalid::new($field, $accepts))
            }
        }
    };
}

text_type! {
    /// A tenant's name: 1 to 200 characters.
    Name, 200, |_| true, "name", "must be 1 to 200 characters without control characters"
}

text_type! {
    /// An address of the form `local@domain`; whether it exists is not our business.
    Email, 254,
    |text| {
        !text.contains(char::is_whitespace)
            && text.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && !domain.is_empty() && !domain.contains('@')
            })
    },
    "email", "must be an address such as ops@example.org, at most 254 characters"
}

text_type! {
    /// Any other short text: 1 to 128 characters.
    ShortText, 128, |_| true, "text", "must be 1 to 128 characters without control characters"
}

/// Checks that Postgres can store an object: its text has no NUL character, at any depth.
///
/// # Errors
/// It has one, in a name or in a value.
pub fn storable(field: &str, object: Map<String, Value>) -> Result<Map<String, Value>, Invalid> {
    fn has_nul(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(has_nul),
            Value::Object(fields) => any_nul(fields),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    fn any_nul(fields: &Map<String, Value>) -> bool {
        fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
    }
    if any_nul(&object) {
        return Err(Invalid::new(field, "must not contain the character NUL (\\u0000)"));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_found_at_any_depth() {
        let storable = |value: Value| {
            let Value::Object(object) = value else { panic!("an object") };
            storable("settings", object)
        };
        assert!(storable(serde_json::json!({"a": [{"b": "fine"}, 1, null]})).is_ok());
        for bad in [
            serde_json::json!({"a": "x\0"}),
            serde_json::json!({"a\0": 1}),
            serde_json::json!({"a": [{"b": {"c\0": true}}]}),
        ] {
            assert_eq!(storable(bad).unwrap_err().field, "settings");
        }
    }

    #[test]
    fn text_is_trimmed_and_bounded() {
        assert_eq!(" Demo ".parse::<Name>().unwrap().as_str(), "Demo");
        assert!("é".repeat(200).parse::<Name>().is_ok());
        for bad in ["", "  ", "a\nb", "a\0b", &"x".repeat(201)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("ops@example.org".parse::<Email>().is_ok());
        for bad in ["ops", "@b", "a@", "a@b@c", "a b@c"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
    }
}
