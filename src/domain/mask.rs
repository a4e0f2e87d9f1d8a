//! Masking: what a secret shows of itself.

use serde_json::{Map, Value};

use super::{CredentialType, Credentials};

/// What stands for a hidden value.
pub const MASK: &str = "***";
/// From this many characters on a secret shows its last [`SHOWN`].
const LONG: usize = 16;
const SHOWN: usize = 4;

/// Masks one secret: `***`, and its last 4 characters if it has 16 or more.
#[must_use]
pub fn mask_text(secret: &str) -> String {
    let length = secret.chars().count();
    let shown = if length >= LONG { SHOWN } else { 0 };
    MASK.chars().chain(secret.chars().skip(length - shown)).collect()
}

/// The object with every field masked that is not public for its type.
///
/// Names stay, nested ones too; a public field that holds an object or a list is masked inside,
/// for nobody promised that *its* fields are public.
#[must_use]
pub fn mask_credentials(kind: CredentialType, credentials: &Credentials) -> Map<String, Value> {
    let public = kind.public_fields();
    let masked = credentials.reveal().iter().map(|(name, value)| {
        let scalar = !value.is_object() && !value.is_array();
        let shown = if scalar && public.contains(&name.as_str()) {
            value.clone()
        } else {
            mask_value(value)
        };
        (name.clone(), shown)
    });
    masked.collect()
}

fn mask_value(value: &Value) -> Value {
    match value {
        Value::String(text) => mask_text(text).into(),
        Value::Array(items) => items.iter().map(mask_value).collect(),
        Value::Object(fields) => {
            let masked = fields.iter().map(|(name, value)| (name.clone(), mask_value(value)));
            Value::Object(masked.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => MASK.into(),
    }
}

/// Whether this value, or one inside it, looks like what [`mask_text`] returns.
pub(super) fn contains_mask(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim_start().starts_with(MASK),
        Value::Array(items) => items.iter().any(contains_mask),
        Value::Object(fields) => fields.values().any(contains_mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A character no mask and no field name contains, to find shown secrets by.
    const CANARY: char = '§';

    fn secret_json() -> impl Strategy<Value = Value> {
        let text = proptest::collection::vec(any::<bool>(), 0..40)
            .prop_map(|v| Value::String(v.iter().map(|_| CANARY).collect()));
        let leaf = prop_oneof![text, any::<i64>().prop_map(Value::from), Just(Value::Bool(true))];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map("[a-zA-Z_]{1,8}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn leaves<'v>(value: &'v Value, into: &mut Vec<&'v Value>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
            Value::Object(fields) => fields.values().for_each(|item| leaves(item, into)),
            leaf => into.push(leaf),
        }
    }

    proptest! {
        #[test]
        fn a_short_secret_shows_nothing(secret in ".{0,15}") {
            prop_assume!(secret.chars().count() < LONG);
            prop_assert_eq!(mask_text(&secret), MASK);
        }

        #[test]
        fn a_long_secret_shows_its_last_four(secret in ".{16,80}") {
            let shown = mask_text(&secret);
            prop_assert_eq!(shown.chars().count(), 3 + SHOWN);
            prop_assert!(secret.ends_with(shown.strip_prefix(MASK).unwrap()));
        }

        #[test]
        fn whatever_is_not_public_is_masked(
            name in "[a-zA-Z_]{1,12}",
            value in secret_json(),
            kind in prop_oneof![Just(CredentialType::Whatsapp), Just(CredentialType::Genesys)],
        ) {
            let nested = value.is_object() || value.is_array();
            prop_assume!(nested || !kind.public_fields().contains(&name.as_str()));
            let credentials = Credentials::from_stored(Map::from_iter([(name, value)]));
            let masked = Value::Object(mask_credentials(kind, &credentials));
            let mut found = Vec::new();
            leaves(&masked, &mut found);
            for leaf in found {
                let text = leaf.as_str().expect("every leaf is a mask");
                prop_assert!(text.starts_with(MASK));
                prop_assert!(text.chars().filter(|c| *c == CANARY).count() <= SHOWN);
            }
        }

        #[test]
        fn a_masked_answer_is_refused_as_a_write(value in secret_json(), secret in "\\PC{1,40}") {
            let fields = Map::from_iter([("token".into(), json!(secret)), ("more".into(), value)]);
            let stored = Credentials::from_stored(fields);
            let masked = mask_credentials(CredentialType::Whatsapp, &stored);
            let refused = Credentials::new(CredentialType::Whatsapp, Value::Object(masked));
            prop_assert!(refused.is_err_and(|invalid| invalid.unprocessable));
        }
    }

    #[test]
    fn public_fields_are_shown_and_their_insides_are_not() {
        let fields = json!({
            "phone_number_id": "123456789",
            "access_token": "EAAB-obviously-made-up-4567",
            "business_id": {"token": "abc"},
            "n": 7,
        });
        let Value::Object(fields) = fields else { unreachable!() };
        let masked = mask_credentials(CredentialType::Whatsapp, &Credentials::from_stored(fields));
        let expected = json!({
            "phone_number_id": "123456789",
            "access_token": "***4567",
            "business_id": {"token": "***"},
            "n": "***",
        });
        assert_eq!(Value::Object(masked), expected);
    }
}
