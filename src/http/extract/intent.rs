//! What a caller asks of a write beside its content: how long to wait, and what has to hold.

use axum::extract::FromRequestParts;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::prefer;
use crate::domain::{By, NamedTag, Precondition, Tags};
use crate::http::problem::Problem;
use crate::service::Intent;

impl<S: Sync> FromRequestParts<S> for Intent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let precondition = Precondition {
            if_match: tags(&parts.headers, &IF_MATCH)?,
            if_none_match: tags(&parts.headers, &IF_NONE_MATCH)?,
        };
        let by = By::from_request_parts(parts, state).await?;
        Ok(Self { by, wait: prefer::wanted(&parts.headers), precondition })
    }
}

/// The entity tags in the lines of a field. What is no list of them is refused: to leave a condition
/// out that was meant would overwrite what it was to protect.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let malformed = || {
        let name = if name == IF_MATCH { "If-Match" } else { "If-None-Match" };
        let sentence = format!("{name}: must be * or entity tags in quotes, separated by commas");
        Problem::bad_request("invalid_precondition", sentence)
    };
    match lines.as_slice() {
        [] => Ok(None),
        [line] if line.trim_ascii() == b"*" => Ok(Some(Tags::Any)),
        lines => {
            let mut named = Vec::new();
            for line in lines {
                read(line, &mut named).ok_or_else(malformed)?;
            }
            if named.is_empty() { Err(malformed()) } else { Ok(Some(Tags::These(named))) }
        }
    }
}

/// Reads a list of entity tags (RFC 9110, sections 5.6.1 and 8.8.3).
fn read(line: &[u8], into: &mut Vec<NamedTag>) -> Option<()> {
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        // An element of a list may be empty.
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
            continue;
        }
        let strong = rest.strip_prefix(b"W/").unwrap_or(rest);
        let is_weak = strong.len() < rest.len();
        let inner = strong.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let (opaque, after) = inner.split_at(end);
        if opaque.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            return None;
        }
        into.push(NamedTag { opaque: String::from_utf8_lossy(opaque).into_owned(), is_weak });
        rest = after[1..].trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> Result<Option<Tags>, Problem> {
        let lines = lines.iter().map(|line| (IF_MATCH, HeaderValue::from_str(line).unwrap()));
        tags(&lines.collect(), &IF_MATCH)
    }

    fn these(tags: &[(&str, bool)]) -> Tags {
        let named = |&(opaque, is_weak): &(&str, bool)| NamedTag { opaque: opaque.into(), is_weak };
        Tags::These(tags.iter().map(named).collect())
    }

    #[test]
    fn lists_of_tags_are_read() {
        assert_eq!(of(&[]).unwrap(), None);
        for any in ["*", " * "] {
            assert_eq!(of(&[any]).unwrap(), Some(Tags::Any));
        }
        let one: &[&str] = &["\"a.1\""];
        for (lines, expected) in [
            (one, these(&[("a.1", false)])),
            (&["W/\"a.1\""], these(&[("a.1", true)])),
            (&["\"\""], these(&[("", false)])),
            (&["\"a,b\" ,\t\"c\""], these(&[("a,b", false), ("c", false)])),
            (&[",\"a\",,W/\"b\","], these(&[("a", false), ("b", true)])),
            (&["\"a\"", "\"b\""], these(&[("a", false), ("b", false)])),
        ] {
            assert_eq!(of(lines).unwrap(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for line in [
            "",
            " ",
            ",",
            "a.1",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\" \"b\"",
            "w/\"a\"",
            "W/ \"a\"",
            "**",
            "*, \"a\"",
            "\"a\", *",
            "\"a b\"",
            "'a'",
        ] {
            let refused = of(&[line]).unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.code()), (400, "invalid_precondition"));
        }
        assert!(of(&["*", "*"]).is_err());
        assert!(of(&["\"a\"", "hunter2"]).is_err_and(|it| !it.sentence().contains("hunter2")));
    }

    proptest! {
        #[test]
        fn every_list_is_read_back(tags in prop::collection::vec(("[!#-~]{0,9}", any::<bool>()), 1..5)) {
            let write = |(opaque, is_weak): &(String, bool)| {
                format!("{}\"{opaque}\"", if *is_weak { "W/" } else { "" })
            };
            let line = tags.iter().map(write).collect::<Vec<_>>().join(", ");
            let named = tags.into_iter().map(|(opaque, is_weak)| NamedTag { opaque, is_weak });
            prop_assert_eq!(of(&[&line]).unwrap(), Some(Tags::These(named.collect())));
        }

        #[test]
        fn nothing_makes_it_panic(line: Vec<u8>) {
            let _ = read(&line, &mut Vec::new());
        }
    }
}
