//! Ids in paths.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};

use crate::domain::Invalid;
use crate::http::problem::Problem;

/// The only parameter of a path.
#[derive(Debug)]
pub struct Segment<T>(pub T);

/// Both parameters of a path, in their order.
#[derive(Debug)]
pub struct Segments<A, B>(pub A, pub B);

/// All three parameters of a path, in their order.
#[derive(Debug)]
pub struct Three<A, B, C>(pub A, pub B, pub C);

impl<T, S> FromRequestParts<S> for Segment<T>
where
    T: FromStr<Err = Invalid> + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed: Parsed<T> = parameters(parts, state).await?;
        Ok(Self(parsed.0?))
    }
}

impl<A, B, S> FromRequestParts<S> for Segments<A, B>
where
    A: FromStr<Err = Invalid> + Send,
    B: FromStr<Err = Invalid> + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (first, second): (Parsed<A>, Parsed<B>) = parameters(parts, state).await?;
        Ok(Self(first.0?, second.0?))
    }
}

impl<A, B, C, S> FromRequestParts<S> for Three<A, B, C>
where
    A: FromStr<Err = Invalid> + Send,
    B: FromStr<Err = Invalid> + Send,
    C: FromStr<Err = Invalid> + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (first, second, third): (Parsed<A>, Parsed<B>, Parsed<C>) =
            parameters(parts, state).await?;
        Ok(Self(first.0?, second.0?, third.0?))
    }
}

#[expect(clippy::disallowed_types, reason = "its refusal is replaced by ours right here")]
async fn parameters<T, S>(parts: &mut Parts, state: &S) -> Result<T, Problem>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    use axum::extract::Path;

    let malformed = || {
        let sentence = "The path's percent-encoding is malformed, or not of UTF-8";
        Problem::bad_request("invalid_path", sentence)
    };
    // The decoder takes `%zz` for itself.
    if !is_well_formed(parts.uri.path()) {
        return Err(malformed());
    }
    Path::from_request_parts(parts, state).await.map(|Path(value)| value).map_err(|_| malformed())
}

/// Whether every `%` begins an escape.
pub(super) fn is_well_formed(text: &str) -> bool {
    let is_escape = |tail: &str| {
        tail.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    // Almost no path has one, and this search is the fastest there is.
    !text.as_bytes().contains(&b'%') || text.split('%').skip(1).all(is_escape)
}

/// What came of parsing a parameter, straight out of the decoded path: the parameter is not
/// copied first, and its refusal is ours to word.
struct Parsed<T>(Result<T, Invalid>);

impl<'de, T: FromStr<Err = Invalid>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);

        impl<T: FromStr<Err = Invalid>> Visitor<'_> for Text<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a parameter")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Parsed<T>, E> {
                Ok(Parsed(text.parse()))
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_have_two_digits() {
        for good in ["", "/a", "/a%20b", "%C3%a9", "%25%2F"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["%", "%4", "/%zz", "%2", "a%%20", "%é", "%+1"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_an_encoder_makes_is_well_formed(text in ".*") {
            let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            prop_assert!(is_well_formed(&encoded));
        }
    }
}
