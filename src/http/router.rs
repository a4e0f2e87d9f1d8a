//! The table of operations, and the router that is made of it.
//!
//! Every path that is answered is registered as such: tenant paths under both prefixes, each with
//! and without a trailing slash. No request's path is rewritten.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter};
use tower::service_fn;

use super::auth::{Access, Caller};
use super::middleware::{Door, Endpoint, Room};
use super::problem::{Problem, method_not_allowed};
use super::routes::{
    audit, credentials, docs, genesys, health, lookups, metrics, tenants, tokens, versions,
};
use super::state::Shared;
use crate::domain::Scope;

/// The prefix of tenant paths, as documents and metrics write it.
const TENANTS: &str = "/api/tenants";
/// The other prefix under which they answer.
const ALIAS: &str = "/tenants";
/// The route of requests for which there is none, in metrics and logs.
const UNMATCHED: &str = "unmatched";

/// Adds the handler of an operation to those of its path.
type Mount = Box<dyn Fn(MethodRouter, &'static Endpoint, &Shared) -> MethodRouter>;

/// One operation.
pub struct Operation {
    /// Its method. A GET answers HEAD as well.
    pub method: Method,
    /// The template of its path.
    pub path: &'static str,
    /// What it asks of its caller.
    pub access: Access,
    mount: Mount,
}

impl Operation {
    fn new<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let filter = filter(&method);
        let mount: Mount = Box::new(move |methods, endpoint, state| {
            let (handler, state) = (handler.clone(), Arc::clone(state));
            let service = service_fn(move |request| {
                let (handler, state) = (handler.clone(), Arc::clone(&state));
                endpoint.answer(request, |request| handler.call(request, state))
            });
            methods.on_service(filter, service)
        });
        Self { method, path, access, mount }
    }
}

/// Every operation there is.
#[must_use]
#[rustfmt::skip] // A table: one line an operation.
pub fn operations() -> Vec<Operation> {
    use Access::{Needs, Open};
    use Scope::{AuditRead, CredentialsDestroy, CredentialsRead, CredentialsReveal, CredentialsWrite, LookupRead, TenantsRead, TenantsWrite, TokensAdmin};
    vec![
        Operation::new(Method::GET, "/api/tenants/by-phone/{phone_number_id}", Needs(LookupRead), lookups::by_phone),
        Operation::new(Method::GET, "/api/tenants/by-integration/{genesys_integration_id}", Needs(LookupRead), lookups::by_integration),
        Operation::new(Method::GET, "/api/tenants/{id}/credentials", Needs(CredentialsRead), credentials::masked),
        Operation::new(Method::PUT, "/api/tenants/{id}/credentials", Needs(CredentialsWrite), credentials::set),
        Operation::new(Method::POST, "/api/tenants/{id}/credentials", Needs(CredentialsWrite), credentials::store),
        Operation::new(Method::GET, "/api/tenants/{id}/credentials/meta", Needs(CredentialsReveal), credentials::meta),
        Operation::new(Method::GET, "/api/tenants/{id}/credentials/{type}", Needs(CredentialsReveal), credentials::full),
        Operation::new(Method::DELETE, "/api/tenants/{id}/credentials/{type}", Needs(CredentialsWrite), versions::delete),
        Operation::new(Method::POST, "/api/tenants/{id}/credentials/{type}/undelete", Needs(CredentialsWrite), versions::undelete),
        Operation::new(Method::POST, "/api/tenants/{id}/credentials/{type}/rollback", Needs(CredentialsWrite), versions::roll_back),
        Operation::new(Method::POST, "/api/tenants/{id}/credentials/{type}/destroy", Needs(CredentialsDestroy), versions::destroy_all),
        Operation::new(Method::GET, "/api/tenants/{id}/credentials/{type}/versions", Needs(CredentialsRead), versions::list),
        Operation::new(Method::GET, "/api/tenants/{id}/credentials/{type}/versions/{version}", Needs(CredentialsReveal), versions::get),
        Operation::new(Method::DELETE, "/api/tenants/{id}/credentials/{type}/versions/{version}", Needs(CredentialsDestroy), versions::destroy_one),
        Operation::new(Method::GET, "/api/tenants/{id}/genesys/credentials", Needs(CredentialsRead), genesys::get),
        Operation::new(Method::PUT, "/api/tenants/{id}/genesys/credentials", Needs(CredentialsWrite), genesys::set),
        Operation::new(Method::GET, "/api/tenants", Needs(TenantsRead), tenants::list),
        Operation::new(Method::POST, "/api/tenants", Needs(TenantsWrite), tenants::create),
        Operation::new(Method::GET, "/api/tenants/{id}", Needs(TenantsRead), tenants::get),
        Operation::new(Method::PATCH, "/api/tenants/{id}", Needs(TenantsWrite), tenants::patch),
        Operation::new(Method::DELETE, "/api/tenants/{id}", Needs(TenantsWrite), tenants::delete),
        Operation::new(Method::GET, "/api/tokens", Needs(TokensAdmin), tokens::list),
        Operation::new(Method::POST, "/api/tokens", Needs(TokensAdmin), tokens::create),
        Operation::new(Method::GET, "/api/tokens/{token_id}", Needs(TokensAdmin), tokens::get),
        Operation::new(Method::DELETE, "/api/tokens/{token_id}", Needs(TokensAdmin), tokens::revoke),
        Operation::new(Method::POST, "/api/tokens/{token_id}/rotate", Needs(TokensAdmin), tokens::rotate),
        Operation::new(Method::GET, "/api/audit", Needs(AuditRead), audit::list),
        Operation::new(Method::GET, "/health", Open, health::health),
        Operation::new(Method::GET, "/livez", Open, health::livez),
        Operation::new(Method::GET, "/readyz", Open, health::readyz),
        Operation::new(Method::GET, "/metrics", Open, metrics::metrics),
        Operation::new(Method::GET, "/openapi.json", Open, docs::openapi_json),
        Operation::new(Method::GET, "/docs", Open, docs::to_index),
        Operation::new(Method::GET, "/docs/", Open, docs::index),
        Operation::new(Method::GET, "/docs/{*file}", Open, docs::file),
    ]
}

