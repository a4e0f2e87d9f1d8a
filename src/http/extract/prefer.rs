//! Whether the caller wants to wait for the other replicas.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use crate::service::Wait;

/// RFC 7240.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The preference not to wait.
pub const RESPOND_ASYNC: &str = "respond-async";

/// Of a write that takes no condition.
impl<S: Sync> FromRequestParts<S> for Wait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(wanted(&parts.headers))
    }
}

/// What the preferences of a request ask for. One that is not understood is none (RFC 7240,
/// section 2).
pub(super) fn wanted(headers: &HeaderMap) -> Wait {
    let fields = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut names = fields.flat_map(|field| field.split(',')).map(|preference| {
        let end = preference.find([';', '=']).unwrap_or(preference.len());
        preference[..end].trim()
    });
    if names.any(|name| name.eq_ignore_ascii_case(RESPOND_ASYNC)) {
        Wait::No
    } else {
        Wait::ForReplicas
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn who_prefers_not_to_wait_says_so() {
        let of = |fields: &[&'static str]| {
            let fields = fields.iter().map(|field| (PREFER, HeaderValue::from_static(field)));
            wanted(&fields.collect())
        };
        let hurried: [&[&str]; 5] = [
            &["respond-async"],
            &["Respond-Async"],
            &["handling=lenient, respond-async;x=1"],
            &["wait=10 , respond-async"],
            &["return=minimal", "respond-async=\"\""],
        ];
        for fields in hurried {
            assert_eq!(of(fields), Wait::No, "{fields:?}");
        }
        let patient: [&[&str]; 4] =
            [&[], &["wait=10"], &["respond-asynchronously"], &["x=respond-async"]];
        for fields in patient {
            assert_eq!(of(fields), Wait::ForReplicas, "{fields:?}");
        }
    }
}
