//! Query parameters.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::path::is_well_formed;
use crate::domain::redact;
use crate::http::problem::Problem;

/// The query of a request, for operations that take one; the others ignore theirs. `Debug` shows
/// nothing of it: a secret may stand where it does not belong.
pub struct Query(Vec<(String, String)>);

redact!(Query { count: |it| it.0.len() });

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Query {
    /// # Errors
    /// 400: malformed percent-encoding.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        if !is_well_formed(query) {
            return Err(Problem::invalid_query("The query's percent-encoding is malformed"));
        }
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
    }

    /// The values of these parameters.
    ///
    /// # Errors
    /// 400: a parameter that is not among them (a misspelt filter must not list everything), or
    /// one that is there twice (nobody knows which was meant).
    pub fn only<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Option<&str>; N], Problem> {
        let mut values = [None; N];
        for (name, value) in &self.0 {
            let Some(at) = names.iter().position(|known| known == name) else {
                let sentence = match names.as_slice() {
                    [] => "An unknown query parameter; this takes none".to_owned(),
                    _ => format!("An unknown query parameter; accepted are: {}", names.join(", ")),
                };
                return Err(Problem::invalid_query(sentence));
            };
            if values[at].replace(value.as_str()).is_some() {
                let sentence = format!("The query parameter {} is there twice", names[at]);
                return Err(Problem::invalid_query(sentence));
            }
        }
        Ok(values)
    }
}

/// A whole number of a parameter, or its default.
///
/// # Errors
/// 400: not a number, or not one between `least` and `most`.
pub fn number(
    name: &'static str,
    value: Option<&str>,
    default: u64,
    (least, most): (u64, u64),
) -> Result<u64, Problem> {
    let Some(text) = value else { return Ok(default) };
    // `parse` alone would take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
    number.ok_or_else(|| {
        let sentence = format!("{name}: must be a whole number between {least} and {most}");
        Problem::invalid_query(Cow::Owned(sentence))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> Query {
        Query::parse(query).unwrap()
    }

    #[test]
    fn parameters_are_taken_by_name() {
        let query = parse("offset=5&status=act%69ve");
        assert_eq!(
            query.only(["limit", "offset", "status"]).unwrap(),
            [None, Some("5"), Some("active")]
        );
        assert_eq!(parse("").only(["type"]).unwrap(), [None]);
        assert_eq!(parse("type").only(["type"]).unwrap(), [Some("")]);
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused_without_repeating_them() {
        for query in ["hunter2=1", "type=a&type=hunter2"] {
            let problem = parse(query).only(["type"]).unwrap_err();
            assert_eq!(problem.code(), "invalid_query");
            assert!(!format!("{:?}", parse(query)).contains("hunter2"));
            assert!(!String::from_utf8(problem.render("")).unwrap().contains("hunter2"));
        }
        assert!(Query::parse("type=%z").is_err());
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(number("limit", None, 50, (1, 200)).unwrap(), 50);
        assert_eq!(number("limit", Some("200"), 50, (1, 200)).unwrap(), 200);
        for bad in ["", "0", "201", "-1", "+1", "1.0", "1e2", "ten", "99999999999999999999"] {
            assert!(number("limit", Some(bad), 50, (1, 200)).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(query in ".*", value in ".*") {
            let _ = Query::parse(&query).map(|query| query.only(["type"]).is_ok());
            let _ = number("limit", Some(&value), 1, (1, 2));
        }
    }
}
