//! What credentials were: versions, and the ways back, and away for good.
//!
//! Errors: those of credentials; 404 for a version that is none; 409 and 410 where the version, or the
//! credential, is in another state than the operation needs.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{readable, writable};
use crate::crypto::secret_text;
use crate::domain::{Action, By, CredentialType, TenantId, Version, VersionInfo, version_tag};
use crate::http::auth::Caller;
use crate::http::extract::{Fields, JsonBody, Nothing, Query, Segments, Three, number};
use crate::http::problem::Problem;
use crate::http::state::Shared;
use crate::http::{reply, schema};
use crate::service::{Acknowledged, Intent};
use crate::store::{CredentialsSet, VersionsPage};

/// How many versions a page has, unless another number is asked for.
const PAGE: u64 = 50;
/// How many it has at most.
const LARGEST_PAGE: u64 = 200;

/// The versions of a tenant's credentials
///
/// Newest first, with none of what they hold. Those of a credential that was deleted are among them.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials/{type}/versions",
    tag = "Versions",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most; 50 unless said otherwise", example = 50),
        ("before" = Option<i64>, Query, minimum = 1, description = "Only those before this one: the `next` of the page before", example = 100),
    ),
    responses(
        (status = 200, description = "One page of them", body = schema::Versions),
        (status = 400, description = "Not an id, no such type, or a parameter is unknown, repeated or out of range: `invalid_value`, `invalid_path`, `invalid_query`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has or had such credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    caller: Caller,
    by: By,
    query: Query,
) -> Result<Response, Problem> {
    let [limit, before] = query.only(["limit", "before"])?;
    let limit = number("limit", limit, PAGE, (1, LARGEST_PAGE))?;
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let before = before.map(str::parse).transpose()?;
    if !readable(&state, &caller, (&id, Some(kind)), by) {
        return Err(Problem::credentials_not_found(kind));
    }
    // One more than the page holds, to know whether another follows.
    let page = VersionsPage { limit: limit + 1, before };
    let found = state.service.versions(&id, kind, page).await?;
    let mut versions = found.ok_or_else(|| Problem::credentials_not_found(kind))?;
    let more = versions.len() > limit as usize;
    versions.truncate(limit as usize);
    let next = versions.last().filter(|_| more).map(|last| last.version);
    let versions: Vec<Value> = versions.iter().map(shown).collect();
    let body = json!({"versions": versions, "next": next});
    Ok(([(CACHE_CONTROL, "private, no-cache")], Json(body)).into_response())
}

/// A version as the API shows it.
pub(crate) fn shown(version: &VersionInfo) -> Value {
    json!({
        "version": version.version,
        "generation": version.generation,
        "etag": format!("\"{}\"", version.tag()),
        "state": version.state().as_str(),
        "valid_from": version.valid_from.to_string(),
        "expires_at": version.expires_at.map(|at| at.to_string()),
        "superseded_at": version.superseded_at.map(|at| at.to_string()),
        "deleted_at": version.deleted_at.map(|at| at.to_string()),
        "destroyed_at": version.destroyed_at.map(|at| at.to_string()),
    })
}

/// A version of a tenant's credentials, with its secrets
///
/// Of the credential that is there now: what was deleted is absent in all its versions. Always out of
/// the database; audited like every answer that shows a secret, and to be kept nowhere.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials/{type}/versions/{version}",
    tag = "Versions",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
        ("version" = i64, Path, minimum = 1, description = "The version", example = 1),
    ),
    responses(
        (status = 200, description = "The credential object", body = schema::Credentials, headers(("ETag" = String, description = "The version"))),
        (status = 400, description = "Not an id, no such type, or no number: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has such a version: `version_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 410, description = "It is destroyed: `version_destroyed`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(state): State<Shared>,
    Three(id, kind, version): Three<TenantId, CredentialType, Version>,
    caller: Caller,
    by: By,
) -> Result<Response, Problem> {
    if !caller.sees_credentials(&id, kind) {
        state.service.denied(by, Action::CredentialsReveal, &id, Some(kind));
        return Err(Problem::version_not_found());
    }
    let found = state.service.reveal_version(&id, kind, version, by).await?;
    let stored = found.ok_or_else(Problem::version_not_found)?;
    let body = secret_text(stored.credentials.reveal());
    let body = body.map_err(|_| Problem::internal(Some("version: not serialisable")))?;
    Ok(reply::revealed(Bytes::from_owner(body), &version_tag(&stored.id, stored.version)))
}

/// Roll back a tenant's credentials
///
/// Makes a new version of what an earlier one holds, of the credential that is there now. The tenant
/// stays as it is: its integration and its region are not rolled back. The new version ends when that one
/// was to end, if that is still ahead; else it has no end.
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/credentials/{type}/rollback",
    tag = "Versions",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
    ),
    request_body = schema::RollBack,
    responses(
        (status = 200, description = "They are what they were", body = schema::CredentialsSet, headers(("ETag" = String, description = "The new version"))),
        (status = 400, description = "Not an id, no such type, or no number of a version: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant, no such credentials, or no such version: `tenant_not_found`, `credentials_not_found`, `version_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is a version of a credential that was deleted: `version_deleted`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 410, description = "It is destroyed: `version_destroyed`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn roll_back(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    caller: Caller,
    intent: Intent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let to = version_of(body)?;
    writable(&state, &caller, (&id, Some(kind)), (Action::CredentialsRollBack, &intent))?;
    let set = state.service.roll_back(id, kind, to, intent).await?;
    answer("Credentials rolled back successfully", set)
}

/// Delete a tenant's credentials
///
/// They are absent from now on, on every replica. Until `CREDENTIALS_RETENTION_DAYS` have passed they
/// can be brought back; then their versions are destroyed.
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}/credentials/{type}",
    tag = "Versions",
    operation_id = "delete_credentials",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
    ),
    responses(
        (status = 204, description = "They are deleted"),
        (status = 400, description = "Not an id, or no such type: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant, or no such credentials: `tenant_not_found`, `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    caller: Caller,
    intent: Intent,
    _: Nothing,
) -> Result<Response, Problem> {
    writable(&state, &caller, (&id, Some(kind)), (Action::CredentialsDelete, &intent))?;
    let deleted = state.service.delete_credentials(id, kind, intent).await?;
    let Acknowledged { coherence, .. } = deleted.ok_or_else(Problem::tenant_not_found)?;
    Ok(reply::acknowledged(StatusCode::NO_CONTENT, coherence))
}

/// Bring deleted credentials back
///
/// Makes a new version of what they were when they were deleted, with the same end if that is still ahead,
/// and all their versions can be rolled back to again.
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/credentials/{type}/undelete",
    tag = "Versions",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
    ),
    responses(
        (status = 200, description = "They are back", body = schema::CredentialsSet, headers(("ETag" = String, description = "The new version"))),
        (status = 400, description = "Not an id, or no such type: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant, or there never were such credentials: `tenant_not_found`, `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "They are not deleted: `credentials_not_deleted`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 410, description = "What they were is destroyed: `version_destroyed`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn undelete(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    caller: Caller,
    intent: Intent,
    _: Nothing,
) -> Result<Response, Problem> {
    writable(&state, &caller, (&id, Some(kind)), (Action::CredentialsUndelete, &intent))?;
    let set = state.service.undelete_credentials(id, kind, intent).await?;
    answer("Credentials brought back successfully", set)
}

/// Destroy a version of a tenant's credentials
///
/// Nothing is left of it in any table but that it was. If it is the current one, the credentials are
/// deleted, on every replica, and can't be brought back.
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}/credentials/{type}/versions/{version}",
    tag = "Versions",
    operation_id = "destroy_version",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
        ("version" = i64, Path, minimum = 1, description = "The version", example = 1),
    ),
    responses(
        (status = 204, description = "It is destroyed, now or before"),
        (status = 400, description = "Not an id, no such type, or no number: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant, or no such version: `tenant_not_found`, `version_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn destroy_one(
    State(state): State<Shared>,
    Three(id, kind, version): Three<TenantId, CredentialType, Version>,
    caller: Caller,
    intent: Intent,
    _: Nothing,
) -> Result<Response, Problem> {
    writable(&state, &caller, (&id, Some(kind)), (Action::CredentialsDestroy, &intent))?;
    let destroyed = state.service.destroy_versions(id, kind, Some(version), intent).await?;
    let Acknowledged { coherence, .. } = destroyed.ok_or_else(Problem::tenant_not_found)?;
    Ok(reply::acknowledged(StatusCode::NO_CONTENT, coherence))
}

/// Destroy a tenant's credentials in all their versions
///
/// Those of credentials that were deleted before are among them. Nothing is left in any table but that
/// they were; what is there now is deleted, on every replica.
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/credentials/{type}/destroy",
    tag = "Versions",
    operation_id = "destroy_all",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "whatsapp"),
    ),
    responses(
        (status = 200, description = "They are destroyed", body = schema::Destroyed),
        (status = 400, description = "Not an id, or no such type: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant, or there never were such credentials: `tenant_not_found`, `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn destroy_all(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    caller: Caller,
    intent: Intent,
    _: Nothing,
) -> Result<Response, Problem> {
    writable(&state, &caller, (&id, Some(kind)), (Action::CredentialsDestroy, &intent))?;
    let destroyed = state.service.destroy_versions(id, kind, None, intent).await?;
    let Acknowledged { value, coherence } = destroyed.ok_or_else(Problem::tenant_not_found)?;
    Ok(reply::acknowledged(Json(json!({"destroyed": value})), coherence))
}

fn answer(message: &str, set: Option<Acknowledged<CredentialsSet>>) -> Result<Response, Problem> {
    let Acknowledged { value, coherence } = set.ok_or_else(Problem::tenant_not_found)?;
    let body = json!({"message": message, "version": value.version});
    let answer = reply::acknowledged(Json(body), coherence);
    Ok(reply::tagged(answer, &version_tag(&value.id, value.version)))
}

fn version_of(body: Value) -> Result<Version, Problem> {
    let mut fields = Fields::of(body, &["version"])?;
    let number = fields.take("version").and_then(|value| value.as_i64());
    Ok(number.and_then(Version::new).ok_or_else(Version::invalid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_names_a_version() {
        assert_eq!(version_of(json!({"version": 3})).unwrap().get(), 3);
        for body in [
            json!({}),
            json!({"version": null}),
            json!({"version": 0}),
            json!({"version": -1}),
            json!({"version": 1.5}),
            json!({"version": "3"}),
            json!({"version": u64::MAX}),
            json!({"version": [3]}),
            json!({"version": 3, "type": "whatsapp"}),
            json!(3),
        ] {
            assert_eq!(version_of(body.clone()).unwrap_err().status(), 400, "{body}");
        }
    }
}
