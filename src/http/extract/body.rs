//! Bodies: type, size, patience, then JSON.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::timeout;

use super::{Fields, Query, json};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// The largest body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;
/// How much of a larger one is thrown away before the answer, so that a client that sends before
/// it listens gets to read it. From there on it finds the connection closed.
const DISCARDED: usize = 1024 * 1024;

/// A body of `application/json`.
pub struct JsonBody(pub Value);

/// A body of `application/merge-patch+json` (RFC 7396), or of plain `application/json`.
pub struct MergePatch(pub Value);

impl FromRequest<Shared> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let accepted = &["application/json"];
        read(request, state, accepted, "The body must be application/json").await.map(Self)
    }
}

impl FromRequest<Shared> for MergePatch {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let accepted = &["application/merge-patch+json", "application/json"];
        let sentence = "The body must be application/merge-patch+json or application/json";
        read(request, state, accepted, sentence).await.map(Self)
    }
}

/// Neither a query nor a body but an empty one, for what takes none. Whoever names one version to be
/// destroyed where all of them are does not mean all.
pub struct Nothing;

impl FromRequest<Shared> for Nothing {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let [] = Query::parse(request.uri().query().unwrap_or_default())?.only([])?;
        let (parts, body) = request.into_parts();
        let collected = timeout(state.limits.body, collect(&parts.headers, body)).await;
        let body = collected.map_err(|_| Problem::slow_body())??;
        if !body.trim_ascii().is_empty() {
            Fields::of(json::parse(&body)?, &[])?;
        }
        Ok(Self)
    }
}

async fn read(
    request: Request,
    state: &Shared,
    accepted: &[&str],
    sentence: &'static str,
) -> Result<Value, Problem> {
    let (parts, body) = request.into_parts();
    if !is_of_type(&parts.headers, accepted) {
        return Err(Problem::unsupported_media(sentence));
    }
    let identity = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !parts.headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Err(Problem::unsupported_media("The body must not be compressed"));
    }
    let collected = timeout(state.limits.body, collect(&parts.headers, body)).await;
    json::parse(&collected.map_err(|_| Problem::slow_body())??)
}

/// The whole body, if it is not too large, whether or not its length was announced.
async fn collect(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Problem> {
    let announced = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let is_announced_too_large = announced.is_some_and(|length| length > BODY_LIMIT as u64);
    if is_announced_too_large && headers.contains_key(EXPECT) {
        // Not yet sent: asking for the next frame would tell the client to send it.
        return Err(Problem::too_large(BODY_LIMIT));
    }
    let (mut bytes, mut total) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let sentence = "The request's body broke off, or its chunks are malformed";
        let incomplete = |_| Problem::bad_request("incomplete_body", sentence);
        // Trailers are no part of the document.
        let Ok(data) = frame.map_err(incomplete)?.into_data() else { continue };
        total = total.saturating_add(data.len());
        if total > DISCARDED {
            break;
        }
        if total <= BODY_LIMIT && !is_announced_too_large {
            bytes.extend_from_slice(&data);
        }
    }
    if total > BODY_LIMIT || is_announced_too_large {
        return Err(Problem::too_large(BODY_LIMIT));
    }
    Ok(bytes.into())
}

/// Whether the type is one of these. Two types are none: whoever looked at the other one before us
/// has seen another body.
fn is_of_type(headers: &HeaderMap, accepted: &[&str]) -> bool {
    if headers.get_all(CONTENT_TYPE).iter().count() > 1 {
        return false;
    }
    let essence = text(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next());
    essence.is_some_and(|sent| accepted.iter().any(|name| name.eq_ignore_ascii_case(sent.trim())))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn of(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn chunks(size: usize, count: usize) -> Body {
        let chunk = Bytes::from(vec![b' '; size]);
        Body::from_stream(stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
        ))
    }

    #[test]
    fn types_are_compared_as_media_types() {
        let json = &["application/json"];
        for good in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
            assert!(is_of_type(&of(CONTENT_TYPE, good), json), "{good}");
        }
        for bad in ["", "text/json", "application/jsonx", "application/x-www-form-urlencoded"] {
            assert!(!is_of_type(&of(CONTENT_TYPE, bad), json), "{bad}");
        }
        assert!(!is_of_type(&HeaderMap::new(), json));
        let mut twice = of(CONTENT_TYPE, "application/json");
        twice.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(!is_of_type(&twice, json));
    }

    #[tokio::test]
    async fn size_is_bounded_with_and_without_a_length() {
        let none = HeaderMap::new();
        assert_eq!(collect(&none, chunks(BODY_LIMIT / 4, 4)).await.unwrap().len(), BODY_LIMIT);
        let problem = collect(&none, chunks(BODY_LIMIT / 4, 5)).await.unwrap_err();
        assert_eq!(problem.code(), "body_too_large");
        // One without an end is given up on.
        assert!(collect(&none, chunks(4096, usize::MAX)).await.is_err());
        let announced = of(CONTENT_LENGTH, "65537");
        assert!(collect(&announced, chunks(65537, 1)).await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_waits_to_be_asked_for_is_not() {
        let mut headers = of(CONTENT_LENGTH, "1000000");
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(collect(&headers, body).await.unwrap_err().code(), "body_too_large");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let broken = stream::iter([Ok(Bytes::from_static(b"{}")), Err(std::io::Error::other("x"))]);
        let problem = collect(&HeaderMap::new(), Body::from_stream(broken)).await.unwrap_err();
        assert_eq!(problem.code(), "incomplete_body");
    }
}
