//! The service as a connection calls it: a fast path for the hottest requests, the router for all.
//!
//! To find a route in axum and call it (matching, parameters as an extension of the request, a
//! boxed service, boxed futures, boxed bodies) costs more than all else that a cached look-up does.
//! So the two look-ups are told by how their path begins, and answered at once if memory has the
//! answer: with no future there is nothing to limit, to wait for or to box. What memory does not
//! have, and all that is not an id as it stands (an escape, a further segment, another method, a
//! mistake), goes to the router and is judged there alone.
//!
//! Architecture Invariant: whoever goes the fast way gets the answer that the router would give.

use std::convert::Infallible;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::IF_NONE_MATCH;
use axum::http::{Method, Request, Response};
use futures_util::FutureExt;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::Service as _;

use super::auth::Access;
use super::client::Client;
use super::extract::IfNoneMatch;
use super::middleware::Endpoint;
use super::reply::Reply;
use super::router::{endpoint, routes};
use super::routes::lookups;
use super::state::{AppState, Shared};
use crate::cache::{Document, Found};
use crate::domain::{Limits, Scope};

const BY_PHONE: &str = "/api/tenants/by-phone/{phone_number_id}";
const BY_INTEGRATION: &str = "/api/tenants/by-integration/{genesys_integration_id}";

/// The body of an answer: bytes that are here, or whatever a handler makes.
pub type ResponseBody = Either<Full<Bytes>, Body>;

/// Everything that answers.
pub struct Front {
    by_phone: &'static Endpoint,
    by_integration: &'static Endpoint,
    router: Router,
    state: Shared,
}

impl Front {
    /// The service over HTTP. It lives as long as the process, like its [`Endpoint`]s, and for the
    /// same reason.
    ///
    /// # Panics
    /// Where two operations claim the same path and method, which a test rules out.
    #[must_use]
    pub fn leak(state: AppState) -> &'static Self {
        let state = Arc::new(state);
        let access = Access::Needs(Scope::LookupRead);
        let lookup = |route| endpoint(route, access, &Method::GET, &state);
        let (by_phone, by_integration) = (lookup(BY_PHONE), lookup(BY_INTEGRATION));
        let router = routes(&state);
        Box::leak(Box::new(Self { by_phone, by_integration, router, state }))
    }

    /// Notes whom a request comes from, where that counts.
    pub fn receive<B>(&self, request: &mut Request<B>, peer: IpAddr) {
        if self.state.rates.is_some() {
            let client = Client::of(peer, request.headers(), &self.state.proxies);
            request.extensions_mut().insert(client);
        }
    }

    /// Notes whom a request comes from that the router is to answer. (Who is answered from memory does
    /// without the allocation.)
    fn identify<B>(&self, request: &mut Request<B>, peer: IpAddr) {
        if self.state.rates.is_none() {
            let client = Client::of(peer, request.headers(), &self.state.proxies);
            request.extensions_mut().insert(client);
        }
    }

    /// Has the router answer a request.
    ///
    /// # Errors
    /// None: whatever goes wrong is an answer.
    pub fn dispatch(
        &self,
        mut request: Request<Incoming>,
        peer: IpAddr,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + use<> {
        self.identify(&mut request, peer);
        let answered = self.router.clone().call(request);
        answered.map(|answered| answered.map(|response| response.map(Either::Right)))
    }

    /// The answer to a look-up whose result is in memory.
    pub fn at_once<B>(&self, request: &Request<B>) -> Option<Response<ResponseBody>> {
        let service = &self.state.service;
        let answered = if let Some(phone) = shortcut(request, "by-phone/") {
            self.by_phone.answer_at_once(request, |limits| {
                answer(request, service.cached_by_phone(phone)?, limits)
            })
        } else {
            let integration = shortcut(request, "by-integration/")?;
            self.by_integration.answer_at_once(request, |limits| {
                answer(request, service.cached_by_integration(integration)?, limits)
            })
        };
        answered.map(|response| response.map(Either::Left))
    }
}

/// `None` of what is beyond the caller's limits, for the router to enter it into the audit trail; and of what
/// is absent for somebody who has any, for the one must not be told from the other.
fn answer<B>(request: &Request<B>, found: Found<Document>, limits: &Limits) -> Option<Reply> {
    let found = lookups::within(found, limits).ok()?;
    if found.value.is_none() && limits.tenants().is_some() {
        return None;
    }
    let known = IfNoneMatch::of(request.headers().get_all(IF_NONE_MATCH).iter().cloned());
    Some(lookups::answer(found, &known, limits))
}

/// The id that a GET of this look-up is about, if it stands in the path as it is.
fn shortcut<T: FromStr, B>(request: &Request<B>, lookup: &str) -> Option<T> {
    let path = request.uri().path();
    let rest = path.strip_prefix("/api").unwrap_or(path).strip_prefix("/tenants/")?;
    let id = rest.strip_prefix(lookup)?;
    let is_plain = request.method() == Method::GET && !id.contains(['%', '/']);
    if is_plain { id.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{IntegrationId, PhoneNumberId};

    fn request(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(path).body(()).unwrap()
    }

    fn phone(method: &str, path: &str) -> Option<String> {
        let id: Option<PhoneNumberId> = shortcut(&request(method, path), "by-phone/");
        id.map(|id| id.to_string())
    }

    #[test]
    fn plain_ids_go_the_fast_way() {
        for path in
            ["/api/tenants/by-phone/123", "/tenants/by-phone/123", "/tenants/by-phone/123?x"]
        {
            assert_eq!(phone("GET", path).as_deref(), Some("123"), "{path}");
        }
        let id: Option<IntegrationId> =
            shortcut(&request("GET", "/tenants/by-integration/a:b"), "by-integration/");
        assert_eq!(id.unwrap().as_str(), "a:b");
    }

    #[test]
    fn all_else_goes_to_the_router() {
        for path in [
            "/api/tenants/by-phone/",
            "/api/tenants/by-phone/123/",
            "/api/tenants/by-phone/12%33",
            "/api/tenants/by-phone/12a",
            "/api/api/tenants/by-phone/123",
            "/api/by-phone/123",
            "/by-phone/123",
            "/tenants/by-integration/123",
        ] {
            assert_eq!(phone("GET", path), None, "{path}");
        }
        for method in ["HEAD", "POST", "OPTIONS"] {
            assert_eq!(phone(method, "/api/tenants/by-phone/123"), None, "{method}");
        }
        // What an integration's id may hold, but does not stand for itself in a path.
        for path in ["/tenants/by-integration/a%20b", "/tenants/by-integration/a/b"] {
            let id: Option<IntegrationId> = shortcut(&request("GET", path), "by-integration/");
            assert!(id.is_none(), "{path}");
        }
    }

    #[test]
    fn the_routes_are_those_of_the_table() {
        let operations = super::super::router::operations();
        for route in [BY_PHONE, BY_INTEGRATION] {
            let found = operations.iter().find(|operation| operation.path == route).unwrap();
            assert_eq!(found.access, Access::Needs(Scope::LookupRead));
        }
    }
}
