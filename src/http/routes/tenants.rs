//! Tenants: create, see, list, change, delete.
//!
//! Errors: 400 for what is not valid; 404 for a tenant that is absent; 409 where another tenant has
//! the id, the phone number or the integration. A refused request changes nothing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::lookups::answer;
use super::{readable, writable};
use crate::cache::TenantBody;
use crate::domain::{
    Action, By, Edit, Limits, NewTenant, Settings, Status, Tenant, TenantId, TenantPatch,
};
use crate::http::auth::{Caller, Unlimited};
use crate::http::extract::{
    Fields, IfNoneMatch, JsonBody, MergePatch, Nothing, Query, Segment, number,
};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::state::Shared;
use crate::http::{reply, schema};
use crate::service::{Acknowledged, Intent};
use crate::store::Page;

/// How many tenants a page has, unless another number is asked for.
const PAGE: u64 = 50;
/// How many it has at most.
const LARGEST_PAGE: u64 = 200;
/// No list of tenants is as long; and every database can count to it.
const FARTHEST: u64 = 1_000_000_000;

/// What both a new tenant and a patch may have.
const FIELDS: [&str; 9] = [
    "name",
    "email",
    "status",
    "phone_number_id",
    "display_phone_number",
    "genesys_integration_id",
    "genesys_org_id",
    "genesys_region",
    "settings",
];

/// Create a tenant
///
/// Its phone number and its integration resolve to it from now on, on every replica.
#[utoipa::path(
    post,
    path = "/api/tenants",
    tag = "Tenants",
    operation_id = "create_tenant",
    request_body = schema::NewTenant,
    responses(
        (status = 201, description = "The tenant", body = schema::Tenant, headers(
            ("Location" = String, description = "Where it is"),
            ("ETag" = String, description = "Its revision"),
        )),
        (status = 400, description = "A field is missing or not what it should be: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another tenant has the id, the phone number or the integration: `conflict`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(state): State<Shared>,
    Unlimited: Unlimited,
    intent: Intent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let tenant = new_tenant(body, || TenantId::from_random(fastrand::u64(..)))?;
    let Acknowledged { value, coherence } = state.service.create_tenant(tenant, intent).await?;
    let location = format!("/api/tenants/{}", value.id);
    let answer = (StatusCode::CREATED, [(LOCATION, location)], shown(&value));
    Ok(reply::acknowledged(answer, coherence))
}

/// A tenant
///
/// Whatever its status.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}",
    tag = "Tenants",
    operation_id = "tenant",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The tenant", body = schema::Tenant, headers(("ETag" = String, description = "Its revision"))),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    caller: Caller,
    by: By,
    known: IfNoneMatch,
) -> Result<Reply, Problem> {
    if !readable(&state, &caller, (&id, None), by) {
        return Ok(reply::hidden(Problem::tenant_not_found(), None));
    }
    Ok(answer(state.service.tenant(id).await?, &known, &Limits::NONE))
}

