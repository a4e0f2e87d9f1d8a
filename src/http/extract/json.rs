//! JSON, read more strictly than `serde_json` reads it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

use crate::domain::keeps_digits;
use crate::http::problem::Problem;

/// How deep objects and lists may be nested in a body.
pub const DEPTH_LIMIT: usize = 32;

/// Reads a JSON document.
///
/// # Errors
/// 400, by `serde_json`'s position and our words, for its own repeat what was sent: malformed
/// text; nesting deeper than [`DEPTH_LIMIT`]; a key that is there twice in one object (parsers
/// disagree on which counts); the character U+0000 (Postgres can't store it); a number that would
/// lose digits (see [`keeps_digits`]).
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if is_deeper_than(DEPTH_LIMIT, bytes) {
        let sentence = format!("The JSON is nested deeper than {DEPTH_LIMIT} levels");
        return Err(Problem::bad_request("json_too_deep", sentence));
    }
    if std::str::from_utf8(bytes).is_ok_and(|text| !keeps_digits(text)) {
        let sentence = "A number is too large or too precise for a 64-bit integer or a double; send it as text";
        return Err(Problem::invalid_body(sentence));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = Strict.deserialize(&mut deserializer);
    read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
        let at = format!("line {} column {}", error.line(), error.column());
        match error.classify() {
            Category::Data => Problem::invalid_body(format!(
                "The JSON has a key twice in one object, or the character U+0000 (near {at})"
            )),
            Category::Syntax | Category::Eof | Category::Io => {
                Problem::bad_request("malformed_json", format!("The text is not JSON (at {at})"))
            }
        }
    })
}

/// Whether brackets are nested deeper than this. One pass over the bytes, before anything that
/// recurses sees them.
fn is_deeper_than(limit: usize, bytes: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

/// Builds a [`Value`] and refuses what [`parse`] says. The messages are never shown.
struct Strict;

fn text<E: Error>(text: &str) -> Result<&str, E> {
    if text.contains('\0') { Err(E::custom("U+0000")) } else { Ok(text) }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        text(value).map(Value::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            text(&name)?;
            let value = fields.next_value_seed(Self)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        assert!(parse(nested(DEPTH_LIMIT).as_bytes()).is_ok());
        assert_eq!(parse(nested(DEPTH_LIMIT + 1).as_bytes()).unwrap_err().code(), "json_too_deep");
        let bomb = "[{\"a\":".repeat(1_000_000);
        assert_eq!(parse(bomb.as_bytes()).unwrap_err().code(), "json_too_deep");
        // Brackets in text do not count, nor does a quote that is escaped end it.
        let text = format!(r#"{{"a":"\"{}\\"}}"#, "[".repeat(100));
        assert!(parse(text.as_bytes()).is_ok());
        assert!(parse(format!("[{}]", vec!["[]"; 100].join(",")).as_bytes()).is_ok());
    }

    #[test]
    fn refusals_have_codes_and_repeat_nothing() {
        for (body, code) in [
            ("", "malformed_json"),
            ("{\"hunter2\"", "malformed_json"),
            ("hunter2", "malformed_json"),
            ("{} {}", "malformed_json"),
            ("{\"hunter2\": 1,}", "malformed_json"),
            ("[1e999]", "invalid_body"),
            ("{\"hunter2\": 18446744073709551616}", "invalid_body"),
            ("\"\\ud800hunter2\"", "malformed_json"),
            ("{\"hunter2\": 1, \"hunter2\": 2}", "invalid_body"),
            ("[{\"a\": {\"b\": 1, \"b\": 1}}]", "invalid_body"),
            ("[\"hunter2\\u0000\"]", "invalid_body"),
            ("{\"hunter2\\u0000\": 1}", "invalid_body"),
        ] {
            let problem = parse(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), code, "{body}");
            assert!(!String::from_utf8(problem.render("")).unwrap().contains("hunter2"));
        }
        assert_eq!(parse(b"\"\xff\"").unwrap_err().code(), "malformed_json");
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_both_accept(text in r#"[\[\]{}",:0-9a-b\\ .-]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn depth_is_counted_exactly(depth in 0_usize..80, limit in 0_usize..80) {
            prop_assert_eq!(is_deeper_than(limit, nested(depth).as_bytes()), depth > limit);
        }
    }
}
