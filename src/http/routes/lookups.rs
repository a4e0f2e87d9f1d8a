//! Whose is this? The hot path: a hit in memory touches nothing but memory.
//!
//! Errors: 400 for what is no id; 404 for an id that no active tenant has.

use axum::extract::State;

use crate::cache::{Document, Found, Via};
use crate::domain::{Action, By, IntegrationId, Limits, PhoneNumberId, Scope, TenantId};
use crate::http::auth::Caller;
use crate::http::extract::{IfNoneMatch, Segment};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::state::Shared;
use crate::http::{reply, schema};

/// The tenant of a WhatsApp phone number
///
/// Only active tenants are found. `Cache-Status` says where the answer comes from: memory, Redis
/// or the database.
#[utoipa::path(
    get,
    path = "/api/tenants/by-phone/{phone_number_id}",
    tag = "Lookups",
    params(
        ("phone_number_id" = String, Path, description = "Meta's id of the phone number: 1 to 32 digits", example = "123456789"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The tenant", body = schema::Lookup, headers(
            ("ETag" = String, description = "The tenant's revision"),
            ("Cache-Status" = String, description = "`tenant-service; hit; detail=l1`, `…; hit; detail=l2`, `…; fwd=miss`, `…; fwd=bypass; detail=fenced` or, where it may be old, `…; hit; detail=stale`"),
        )),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "Not a phone number's id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has it: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn by_phone(
    State(state): State<Shared>,
    Segment(phone): Segment<PhoneNumberId>,
    caller: Caller,
    by: By,
    known: IfNoneMatch,
) -> Result<Reply, Problem> {
    let found = state.service.by_phone(phone).await?;
    Ok(answer(shown(&state, found, &caller, by), &known, caller.limits()))
}

/// The tenant of a Genesys Cloud integration
///
/// As for phone numbers.
#[utoipa::path(
    get,
    path = "/api/tenants/by-integration/{genesys_integration_id}",
    tag = "Lookups",
    params(
        ("genesys_integration_id" = String, Path, description = "The integration's id: 1 to 128 visible ASCII characters", example = "demo-integration-001"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The tenant", body = schema::Lookup, headers(
            ("ETag" = String, description = "The tenant's revision"),
            ("Cache-Status" = String, description = "`tenant-service; hit; detail=l1`, `…; hit; detail=l2`, `…; fwd=miss`, `…; fwd=bypass; detail=fenced` or, where it may be old, `…; hit; detail=stale`"),
        )),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "Not an integration's id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has it: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn by_integration(
    State(state): State<Shared>,
    Segment(integration): Segment<IntegrationId>,
    caller: Caller,
    by: By,
    known: IfNoneMatch,
) -> Result<Reply, Problem> {
    let found = state.service.by_integration(integration).await?;
    Ok(answer(shown(&state, found, &caller, by), &known, caller.limits()))
}

/// What a caller may be shown of it. That they may not is entered into the audit trail.
fn shown(state: &Shared, found: Found<Document>, caller: &Caller, by: By) -> Found<Document> {
    within(found, caller.limits()).unwrap_or_else(|Beyond { tenant, via }| {
        if let Some(tenant) = tenant {
            state.service.denied(by, Action::Access(Scope::LookupRead), &tenant, None);
        }
        Found { value: None, via }
    })
}

/// A document of a tenant that a caller is not limited to.
#[derive(Debug)]
pub struct Beyond {
    tenant: Option<TenantId>,
    via: Via,
}

/// The same, if it is within these limits.
///
/// # Errors
/// It is beyond them.
pub fn within(found: Found<Document>, limits: &Limits) -> Result<Found<Document>, Beyond> {
    // Whose it is has to be read out of it, and only of few callers it matters.
    let Some(document) = found.value.as_ref().filter(|_| limits.tenants().is_some()) else {
        return Ok(found);
    };
    let tenant = document.tenant();
    if tenant.as_deref().is_some_and(|id| limits.admit(id)) {
        return Ok(found);
    }
    Err(Beyond { tenant: tenant.and_then(|id| id.parse().ok()), via: found.via })
}

/// A document that may be absent; that it is can come out of a cache as well, and a caller who is
/// limited to certain tenants is not told.
pub fn answer(found: Found<Document>, known: &IfNoneMatch, limits: &Limits) -> Reply {
    let Found { value, via } = found;
    match value {
        Some(document) => reply::document(document, via, known),
        None if limits.tenants().is_some() => reply::hidden(Problem::tenant_not_found(), Some(via)),
        None => reply::absent(Problem::tenant_not_found(), via),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::header::{CACHE_CONTROL, ETAG};
    use axum::http::{HeaderValue, StatusCode};

    use super::*;
    use crate::cache::Via;
    use crate::http::reply::CACHE_STATUS;

    #[test]
    fn found_known_and_absent() {
        let found = || Found { value: Some(Document::new(b"{}".to_vec(), 7)), via: Via::L1 };
        let none = &Limits::NONE;
        let fresh = answer(found(), &IfNoneMatch::default(), none);
        assert_eq!(
            (fresh.status(), &fresh.headers()[ETAG]),
            (StatusCode::OK, &HeaderValue::from_static("\"7\""))
        );
        let known = IfNoneMatch::of([HeaderValue::from_static("W/\"7\"")]);
        assert_eq!(answer(found(), &known, none).status(), StatusCode::NOT_MODIFIED);
        let absent = answer(Found { value: None, via: Via::L2 }, &known, none);
        assert_eq!(absent.status(), StatusCode::NOT_FOUND);
        assert_eq!(absent.headers()[CACHE_STATUS], "tenant-service; hit; detail=l2");
        assert_eq!(absent.headers()[CACHE_CONTROL], "private, no-cache");
    }

    #[test]
    fn another_tenant_s_answer_looks_absent_wherever_it_comes_from() {
        let limits = Limits::new(Some(vec!["mine".parse().unwrap()]), None);
        let of = |id: &str, via| {
            let body = serde_json::json!({ "id": id }).to_string().into_bytes();
            Found { value: Some(Document::new(body, 7)), via }
        };
        let known = IfNoneMatch::of([HeaderValue::from_static("\"7\"")]);
        let mine = within(of("mine", Via::L1), &limits).unwrap();
        assert_eq!(answer(mine, &known, &limits).status(), StatusCode::NOT_MODIFIED);
        assert!(within(of("other", Via::L1), &Limits::NONE).is_ok());
        for via in [Via::L1, Via::L2, Via::Store, Via::Bypass, Via::Stale(Duration::from_secs(7))] {
            let beyond = within(of("other", via), &limits).unwrap_err();
            assert_eq!((beyond.tenant.unwrap().as_str(), beyond.via), ("other", via));
            let absent = within(Found { value: None, via }, &limits).unwrap();
            let absent = answer(absent, &known, &limits);
            assert_eq!(absent.status(), StatusCode::NOT_FOUND);
            let is_labelled = absent.headers().contains_key(CACHE_STATUS);
            assert_eq!(is_labelled, matches!(via, Via::Stale(_)));
        }
        let unreadable = Found { value: Some(Document::new(b"{}".to_vec(), 7)), via: Via::L1 };
        assert!(within(unreadable, &limits).unwrap_err().tenant.is_none());
    }
}
