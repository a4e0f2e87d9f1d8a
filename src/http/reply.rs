//! Answers out of a cache, with what the caches in front of us have to know.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use http_body_util::Full;

use super::extract::{IfNoneMatch, RESPOND_ASYNC};
use super::middleware::X_REQUEST_ID;
use super::problem::Problem;
use crate::cache::{Document, Via};
use crate::service::Coherence;

/// An answer whose body is here already: no box around it.
pub type Reply = Response<Full<Bytes>>;

/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Nobody in front of us may undo the promise that no old value is served as current.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Room for what is set here and what is added later: id, `nosniff`, length and date.
const HEADERS: usize = 8;

/// What `Cache-Status` says of an answer's source.
fn cache_status(via: Via) -> HeaderValue {
    HeaderValue::from_static(match via {
        Via::L1 => "tenant-service; hit; detail=l1",
        Via::L2 => "tenant-service; hit; detail=l2",
        Via::Store => "tenant-service; fwd=miss",
        Via::Bypass => "tenant-service; fwd=bypass; detail=fenced",
        Via::Stale(_) => "tenant-service; hit; detail=stale",
    })
}

/// Says where an answer comes from. RFC 9111, section 5.1: `Age` is how long ago it was known to be
/// current.
fn label(headers: &mut HeaderMap, via: Via) {
    headers.insert(CACHE_STATUS, cache_status(via));
    if let Via::Stale(age) = via {
        headers.insert(AGE, age.as_secs().into());
    }
}

fn sourced(via: Via, caching: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CACHE_CONTROL, caching);
    label(&mut headers, via);
    headers
}

fn with(status: StatusCode, body: Bytes, headers: HeaderMap) -> Reply {
    let mut response = Reply::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers of a document out of memory, which is what almost all answers are: to copy them costs
/// half of what it costs to make them. The last two are there to be replaced.
static OUT_OF_MEMORY: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, REVALIDATE);
    headers.insert(CACHE_STATUS, cache_status(Via::L1));
    headers.insert(ETAG, HeaderValue::from_static(""));
    headers.insert(X_REQUEST_ID, HeaderValue::from_static(""));
    headers
});

/// A document, or 304 to whoever has this revision of it already.
pub fn document(document: Document, via: Via, known: &IfNoneMatch) -> Reply {
    let Document { body, etag } = document;
    let is_known = known.matches(&etag);
    let mut headers = OUT_OF_MEMORY.clone();
    if via != Via::L1 {
        label(&mut headers, via);
    }
    tag(&mut headers, etag);
    if is_known {
        headers.remove(CONTENT_TYPE);
        return with(StatusCode::NOT_MODIFIED, Bytes::new(), headers);
    }
    with(StatusCode::OK, body, headers)
}

/// JSON with secrets in it, to be kept nowhere.
pub fn secret(Document { body, etag }: Document, via: Via) -> Reply {
    let mut headers = sourced(via, NO_STORE);
    headers.insert(CONTENT_TYPE, JSON);
    tag(&mut headers, etag);
    with(StatusCode::OK, body, headers)
}

/// 304 to whoever has these secrets already: nothing of them is shown.
pub fn same_secret(etag: Bytes, via: Via) -> Reply {
    let mut headers = sourced(via, NO_STORE);
    tag(&mut headers, etag);
    with(StatusCode::NOT_MODIFIED, Bytes::new(), headers)
}

/// The same as [`secret`], straight out of the database.
pub fn revealed(body: Bytes, tag: &str) -> axum::response::Response {
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)];
    tagged((headers, body).into_response(), tag)
}

/// Adds an entity tag, whose quotes are still to come.
pub fn tagged(mut response: axum::response::Response, opaque: &str) -> axum::response::Response {
    tag(response.headers_mut(), format!("\"{opaque}\"").into());
    response
}

/// One that no header can hold (its row was written by hand) is left out.
fn tag(headers: &mut HeaderMap, etag: Bytes) {
    if let Ok(etag) = HeaderValue::from_maybe_shared(etag) {
        headers.insert(ETAG, etag);
    }
}

/// What a write may be counted on for: see the API's document.
pub const COHERENCE: HeaderName = HeaderName::from_static("coherence");
/// RFC 7240, section 3.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The answer to a write, with whether a replica may still serve what was before it.
pub fn acknowledged(answer: impl IntoResponse, coherence: Coherence) -> axum::response::Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    let said = match coherence {
        Coherence::Acked { replicas } => {
            // Digits, which a header can hold.
            HeaderValue::try_from(format!("acked; replicas={replicas}"))
                .unwrap_or(HeaderValue::from_static("acked"))
        }
        Coherence::Fenced => HeaderValue::from_static("fenced"),
        Coherence::Pending => {
            headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
            HeaderValue::from_static("pending")
        }
    };
    headers.insert(COHERENCE, said);
    response
}

/// An absence, which can come out of a cache as well.
pub fn absent(problem: Problem, via: Via) -> Reply {
    // A problem's body is made last, when its request's id is known.
    (sourced(via, REVALIDATE), problem).into_response().map(|_| Full::default())
}

/// What looks absent to a caller who is limited to certain tenants, because it is or because it is
/// another's. Where the answer comes from would tell which; only that it may be old is said.
pub fn hidden(problem: Problem, via: Option<Via>) -> Reply {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CACHE_CONTROL, REVALIDATE);
    if let Some(via @ Via::Stale(_)) = via {
        label(&mut headers, via);
    }
    (headers, problem).into_response().map(|_| Full::default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample() -> Document {
        Document::new(b"{}".to_vec(), 7)
    }

    #[test]
    fn a_known_revision_is_not_sent_again() {
        let asked = IfNoneMatch::of([HeaderValue::from_static("\"7\"")]);
        let answer = document(sample(), Via::L1, &asked);
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.headers()[ETAG], "\"7\"");
        assert_eq!(answer.headers()[CACHE_CONTROL], "private, no-cache");
        assert_eq!(answer.headers()[CACHE_STATUS], "tenant-service; hit; detail=l1");
        assert!(!answer.headers().contains_key(CONTENT_TYPE));
        let asked = IfNoneMatch::of([HeaderValue::from_static("\"6\"")]);
        assert_eq!(document(sample(), Via::L1, &asked).status(), StatusCode::OK);
    }

    #[test]
    fn every_answer_says_where_it_comes_from() {
        for (via, status) in [
            (Via::L1, "tenant-service; hit; detail=l1"),
            (Via::L2, "tenant-service; hit; detail=l2"),
            (Via::Store, "tenant-service; fwd=miss"),
            (Via::Bypass, "tenant-service; fwd=bypass; detail=fenced"),
            (Via::Stale(Duration::from_millis(7_900)), "tenant-service; hit; detail=stale"),
        ] {
            let answers = [
                document(sample(), via, &IfNoneMatch::default()),
                secret(sample(), via),
                same_secret(sample().etag, via),
                absent(Problem::tenant_not_found(), via),
            ];
            for answer in answers {
                assert_eq!(answer.headers()[CACHE_STATUS], status);
                let age = matches!(via, Via::Stale(_)).then_some("7");
                assert_eq!(answer.headers().get(AGE).map(|age| age.to_str().unwrap()), age);
            }
        }
        for answer in [secret(sample(), Via::L1), same_secret(sample().etag, Via::L1)] {
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers()[ETAG], "\"7\"");
        }
    }
}