/// Every operation at its paths.
///
/// # Panics
/// Where two operations claim the same path and method, which a test rules out.
pub fn routes(state: &Shared) -> Router {
    let mut paths: BTreeMap<&'static str, Vec<Operation>> = BTreeMap::new();
    for operation in operations() {
        paths.entry(operation.path).or_default().push(operation);
    }
    let router = paths.into_iter().fold(Router::new(), |router, (path, operations)| {
        let methods = methods(path, &operations, state);
        let register = |router: Router, variant: String| router.route(&variant, methods.clone());
        variants(path).into_iter().fold(router, register)
    });
    let unmatched = endpoint(UNMATCHED, Access::Open, &Method::GET, state);
    router.fallback_service(service_fn(move |request| {
        unmatched.answer(request, |_| ready(Problem::not_found().into_response()))
    }))
}

/// All methods of a path: its operations, OPTIONS, and the refusal of any other.
fn methods(path: &'static str, operations: &[Operation], state: &Shared) -> MethodRouter {
    let mount = |methods, operation: &Operation| {
        let endpoint = endpoint(path, operation.access, &operation.method, state);
        (operation.mount)(methods, endpoint, state)
    };
    let methods = operations.iter().fold(MethodRouter::new(), mount);
    let allow = allow(operations);
    let others = endpoint(path, Access::Open, &Method::OPTIONS, state);
    let supported = allow.clone();
    let options = service_fn(move |request| {
        let answer = (StatusCode::NO_CONTENT, [(ALLOW, supported.clone())]).into_response();
        others.answer(request, |_| ready(answer))
    });
    let refused = service_fn(move |request| {
        let answer = method_not_allowed(allow.clone());
        others.answer(request, |_| ready(answer))
    });
    methods.on_service(MethodFilter::OPTIONS, options).fallback_service(refused)
}

/// The endpoint of a route template, with what is the same for all.
pub fn endpoint(
    route: &'static str,
    access: Access,
    method: &Method,
    state: &Shared,
) -> &'static Endpoint {
    let door = Door {
        anonymous: Caller::anonymous(state.anonymous),
        reach: state.reach,
        tokens: Some(state.service.clone()),
        trail: Some(state.service.trail().clone()),
    };
    // Those that write wait for the other replicas.
    let limit = match (access, method) {
        (Access::Open, _) | (_, &Method::GET) => state.limits.request,
        _ => state.limits.write,
    };
    let room = Room {
        places: state.places.clone(),
        rates: state.rates.clone(),
        token_rates: state.token_rates.clone(),
    };
    Endpoint::leak(route, access, door, room, limit)
}

/// The methods of a path, as `Allow` lists them.
fn allow(operations: &[Operation]) -> HeaderValue {
    let names = operations.iter().flat_map(|operation| match operation.method.as_str() {
        "GET" => vec!["GET", "HEAD"],
        name => vec![name],
    });
    let list = names.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ");
    // Names of methods are always a header value.
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// Every path under which a template answers.
fn variants(path: &'static str) -> Vec<String> {
    match path.strip_prefix(TENANTS) {
        None => vec![path.to_owned()],
        Some(rest) => [TENANTS, ALIAS]
            .into_iter()
            .flat_map(|prefix| [format!("{prefix}{rest}"), format!("{prefix}{rest}/")])
            .collect(),
    }
}

fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_paths_have_four_variants() {
        let four = ["/api/tenants", "/api/tenants/", "/tenants", "/tenants/"];
        assert_eq!(variants("/api/tenants"), four);
        let four = ["/api/tenants/{id}", "/api/tenants/{id}/", "/tenants/{id}", "/tenants/{id}/"];
        assert_eq!(variants("/api/tenants/{id}"), four);
        assert_eq!(variants("/health"), ["/health"]);
    }

    #[test]
    fn every_operation_is_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for operation in operations() {
            let name = format!("{} {}", operation.method, operation.path);
            assert!(seen.insert(name.clone()), "{name}");
        }
    }

    #[test]
    fn whatever_shows_or_changes_what_is_stored_needs_a_scope() {
        for Operation { method, path, access, .. } in operations() {
            let open = !path.starts_with("/api/");
            assert_eq!(access == Access::Open, open, "{method} {path}");
        }
    }

    #[test]
    fn allow_lists_what_there_is() {
        let of = |path| {
            let operations = operations().into_iter().filter(|operation| operation.path == path);
            allow(&operations.collect::<Vec<_>>())
        };
        assert_eq!(of("/livez"), "GET, HEAD, OPTIONS");
        assert_eq!(of("/api/tenants/{id}"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    }
}
