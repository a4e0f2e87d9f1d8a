//! What went wrong, as callers are told: RFC 9457. The only place that maps errors to a status.
//!
//! Whatever reaches the router is refused by one of these. Bytes that hyper can't read as a request
//! (a malformed head: 400, a URI of more than 64 KiB: 414, more than 100 headers: 431) it answers
//! itself, without a body, before any code of ours runs; it has no hook for that.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{CredentialType, Invalid, NoVersion, Scope};
use crate::service::ServiceError;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

const OVERLOADED: &str = "overloaded";
const RATE_LIMITED: &str = "rate_limited";
const INVALID_TOKEN: &str = "invalid_token";
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";
const UNAUTHORIZED: &str = "unauthorized";
const CROSS_SITE: &str = "cross_site_request";
const MISDIRECTED: &str = "misdirected_request";

/// An error answer before it knows its request's id, which the middleware adds.
///
/// Sentences are made of our own words and of the names of our own fields: never of a value that
/// was sent, and never of a message of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    sentence: Cow<'static, str>,
    /// The entity tag of what is there, quotes included, for whoever has named another one.
    etag: Option<HeaderValue>,
    /// What a token would need to have, where that is what is missing.
    scope: Option<Scope>,
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
        Self { status, code, sentence: sentence.into(), etag: None, scope: None, cause: None }
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

    /// 401: a caller without a token lacks a scope.
    #[must_use]
    pub fn unauthorized(scope: Scope) -> Self {
        let sentence = format!(
            "This needs a token with the scope {scope} (Authorization: Bearer …). The operator can \
             grant it to callers without one by ANONYMOUS_SCOPES."
        );
        Self::new(StatusCode::UNAUTHORIZED, UNAUTHORIZED, sentence)
    }

    /// 401: the token is none, or not good any more. Which of these, nobody is told.
    #[must_use]
    pub fn invalid_token() -> Self {
        let sentence = "The token is not valid";
        Self::new(StatusCode::UNAUTHORIZED, INVALID_TOKEN, sentence)
    }

    /// 403: the token lacks a scope.
    #[must_use]
    pub fn insufficient_scope(scope: Scope) -> Self {
        let sentence = format!("This needs the scope {scope}, which the token does not have");
        let problem = Self::new(StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, sentence);
        Self { scope: Some(scope), ..problem }
    }

    /// 403: the token is limited to certain tenants, and this is not about any of them.
    #[must_use]
    pub fn limited_token() -> Self {
        let sentence = "This needs a token that is not limited to certain tenants";
        Self::new(StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, sentence)
    }

    /// 403: the token is limited to certain types of credentials, and this takes all of them away.
    #[must_use]
    pub fn token_of_types() -> Self {
        let sentence = "This needs a token that is not limited to certain types of credentials";
        Self::new(StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, sentence)
    }

    /// 403: nobody hands out more than they have.
    #[must_use]
    pub fn more_than_ones_own() -> Self {
        let sentence = "Nobody can hand out a scope that they don't have, nor go beyond the tenants \
                        and types that they are limited to";
        Self::new(StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, sentence)
    }

    /// 503: the token is known, and whether it is good still is not, for the database is away.
    #[must_use]
    pub fn token_may_be_old() -> Self {
        let sentence = "The database is out of reach; with a token, only look-ups are answered";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence)
    }

    /// 404: no such token, or none that the caller is to know of.
    #[must_use]
    pub fn token_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "token_not_found", "Token not found")
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

    /// 404: no such version, no such tenant, or one that is suspended: callers can't tell.
    #[must_use]
    pub fn version_not_found() -> Self {
        let sentence = "These credentials have no such version";
        Self::new(StatusCode::NOT_FOUND, "version_not_found", sentence)
    }

    /// 412: what is there is not what the caller has named. The entity tag, without its quotes, is that
    /// of what is there.
    #[must_use]
    pub fn precondition_failed(current: Option<&str>) -> Self {
        let sentence = match current {
            Some(_) => "The condition does not hold: ETag names what is there now",
            None => "The condition does not hold: there is nothing",
        };
        let etag = current.and_then(|tag| HeaderValue::try_from(format!("\"{tag}\"")).ok());
        let problem = Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", sentence);
        Self { etag, ..problem }
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

    /// 403: a web page of another site sends it, and nobody would know.
    #[must_use]
    pub fn cross_site() -> Self {
        let sentence = "A web page of another site gets nothing here without a token";
        Self::new(StatusCode::FORBIDDEN, CROSS_SITE, sentence)
    }

    /// 421: the service is not meant to be called from there; see [`super::stranger::Reach`].
    #[must_use]
    pub fn misdirected() -> Self {
        let sentence = "Open to all on its machine, this service answers only where it is called \
                        from there, by an IP address or as localhost, and not through a proxy; to \
                        have it answer to others, say with ANONYMOUS_SCOPES what callers without a \
                        token may do";
        Self::new(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED, sentence)
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

    /// Whether the request was refused for its caller's sake: nobody, a stranger, somebody who may do less, or
    /// one who asks too often.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: [&str; 7] = [
            UNAUTHORIZED,
            INVALID_TOKEN,
            INSUFFICIENT_SCOPE,
            CROSS_SITE,
            MISDIRECTED,
            OVERLOADED,
            RATE_LIMITED,
        ];
        REFUSALS.contains(&self.code)
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

    /// What `WWW-Authenticate` says (RFC 6750, section 3).
    fn challenge(&self) -> Option<HeaderValue> {
        let text = match (self.code, self.scope) {
            (INVALID_TOKEN, _) => "Bearer error=\"invalid_token\"".to_owned(),
            (INSUFFICIENT_SCOPE, Some(scope)) => {
                format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")
            }
            (INSUFFICIENT_SCOPE, None) => "Bearer error=\"insufficient_scope\"".to_owned(),
            _ if self.status == StatusCode::UNAUTHORIZED => "Bearer".to_owned(),
            _ => return None,
        };
        // Words of ours, all of them visible.
        HeaderValue::try_from(text).ok()
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
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        let extra = match self.status {
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
        if let Some(etag) = &self.etag {
            headers.insert(ETAG, etag.clone());
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

impl From<NoVersion> for Problem {
    fn from(why: NoVersion) -> Self {
        match why {
            NoVersion::OfType(kind) => Self::credentials_not_found(kind),
            NoVersion::Unknown => Self::version_not_found(),
            NoVersion::Deleted => {
                let sentence = "The version is of credentials that were deleted; they come back as a \
                                whole, or not at all";
                Self::new(StatusCode::CONFLICT, "version_deleted", sentence)
            }
            NoVersion::Destroyed => {
                let sentence = "The version is destroyed: nothing is left of it but that it was";
                Self::new(StatusCode::GONE, "version_destroyed", sentence)
            }
            NoVersion::Present(_) => {
                let sentence = "The credentials are not deleted";
                Self::new(StatusCode::CONFLICT, "credentials_not_deleted", sentence)
            }
        }
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
            ServiceError::PreconditionFailed { current } => {
                Self::precondition_failed(current.as_deref())
            }
            ServiceError::NoVersion(why) => why.into(),
            ServiceError::Inactive => {
                let sentence = "The token is expired, revoked or replaced already";
                Self::new(StatusCode::CONFLICT, "token_inactive", sentence)
            }
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
        let failed = |current: Option<&str>| ServiceError::PreconditionFailed {
            current: current.map(str::to_owned),
        };
        let none = |why| ServiceError::NoVersion(why);
        let kind = CredentialType::Genesys;
        for (error, status, code) in [
            (failed(None), 412, "precondition_failed"),
            (failed(Some("g.1")), 412, "precondition_failed"),
            (none(NoVersion::OfType(kind)), 404, "credentials_not_found"),
            (none(NoVersion::Unknown), 404, "version_not_found"),
            (none(NoVersion::Deleted), 409, "version_deleted"),
            (none(NoVersion::Destroyed), 410, "version_destroyed"),
            (none(NoVersion::Present(kind)), 409, "credentials_not_deleted"),
            (ServiceError::Unavailable("hunter2".into()), 503, "unavailable"),
            (ServiceError::Conflict("phone_number_id"), 409, "conflict"),
            (ServiceError::Invalid(Invalid::new("settings", "too large")), 400, "invalid_value"),
            (ServiceError::Inactive, 409, "token_inactive"),
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
        let challenge = |problem| header(problem, WWW_AUTHENTICATE).unwrap();
        assert_eq!(challenge(Problem::invalid_token()), "Bearer error=\"invalid_token\"");
        let lacking = Problem::insufficient_scope(Scope::TenantsRead);
        let expected = "Bearer error=\"insufficient_scope\", scope=\"tenants:read\"";
        assert_eq!(challenge(lacking), expected);
        let unavailable = ServiceError::Unavailable("x".into());
        assert_eq!(header(unavailable.into(), RETRY_AFTER).unwrap(), "1");
        assert_eq!(header(Problem::slow_body(), CONNECTION).unwrap(), "close");
        assert_eq!(header(Problem::not_found(), CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(header(Problem::precondition_failed(Some("g.1")), ETAG).unwrap(), "\"g.1\"");
        assert_eq!(header(Problem::precondition_failed(None), ETAG), None);
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
