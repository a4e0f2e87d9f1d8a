//! The API's document: written with the handlers, completed from the table of operations.
//!
//! What every operation has in common is not written twenty times: the scope, and the problems
//! that any of them can answer.

mod exact;

use axum::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, Object, Ref, RefOr, Required};

use super::auth::Access;
use super::problem::MEDIA_TYPE;
use super::router::operations;
use super::routes::{
    audit, credentials, docs, genesys, health, lookups, metrics, tenants, tokens, versions,
};
use super::schema;
use crate::domain::Scope;

#[derive(OpenApi)]
#[openapi(
    info(title = "tenant-service"),
    paths(
        lookups::by_phone,
        lookups::by_integration,
        credentials::masked,
        credentials::set,
        credentials::store,
        credentials::meta,
        credentials::full,
        genesys::get,
        genesys::set,
        versions::list,
        versions::get,
        versions::roll_back,
        versions::delete,
        versions::undelete,
        versions::destroy_one,
        versions::destroy_all,
        tenants::list,
        tenants::create,
        tenants::get,
        tenants::patch,
        tenants::delete,
        tokens::list,
        tokens::create,
        tokens::get,
        tokens::revoke,
        tokens::rotate,
        audit::list,
        health::health,
        health::livez,
        health::readyz,
        metrics::metrics,
        docs::openapi_json,
        docs::to_index,
    ),
    components(schemas(schema::Problem, schema::Order)),
    tags(
        (name = "Lookups", description = "Whose is this? Answered from memory."),
        (name = "Credentials", description = "With which secret do I act for them? Masked, unless the scope for secrets is there."),
        (name = "Versions", description = "What they were: the ways back, and away for good."),
        (name = "Tenants", description = "Organisations with a phone number and a Genesys integration."),
        (name = "Tokens", description = "Who may do what. A token's secret is shown once, when it is made."),
        (name = "Audit", description = "Who did what."),
        (name = "Operation", description = "For load balancers, orchestrators and Prometheus."),
        (name = "Documentation", description = "What you are reading."),
    ),
)]
struct Written;

const INTRODUCTION: &str = "\
Tenant directory and credential store.

**Paths.** Those under `/api/tenants` also answer under `/tenants`, each with and without a trailing \
slash. A GET answers HEAD as well; OPTIONS names a path's methods.

**Freshness.** A write is told to every replica, which evicts exactly what it touched. \
A write is answered when no replica serves what was before it any more: about a millisecond later, and \
`STALENESS_BOUND_MS` later at the most, where a replica does not answer (`Prefer: respond-async` does \
without). \
`Cache-Status` (RFC 9211) says where an answer comes from; `ETag` and `If-None-Match` save its body.

**Conditions.** A write with `If-Match` is made only if the tag names what is there, and one with \
`If-None-Match: *` only if nothing is; otherwise it is a 412, whose `ETag` names what is there. Tags of \
credentials are `\"generation.version\"`: one that was deleted and made anew never has an old tag.

**Errors.** Problems as of RFC 9457, with a stable `code`, and the sentence under `error` as well. \
They never repeat a value that was sent. A request that is refused has changed nothing. What cannot \
be read as an HTTP/1 request at all has a bare 400, 414 or 431 for an answer, without a body, and ends \
the connection.

**Requests.** JSON of at most 64 KiB, nested at most 32 deep, no key twice in an object. An \
`X-Request-Id` of 1 to 64 letters, digits, `.`, `_` and `-` is taken over; otherwise one is made. \
Every answer carries it.

**Scopes.** Each operation names the one that it needs. A token has scopes (`Authorization: Bearer ts_live_…`), \
and may be limited to certain tenants and types of credentials; all others look absent to it. A token that is \
expired, revoked or none is a 401 `invalid_token`, one that lacks the scope a 403 `insufficient_scope`. What callers \
without a token may do is the operator's decision (`ANONYMOUS_SCOPES`).";

/// How tokens are sent, as the document calls it.
const SCHEME: &str = "token";

/// What the condition of a write is compared with.
const OF_TENANT: &str = "of the tenant: its revision, as in look-ups";
const OF_CREDENTIALS: &str = "of the credentials: their generation and version";

/// What the header of a write says.
const COHERENCE: &str = "\
`acked; replicas=N`: this replica and the N others have applied it. `fenced`: those that have not serve \
nothing from their caches any more. `pending`: nobody waited, as was preferred";

