//! What went wrong, as callers are told: RFC 9457. The only place that maps errors to a status.
//!
//! Whatever reaches the router is refused by one of these. Bytes that hyper can't read as a request
//! (a malformed head: 400, a URI of more than 64 KiB: 414, more than 100 headers: 431) it answers
//! itself, without a body, before any code of ours runs; it has no hook for that.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{CredentialType, Invalid, Scope};
use crate::service::ServiceError;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

const OVERLOADED: &str = "overloaded";
const RATE_LIMITED: &str = "rate_limited";

/// An error answer before it knows its request's id, which the middleware adds.
///
/// Sentences are made of our own words and of the names of our own fields: never of a value that
/// was sent, and never of a message of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    sentence: Cow<'static, str>,
    /// For the log, which has it beside the request's id.
    cause: Option<Arc<str>>,
}

/// The body of a problem.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    error: &'a str,
    code: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, sentence: sentence.into(), cause: None }
    }

    /// 400 with a code of its own.
    pub fn bad_request(code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, sentence)
    }

    /// 400: the body is not what the operation takes.
    pub fn invalid_body(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("invalid_body", sentence)
    }

    /// 400: the query is not what the operation takes.
    pub fn invalid_query(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("invalid_query", sentence)
    }

    /// 401: the caller lacks a scope.
    #[must_use]
    pub fn unauthorized(scope: Scope) -> Self {
        let sentence = format!(
            "This needs the scope {scope}. The operator can grant it to callers without a token \
             by ANONYMOUS_SCOPES."
        );
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence)
    }

    /// 404: the path is none of ours.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path")
    }

    /// 404: no such tenant. The sentence is the one that existing clients know.
    #[must_use]
    pub fn tenant_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "tenant_not_found", "Tenant not found")
    }

    /// 404: no such credentials, no such tenant, or one that is suspended: callers can't tell.
    #[must_use]
    pub fn credentials_not_found(kind: CredentialType) -> Self {
        let sentence = match kind {
            CredentialType::Whatsapp => "whatsapp credentials not found for this tenant",
            CredentialType::Genesys => "genesys credentials not found for this tenant",
        };
        Self::new(StatusCode::NOT_FOUND, "credentials_not_found", sentence)
    }

    /// 405: the path is ours, the method is not. The answer's `Allow` names those that are.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let sentence = "This path does not support the method; Allow names those that it does";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", sentence)
    }

    /// 408: the body did not arrive in time. The connection ends: what follows on it is the rest.
    #[must_use]
    pub fn slow_body() -> Self {
        let sentence = "The request's body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", sentence)
    }

    /// 413: the body is larger than any that makes sense.
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        let sentence = format!("The request's body is larger than {} KiB", most / 1024);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", sentence)
    }

    /// 415: the body is of a type that is not read here.
    pub fn unsupported_media(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", sentence)
    }

    /// 421: the service is not meant to be called by this name; see [`super::auth::Names`].
    #[must_use]
    pub fn misdirected() -> Self {
        let sentence = "Open to all on its machine, this service answers only where it is called \
                        by an IP address or as localhost; to have it answer to other names, say \
                        with ANONYMOUS_SCOPES what callers without a token may do";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", sentence)
    }

    /// 503: as many requests are worked on as may be.
    #[must_use]
    pub fn overloaded() -> Self {
        let sentence = "Too many requests are being worked on; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, OVERLOADED, sentence)
    }

    /// 429: the client asks more often than it may.
    #[must_use]
    pub fn rate_limited() -> Self {
        let sentence = "This client sends more requests than it may; try again in a second";
        Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMITED, sentence)
    }

    /// Whether the request was refused because there are too many.
    #[must_use]
    pub fn is_one_too_many(&self) -> bool {
        [OVERLOADED, RATE_LIMITED].contains(&self.code)
    }

    /// 500: a defect of ours, of which callers learn nothing.
    #[must_use]
    pub fn internal(cause: Option<&'static str>) -> Self {
        let sentence = "An internal error; the log has it under this request_id";
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", sentence);
        Self { cause: cause.map(Arc::from), ..problem }
    }

    fn because(self, cause: Arc<str>) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// 504: no answer within the time limit.
    ///
    /// Not 503, which balancers take for "ask another replica": whether a write that took too long
    /// was committed, nobody knows.
    #[must_use]
    pub fn timeout() -> Self {
        let sentence = "No answer within the time limit; a write may or may not have been made";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", sentence)
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable, machine-readable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The human sentence.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What the log says of it.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The body.
    #[must_use]
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        let body = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.sentence,
            error: &self.sentence,
            code: self.code,
            request_id,
        };
        // Text and a number: there is nothing in it that can't be serialised.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    /// The answer without its body: the problem travels in the extensions to the middleware.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        // Without this a cache may keep a 404 or a 405 for as long as it sees fit.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let extra = match self.status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            // No rate is less than one a second.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Some((RETRY_AFTER, "1"))
            }
            StatusCode::REQUEST_TIMEOUT => Some((CONNECTION, "close")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A 405 with the methods that the path has.
#[must_use]
pub fn method_not_allowed(allow: HeaderValue) -> Response {
    ([(ALLOW, allow)], Problem::method_not_allowed()).into_response()
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let (status, code) = if invalid.unprocessable {
            (StatusCode::UNPROCESSABLE_ENTITY, "masked_value")
        } else {
            (StatusCode::BAD_REQUEST, "invalid_value")
        };
        Self::new(status, code, invalid.to_string())
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Unavailable(cause) => {
                let sentence = "The database is out of reach; try again";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "unavailable", sentence).because(cause)
            }
            ServiceError::Audit(cause) => {
                let sentence = "The audit trail can't be written, so nothing is changed or shown \
                                that it has to have; try again";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "audit_unavailable", sentence).because(cause)
            }
            ServiceError::Conflict(field) => {
                let sentence = format!("Another tenant has this {field}");
                Self::new(StatusCode::CONFLICT, "conflict", sentence)
            }
            ServiceError::Invalid(invalid) => invalid.into(),
            ServiceError::Internal(cause) => Self::internal(None).because(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rendered(problem: &Problem) -> Value {
        serde_json::from_slice(&problem.render("r-1")).unwrap()
    }

    #[test]
    fn the_body_has_what_rfc_9457_and_the_existing_clients_read() {
        let expected = json!({
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "Tenant not found",
            "error": "Tenant not found",
            "code": "tenant_not_found",
            "request_id": "r-1",
        });
        assert_eq!(rendered(&Problem::tenant_not_found()), expected);
    }

    #[test]
    fn every_error_of_the_service_has_its_status() {
        for (error, status, code) in [
            (ServiceError::Unavailable("hunter2".into()), 503, "unavailable"),
            (ServiceError::Conflict("phone_number_id"), 409, "conflict"),
            (ServiceError::Invalid(Invalid::new("settings", "too large")), 400, "invalid_value"),
            (ServiceError::Internal("hunter2".into()), 500, "internal"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
            // The cause is for the log alone.
            assert_eq!(problem.cause(), (status >= 500).then_some("hunter2"));
            assert!(!rendered(&problem).to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_conflict_names_the_field() {
        let problem = Problem::from(ServiceError::Conflict("phone_number_id"));
        assert_eq!(rendered(&problem)["error"], "Another tenant has this phone_number_id");
    }

    #[test]
    fn a_refused_value_is_400_and_a_mask_422() {
        let invalid = Problem::from(Invalid::new("name", "must be text"));
        assert_eq!((invalid.status().as_u16(), invalid.code()), (400, "invalid_value"));
        assert_eq!(rendered(&invalid)["error"], "name: must be text");
        let mask = Problem::from(Invalid::unprocessable("credentials", "a mask"));
        assert_eq!((mask.status().as_u16(), mask.code()), (422, "masked_value"));
    }

    #[test]
    fn headers_go_with_the_status() {
        let header = |problem: Problem, name| problem.into_response().headers().get(name).cloned();
        let refused = Problem::unauthorized(Scope::TenantsRead);
        assert_eq!(header(refused, WWW_AUTHENTICATE).unwrap(), "Bearer");
        let unavailable = ServiceError::Unavailable("x".into());
        assert_eq!(header(unavailable.into(), RETRY_AFTER).unwrap(), "1");
        assert_eq!(header(Problem::slow_body(), CONNECTION).unwrap(), "close");
        assert_eq!(header(Problem::not_found(), CACHE_CONTROL).unwrap(), "no-store");
        let allow = method_not_allowed(HeaderValue::from_static("GET, HEAD"));
        assert_eq!(allow.headers()[ALLOW], "GET, HEAD");
    }

    proptest! {
        #[test]
        fn any_sentence_is_json(sentence in ".*", id in ".*") {
            let problem = Problem::bad_request("x", sentence.clone());
            let body: Value = serde_json::from_slice(&problem.render(&id)).unwrap();
            prop_assert_eq!(&body["error"], &Value::String(sentence));
            prop_assert_eq!(&body["request_id"], &Value::String(id));
        }
    }
}
