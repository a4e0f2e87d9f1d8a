//! The id under which a request is found in logs.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};

use super::X_REQUEST_ID;
use crate::http::problem::Problem;

/// The longest id that is taken over from a caller.
const LONGEST: usize = 64;

/// An id of 1 to 64 characters of `A-Z a-z 0-9 . _ -`: safe in a header, in JSON and in a log.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that the caller sent, if it is one; else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(X_REQUEST_ID) {
            Some(value) if is_id(value.as_bytes()) => Self(value.clone()),
            _ => Self::draw(fastrand::u64(..)),
        }
    }

    /// Sixteen hexadecimal digits out of 64 random bits: nothing that threads share.
    fn draw(bits: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |byte: u8| DIGITS[usize::from(byte & 0xf)];
        let mut digits = [0; 16];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
        // Hexadecimal digits are always a header value.
        Self(HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }

    /// The id as the answer's header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_id(bytes: &[u8]) -> bool {
    let accepted = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(accepted)
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or_else(|| Problem::internal(Some("no request id for this handler")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(sent: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(sent.as_bytes()).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn new_ids_are_hexadecimal() {
        assert_eq!(RequestId::draw(0).as_str(), "0000000000000000");
        assert_eq!(RequestId::draw(0x0123_4567_89ab_cdef).as_str(), "0123456789abcdef");
        assert_eq!(RequestId::of(&HeaderMap::new()).as_str().len(), 16);
    }

    proptest! {
        #[test]
        fn good_ids_are_taken_over(id in "[A-Za-z0-9._-]{1,64}") {
            let taken = of(&id);
            prop_assert_eq!(taken.as_str(), id);
        }

        #[test]
        fn others_are_replaced(id in "[ -~é]{0,80}") {
            prop_assume!(!is_id(id.as_bytes()));
            let drawn = of(&id);
            prop_assert_ne!(drawn.as_str(), id);
            prop_assert!(is_id(drawn.as_str().as_bytes()));
        }
    }
}