/// Problems that are not an operation's own: the name, the status and the description of each.
const SHARED: [(&str, &str, &str); 9] = [
    (
        "Unauthorized",
        "401",
        "There is no token, and the scope is not granted without one: `unauthorized`; or the token is not valid: `invalid_token`",
    ),
    (
        "Forbidden",
        "403",
        "The token lacks the scope, or is limited to less than this: `insufficient_scope`; or, without a token, a web page of another site sends it: `cross_site_request`",
    ),
    ("RequestTimeout", "408", "The body did not arrive in time: `request_timeout`"),
    ("TooLarge", "413", "The body is larger than 64 KiB: `body_too_large`"),
    ("UnsupportedMediaType", "415", "The body is of another type: `unsupported_media_type`"),
    ("TooManyRequests", "429", "The client asks more often than it may: `rate_limited`"),
    ("Internal", "500", "A defect of the service: `internal`"),
    (
        "Unavailable",
        "503",
        "The database is out of reach: `unavailable`; or the audit trail can't be written: `audit_unavailable`; or as many requests are worked on as may be: `overloaded`",
    ),
    ("Timeout", "504", "No answer in time; a write may or may not have been made: `timeout`"),
];

/// The document of the whole API.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Written::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    document.info.description = Some(INTRODUCTION.to_owned());
    let components = document.components.get_or_insert_with(Components::default);
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An access token: `ts_live_` and 65 letters and digits"))
        .build();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    exact::bodies(components);
    for (name, _, description) in SHARED {
        components.responses.insert(name.to_owned(), problem(description).into());
    }
    for operation in operations() {
        let path = document.paths.paths.get_mut(operation.path);
        let written = path.and_then(|path| of_method(path, &operation.method));
        if let (Some(written), Access::Needs(scope)) = (written, operation.access) {
            complete(written, operation.path, scope, &operation.method);
        }
    }
    document
}

fn problem(description: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build()
}

/// Adds the scope, the problems that this operation shares with others, and what its path accepts.
fn complete(operation: &mut Operation, path: &str, scope: Scope, method: &Method) {
    exact::parameters(operation);
    // Either will do: the second is for callers without a token.
    operation.security = Some(vec![
        SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, []),
        SecurityRequirement::default(),
    ]);
    let text = operation.description.take().unwrap_or_default();
    let separator = if text.is_empty() { "" } else { "\n\n" };
    operation.description = Some(format!("{text}{separator}Needs the scope `{scope}`."));
    if *method != Method::GET {
        complete_write(operation);
        // Tokens have no versions, so nothing is asked of them.
        if path.starts_with("/api/tenants") {
            complete_condition(operation, path);
        }
    }
    exact::parameters(operation);
    let (is_write, has_body) = (*method != Method::GET, operation.request_body.is_some());
    for (name, status, _) in SHARED {
        // A write that takes no body makes sure that there is none.
        let is_of_it = match status {
            "408" | "413" => is_write,
            "415" => has_body,
            _ => true,
        };
        if is_of_it {
            let response = RefOr::Ref(Ref::from_response_name(name));
            operation.responses.responses.insert(status.to_owned(), response);
        }
    }
}

/// Adds how a write is acknowledged.
fn complete_write(operation: &mut Operation) {
    if operation.request_body.is_none()
        && let Some(RefOr::T(response)) = operation.responses.responses.get_mut("400")
    {
        let or = "; or there is a query or a body, which this does not take: `invalid_query`, \
                  `unknown_field`, `invalid_body`, `malformed_json`, `json_too_deep`, `incomplete_body`";
        response.description.push_str(or);
    }
    let hurried = "`respond-async`: answer before the other replicas have applied it".to_owned();
    let text = Object::with_type(Type::String);
    operation.parameters.get_or_insert_default().push(header("Prefer", hurried, text).into());
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with('2')
        {
            response.headers.insert("Coherence".to_owned(), told(COHERENCE).into());
        }
    }
}

/// Adds what a caller may ask to hold before a write is made.
fn complete_condition(operation: &mut Operation, path: &str) {
    let whose = if path.contains("/credentials") { OF_CREDENTIALS } else { OF_TENANT };
    let present = format!("Only if one of these is there, or anything (`*`): entity tags {whose}");
    let absent = format!("Only if none of these is there, or nothing (`*`): entity tags {whose}");
    operation.parameters.get_or_insert_default().extend([
        header("If-Match", present, exact::tags()).into(),
        header("If-None-Match", absent, exact::tags()).into(),
    ]);
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("400") {
        let or = "; or the condition is malformed: `invalid_precondition`";
        response.description.push_str(or);
    }
    let mut failed = problem("The condition does not hold: `precondition_failed`");
    failed.headers.insert("ETag".to_owned(), told("What is there, if anything").into());
    operation.responses.responses.insert("412".to_owned(), failed.into());
}

fn header(name: &str, description: String, schema: Object) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A header of an answer.
fn told(description: &str) -> Header {
    let text = Object::with_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}

fn of_method<'p>(path: &'p mut PathItem, method: &Method) -> Option<&'p mut Operation> {
    match *method {
        Method::GET => path.get.as_mut(),
        Method::PUT => path.put.as_mut(),
        Method::POST => path.post.as_mut(),
        Method::PATCH => path.patch.as_mut(),
        Method::DELETE => path.delete.as_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