/// Tenants, by age
///
/// Of a token that is limited to certain tenants, those alone.
#[utoipa::path(
    get,
    path = "/api/tenants",
    tag = "Tenants",
    operation_id = "tenants",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most; 50 unless said otherwise", example = 50),
        ("offset" = Option<u64>, Query, minimum = 0, maximum = 1_000_000_000, description = "How many to leave out first", example = 0),
        ("status" = Option<schema::Status>, Query, description = "Only those of this status"),
    ),
    responses(
        (status = 200, description = "One page of them", body = schema::Tenants),
        (status = 400, description = "A parameter is unknown, repeated or out of range: `invalid_query`, `invalid_value`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<Shared>,
    caller: Caller,
    query: Query,
) -> Result<Response, Problem> {
    let page = page_of(&query)?;
    let (tenants, total) = state.service.tenants(page, caller.limits()).await?;
    let tenants: Vec<TenantBody> = tenants.iter().map(TenantBody::of).collect();
    let Page { limit, offset, .. } = page;
    let body = json!({"tenants": tenants, "total": total, "limit": limit, "offset": offset});
    Ok(([(CACHE_CONTROL, "private, no-cache")], Json(body)).into_response())
}

/// Change a tenant
///
/// A merge patch. Every replica is told, and evicts what it had cached under the phone numbers and
/// integrations that the tenant had and has.
#[utoipa::path(
    patch,
    path = "/api/tenants/{id}",
    tag = "Tenants",
    operation_id = "patch_tenant",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    request_body(content(
        (schema::TenantPatch = "application/merge-patch+json"),
        (schema::TenantPatch = "application/json"),
    )),
    responses(
        (status = 200, description = "The tenant as it is now", body = schema::Tenant, headers(("ETag" = String, description = "Its revision"))),
        (status = 400, description = "A field is not what it should be: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another tenant has the phone number or the integration: `conflict`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn patch(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    caller: Caller,
    intent: Intent,
    MergePatch(body): MergePatch,
) -> Result<Response, Problem> {
    let patch = patch_of(body)?;
    writable(&state, &caller, (&id, None), (Action::TenantUpdate, &intent))?;
    let patched = state.service.patch_tenant(id, patch, intent).await?;
    let Acknowledged { value, coherence } = patched.ok_or_else(Problem::tenant_not_found)?;
    Ok(reply::acknowledged(shown(&value), coherence))
}

/// Delete a tenant
///
/// For good, with its credentials and all that belongs to it. Tokens that are limited to it are revoked, or
/// limited to what else they name: its id may become another tenant's.
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}",
    tag = "Tenants",
    operation_id = "delete_tenant",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    caller: Caller,
    intent: Intent,
    _: Nothing,
) -> Result<Response, Problem> {
    writable(&state, &caller, (&id, None), (Action::TenantDelete, &intent))?;
    // With it go its credentials of all types.
    if caller.limits().types().is_some() {
        state.service.denied(intent.by, Action::TenantDelete, &id, None);
        return Err(Problem::token_of_types());
    }
    let deleted = state.service.delete_tenant(id, intent).await?;
    let Acknowledged { coherence, .. } = deleted.ok_or_else(Problem::tenant_not_found)?;
    Ok(reply::acknowledged(StatusCode::NO_CONTENT, coherence))
}

