//! A tenant's settings: whatever its owner keeps here, within bounds.

use serde_json::{Map, Value};

use super::{Invalid, storable};

/// How much settings may be as JSON, in bytes. As large as a body may be: what came of many
/// patches can still be sent as one.
pub const SETTINGS_LIMIT: usize = 64 * 1024;

/// How deep settings may be nested: one level less than a body, in which they are a field.
pub const SETTINGS_DEPTH: usize = 31;

/// Settings that may be stored.
///
/// Made of all that a tenant would have, not of what one request brings: merge patches, each of
/// them small, add up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// Checks that an object may be stored as settings.
    ///
    /// # Errors
    /// It is too large or nested too deep, or its text has the character NUL.
    pub fn new(object: Map<String, Value>) -> Result<Self, Invalid> {
        let object = Value::Object(storable("settings", object)?);
        if depth(&object) > SETTINGS_DEPTH {
            let reason = format!("must not be nested deeper than {SETTINGS_DEPTH} levels");
            return Err(Invalid::new("settings", reason));
        }
        if object.to_string().len() > SETTINGS_LIMIT {
            let most = SETTINGS_LIMIT / 1024;
            let reason = format!("must not come to more than {most} KiB of JSON");
            return Err(Invalid::new("settings", reason));
        }
        let Value::Object(object) = object else { return Ok(Self::default()) };
        Ok(Self(object))
    }

    /// The object.
    #[must_use]
    pub const fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The object, for a tenant that has it from now on.
    #[must_use]
    pub fn into_object(self) -> Map<String, Value> {
        self.0
    }
}

/// How many objects and lists are around the innermost value. What recurses here was read by a
/// parser that bounds its own recursion.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + inner.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Settings, Invalid> {
        let Value::Object(object) = value else { unreachable!("an object was given") };
        Settings::new(object)
    }

    #[test]
    fn size_is_that_of_the_json() {
        let around = r#"{"a":""}"#.len();
        let sized = |size: usize| of(json!({"a": "x".repeat(size - around)}));
        assert_eq!(sized(SETTINGS_LIMIT).unwrap().into_object().len(), 1);
        assert!(sized(SETTINGS_LIMIT + 1).unwrap_err().reason.contains("64 KiB"));
        // Four characters in a body are 18 as they are written.
        assert!(of(json!({"a": vec![1e15; 6_000]})).is_err());
        assert_eq!(of(json!({})).unwrap(), Settings::default());
    }

    #[test]
    fn depth_counts_the_settings_themselves() {
        let nested = |depth: usize| {
            let innermost = if depth.is_multiple_of(2) { json!([]) } else { json!({}) };
            let lists = (2..depth).fold(innermost, |inner, _| json!([inner]));
            of(json!({"a": lists, "b": 1}))
        };
        assert!(nested(SETTINGS_DEPTH).is_ok());
        assert!(nested(SETTINGS_DEPTH + 1).unwrap_err().reason.contains("31 levels"));
        assert_eq!(depth(&json!({"a": "text", "b": [1, {"c": []}]})), 4);
    }

    #[test]
    fn nul_is_refused() {
        assert_eq!(of(json!({"a": ["x\0"]})).unwrap_err().field, "settings");
    }
}
