//! Which revisions the caller has already.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::IF_NONE_MATCH;
use axum::http::request::Parts;

/// The `If-None-Match` of a request. Nothing is allocated where there is none.
#[derive(Debug, Default)]
pub struct IfNoneMatch(Vec<HeaderValue>);

impl IfNoneMatch {
    /// These field values.
    pub fn of(values: impl IntoIterator<Item = HeaderValue>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Whether the caller has what this entity tag names.
    #[must_use]
    pub fn matches(&self, etag: &[u8]) -> bool {
        self.0.iter().any(|value| value.as_bytes().trim_ascii() == b"*") || self.names(etag)
    }

    /// Whether the caller has it and says so by its name, not by `*`.
    #[must_use]
    pub fn names(&self, etag: &[u8]) -> bool {
        self.0.iter().any(|value| names(value.as_bytes(), etag))
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.headers.get_all(IF_NONE_MATCH).iter().cloned()))
    }
}

/// Whether a field value of `If-None-Match` names this entity tag, compared weakly (RFC 9110,
/// section 13.1.2). Text that is no list of tags names none.
fn names(value: &[u8], etag: &[u8]) -> bool {
    let mut rest = value.trim_ascii();
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        let opaque = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(inner) = opaque.strip_prefix(b"\"") else { return false };
        let Some(end) = inner.iter().position(|b| *b == b'"') else { return false };
        let (tag, after) = opaque.split_at(end + 2);
        if tag == etag {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(value: &str) -> IfNoneMatch {
        IfNoneMatch::of(value.parse::<HeaderValue>())
    }

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        for value in ["\"7\"", "W/\"7\"", "\"1\", \"7\"", "\"1\",,W/\"7\"", "\"a,b\", \"7\""] {
            assert!(of(value).names(b"\"7\"") && of(value).matches(b"\"7\""), "{value}");
        }
        for value in ["", "7", "\"7", "\"77\"", "w/\"7\"", "\"1\" x, \"7\"", "**", "\"1\", *"] {
            assert!(!of(value).matches(b"\"7\""), "{value}");
        }
        for any in ["*", " * "] {
            assert!(of(any).matches(b"\"7\"") && !of(any).names(b"\"7\""), "{any}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_is_found_in_any_list(before in proptest::collection::vec("[!#-~]{0,8}", 0..4), weak: bool) {
            let prefix = if weak { "W/" } else { "" };
            let tags = before.iter().map(|tag| format!("\"{tag}\"")).chain([format!("{prefix}\"7\"")]);
            let list = tags.collect::<Vec<_>>().join(", ");
            prop_assert!(names(list.as_bytes(), b"\"7\""));
        }

        #[test]
        fn nothing_makes_it_panic(value: Vec<u8>) {
            let _ = names(&value, b"\"7\"");
        }
    }
}
