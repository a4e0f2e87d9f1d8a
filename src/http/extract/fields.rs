//! The fields of a JSON object, taken out by hand.
//!
//! Not by `Deserialize`: its errors repeat the value that does not fit, and it knows no difference
//! between a field that is absent and one that is null.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::domain::{Edit, Invalid, redact, storable};
use crate::http::problem::Problem;

/// The fields of an object, each to be taken once. `Debug` shows none.
pub struct Fields(Map<String, Value>);

redact!(Fields { count: |it| it.0.len() });

impl Fields {
    /// The fields of an object that has no others than these.
    ///
    /// # Errors
    /// 400: not an object, or one with another field. That one is not named: it may be a secret in
    /// the wrong place.
    pub fn of(value: Value, accepted: &[&str]) -> Result<Self, Problem> {
        let Value::Object(fields) = value else {
            return Err(Problem::invalid_body("The body must be a JSON object"));
        };
        if fields.keys().any(|name| !accepted.contains(&name.as_str())) {
            let sentence = match accepted {
                [] => "An unknown field; this takes none".to_owned(),
                _ => format!("An unknown field; accepted are: {}", accepted.join(", ")),
            };
            return Err(Problem::bad_request("unknown_field", sentence));
        }
        Ok(Self(fields))
    }

    /// The value of a field, as it was sent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// What a patch does to a field.
    ///
    /// # Errors
    /// 400: neither null nor text, or text that is no `T`.
    pub fn edit<T: FromStr<Err = Invalid>>(&mut self, name: &str) -> Result<Edit<T>, Problem> {
        self.edit_or(name, "must be text or null")
    }

    /// What is done to a field; `otherwise` is what to say of one that is neither null nor text.
    fn edit_or<T: FromStr<Err = Invalid>>(
        &mut self,
        name: &str,
        otherwise: &str,
    ) -> Result<Edit<T>, Problem> {
        Ok(match self.take(name) {
            None => Edit::Keep,
            Some(Value::Null) => Edit::Clear,
            Some(Value::String(text)) => Edit::Set(parse(name, &text)?),
            Some(_) => return Err(Invalid::new(name, otherwise).into()),
        })
    }

    /// What a patch does to a field that holds an object.
    ///
    /// # Errors
    /// 400: neither null nor an object, or one that can't be stored.
    pub fn edit_object(&mut self, name: &str) -> Result<Edit<Map<String, Value>>, Problem> {
        Ok(match self.take(name) {
            None => Edit::Keep,
            Some(Value::Null) => Edit::Clear,
            Some(Value::Object(object)) => Edit::Set(storable(name, object)?),
            Some(_) => return Err(Invalid::new(name, "must be an object or null").into()),
        })
    }

    /// A field that may be absent or null.
    ///
    /// # Errors
    /// 400: neither null nor text, or text that is no `T`.
    pub fn optional<T: FromStr<Err = Invalid>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        Ok(match self.edit(name)? {
            Edit::Set(value) => Some(value),
            Edit::Keep | Edit::Clear => None,
        })
    }

    /// A field that may be absent, but not null: it can be replaced and not removed.
    ///
    /// # Errors
    /// 400: not text, or text that is no `T`.
    pub fn replaced<T: FromStr<Err = Invalid>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        match self.edit_or(name, "must be text")? {
            Edit::Keep => Ok(None),
            Edit::Set(value) => Ok(Some(value)),
            Edit::Clear => Err(Invalid::new(name, "can't be cleared").into()),
        }
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// 400: absent, null, not text, or text that is no `T`.
    pub fn required<T: FromStr<Err = Invalid>>(&mut self, name: &str) -> Result<T, Problem> {
        match self.edit_or(name, "must be text")? {
            Edit::Set(value) => Ok(value),
            Edit::Keep | Edit::Clear => Err(Invalid::new(name, "is required").into()),
        }
    }
}

/// The refusal names the field as the caller knows it, whatever the type calls itself.
fn parse<T: FromStr<Err = Invalid>>(name: &str, text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|invalid: Invalid| Invalid { field: name.to_owned(), ..invalid })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::{Name, Region, ShortText};

    fn fields(value: Value) -> Fields {
        Fields::of(value, &["a", "b"]).unwrap()
    }

    #[test]
    fn absent_null_and_set_are_told_apart() {
        let edit = |value| fields(value).edit::<Name>("a").unwrap();
        assert_eq!(edit(json!({})), Edit::Keep);
        assert_eq!(edit(json!({"a": null})), Edit::Clear);
        assert_eq!(edit(json!({"a": "x"})), Edit::Set("x".parse().unwrap()));
        assert!(fields(json!({"a": null})).replaced::<Name>("a").is_err());
        assert_eq!(fields(json!({})).replaced::<Name>("a").unwrap(), None);
        assert!(fields(json!({"a": null})).required::<Name>("a").is_err());
        assert_eq!(fields(json!({"a": {}})).edit_object("a").unwrap(), Edit::Set(Map::new()));
        assert!(fields(json!({"a": []})).edit_object("a").is_err());
    }

    #[test]
    fn what_is_said_of_a_field_is_true_of_it() {
        let say = |refused: Problem| refused.sentence().to_owned();
        let of = |value: Value| fields(json!({"a": value}));
        assert_eq!(say(of(json!(1)).required::<Name>("a").unwrap_err()), "a: must be text");
        assert_eq!(say(of(json!(1)).replaced::<Name>("a").unwrap_err()), "a: must be text");
        assert_eq!(say(of(json!(1)).optional::<Name>("a").unwrap_err()), "a: must be text or null");
        assert_eq!(say(of(json!(1)).edit::<Name>("a").unwrap_err()), "a: must be text or null");
        assert_eq!(say(of(json!(null)).required::<Name>("a").unwrap_err()), "a: is required");
        assert_eq!(say(of(json!(null)).replaced::<Name>("a").unwrap_err()), "a: can't be cleared");
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", fields(json!({"a": "hunter2"})));
        assert_eq!(shown, "Fields { count: 1, .. }");
    }

    #[test]
    fn a_refusal_names_the_callers_field() {
        let text = |problem: Problem| String::from_utf8(problem.render("")).unwrap();
        let region = fields(json!({"a": "hunter2"})).required::<Region>("a").unwrap_err();
        assert!(text(region).contains("a: must be a Genesys Cloud domain"));
        let unknown = Fields::of(json!({"hunter2": 1}), &["a", "b"]).unwrap_err();
        assert_eq!(unknown.code(), "unknown_field");
        assert!(text(unknown).contains("accepted are: a, b"));
        assert_eq!(Fields::of(json!(["a"]), &["a"]).unwrap_err().code(), "invalid_body");
    }

    proptest! {
        #[test]
        fn no_refusal_repeats_what_was_sent(secret in "§{1,300}", number: i64) {
            for value in [json!(secret), json!([secret]), json!({ &secret: secret }), json!(number)] {
                let refused = fields(json!({"a": value})).required::<Region>("a").unwrap_err();
                let text = String::from_utf8(refused.render("")).unwrap();
                prop_assert!(!text.contains('§'));
            }
            let kept = fields(json!({"a": secret})).required::<ShortText>("a");
            prop_assert_eq!(kept.is_ok(), secret.chars().count() <= 128);
        }
    }
}