/// A tenant that was written.
fn shown(tenant: &Tenant) -> Response {
    let headers = [
        (ETAG, format!("\"{}\"", tenant.revision)),
        (CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    (headers, Json(TenantBody::of(tenant))).into_response()
}

/// The tenant that a body describes; without an `id`, one is drawn.
///
/// # Errors
/// A field is missing, unknown, or not what it should be.
pub fn new_tenant(body: Value, draw: impl FnOnce() -> TenantId) -> Result<NewTenant, Problem> {
    let accepted: Vec<&str> = ["id"].into_iter().chain(FIELDS).collect();
    let mut fields = Fields::of(body, &accepted)?;
    Ok(NewTenant {
        id: fields.optional("id")?.unwrap_or_else(draw),
        name: fields.required("name")?,
        email: fields.optional("email")?,
        status: fields.optional("status")?.unwrap_or(Status::Active),
        phone_number_id: fields.optional("phone_number_id")?,
        display_phone_number: fields.optional("display_phone_number")?,
        genesys_integration_id: fields.optional("genesys_integration_id")?,
        genesys_org_id: fields.optional("genesys_org_id")?,
        genesys_region: fields.optional("genesys_region")?,
        settings: match fields.edit_object("settings")? {
            Edit::Set(settings) => Settings::new(settings)?,
            Edit::Keep | Edit::Clear => Settings::default(),
        },
        credentials: Vec::new(),
    })
}

fn patch_of(body: Value) -> Result<TenantPatch, Problem> {
    let mut fields = Fields::of(body, &FIELDS)?;
    Ok(TenantPatch {
        name: fields.replaced("name")?,
        email: fields.edit("email")?,
        status: fields.replaced("status")?,
        phone_number_id: fields.edit("phone_number_id")?,
        display_phone_number: fields.edit("display_phone_number")?,
        genesys_integration_id: fields.edit("genesys_integration_id")?,
        genesys_org_id: fields.edit("genesys_org_id")?,
        genesys_region: fields.edit("genesys_region")?,
        settings: fields.edit_object("settings")?,
    })
}

fn page_of(query: &Query) -> Result<Page, Problem> {
    let [limit, offset, status] = query.only(["limit", "offset", "status"])?;
    let limit = number("limit", limit, PAGE, (1, LARGEST_PAGE))?;
    Ok(Page {
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        offset: number("offset", offset, 0, (0, FARTHEST))?,
        status: status.map(str::parse).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn() -> TenantId {
        TenantId::from_random(1)
    }

    #[test]
    fn a_name_is_enough() {
        let tenant = new_tenant(json!({"name": "Demo", "email": null}), drawn).unwrap();
        assert_eq!((tenant.id, tenant.status), (drawn(), Status::Active));
        let body = json!({"id": "demo", "name": "Demo", "status": "suspended", "genesys_region": "euc1", "settings": {"a": 1}});
        let tenant = new_tenant(body, drawn).unwrap();
        assert_eq!((tenant.id.as_str(), tenant.status), ("demo", Status::Suspended));
        assert_eq!(tenant.genesys_region.unwrap().domain(), "mypurecloud.de");
        assert_eq!(tenant.settings.as_object()["a"], 1);
    }

    #[test]
    fn what_is_not_a_tenant_is_refused() {
        for body in [
            json!({}),
            json!({"name": ""}),
            json!({"name": null}),
            json!({"name": 7}),
            json!({"name": "a\u{7}b"}),
            json!({"name": "x", "id": "a b"}),
            json!({"name": "x", "id": "x".repeat(51)}),
            json!({"name": "x", "phone_number_id": 123}),
            json!({"name": "x", "phone_number_id": "+49"}),
            json!({"name": "x", "status": "deleted"}),
            json!({"name": "x", "settings": []}),
            json!({"name": "x", "created_at": "2026-01-02T03:04:05Z"}),
        ] {
            assert_eq!(new_tenant(body.clone(), drawn).unwrap_err().status(), 400, "{body}");
        }
    }

    #[test]
    fn a_patch_keeps_clears_and_sets() {
        let body = json!({"email": null, "phone_number_id": "5", "settings": {"a": null}});
        let patch = patch_of(body).unwrap();
        assert_eq!(patch.email, Edit::Clear);
        assert_eq!(patch.phone_number_id, Edit::Set("5".parse().unwrap()));
        assert_eq!(patch.genesys_region, Edit::Keep);
        assert!(patch.settings.value().unwrap()["a"].is_null());
        for body in [json!({"name": null}), json!({"status": null}), json!({"id": "x"}), json!(1)] {
            assert!(patch_of(body).is_err());
        }
    }

    #[tokio::test]
    async fn pages_are_bounded() {
        use axum::RequestExt;
        let page = async |query: &str| {
            let uri = format!("/api/tenants?{query}");
            let mut request = axum::http::Request::builder()
                .uri(uri)
                .body(())
                .unwrap()
                .map(|()| axum::body::Body::empty());
            page_of(&request.extract_parts::<Query>().await?)
        };
        let default = page("").await.unwrap();
        assert_eq!((default.limit, default.offset, default.status), (50, 0, None));
        let given = page("limit=200&offset=7&status=suspended").await.unwrap();
        assert_eq!((given.limit, given.offset, given.status), (200, 7, Some(Status::Suspended)));
        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "offset=-1",
            "limit=x",
            "status=gone",
            "page=1",
            "limit=1&limit=2",
        ] {
            assert_eq!(page(bad).await.unwrap_err().status(), 400, "{bad}");
        }
    }
}
