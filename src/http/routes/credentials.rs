//! With which secret do I act for them? Masked by default; in full with a scope of its own, and
//! never before that is in the audit trail.
//!
//! What they were, and the ways back: see [`super::versions`].
//!
//! Errors: 400 for a tenant id, a type or an object that is none; 404 where the tenant is absent
//! or suspended or has no such credentials (which of these, nobody is told); 422 for a mask that is
//! sent as if it were a secret.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::{readable, writable};
use crate::cache::{CredentialViews, Document};
use crate::domain::{Action, By, CredentialType, Credentials, Invalid, TenantId, version_tag};
use crate::http::auth::Caller;
use crate::http::extract::{Fields, IfNoneMatch, JsonBody, Query, Segment, Segments};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::state::Shared;
use crate::http::{reply, schema};
use crate::service::{Acknowledged, Intent, Revealed, Shown};
use crate::store::CredentialsSet;

/// A tenant's credentials, masked
///
/// Fields that are known to be public are shown; everything else is a secret, shown as `***` and,
/// if it has 16 characters or more, its last 4.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials",
    tag = "Credentials",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Query, description = "The type of credentials", example = "whatsapp"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The credential object", body = schema::MaskedCredentials, headers(("ETag" = String, description = "The version")), example = json!({"access_token": "***4567", "phone_number_id": "123456789", "business_account_id": "100200300"})),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "No such type, or not an id: `invalid_value`, `invalid_query`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has such credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn masked(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    caller: Caller,
    by: By,
    query: Query,
    known: IfNoneMatch,
) -> Result<Reply, Problem> {
    let kind = kind_of(&query)?;
    if !readable(&state, &caller, (&id, Some(kind)), by) {
        return Ok(reply::hidden(Problem::credentials_not_found(kind), None));
    }
    let found = state.service.credentials(id, kind).await?;
    Ok(match found.value {
        Some(views) => {
            let (body, etag) = (views.masked.clone(), views.etag.clone());
            reply::document(Document { body, etag }, found.via, &known)
        }
        None => reply::absent(Problem::credentials_not_found(kind), found.via),
    })
}

/// A tenant's credentials, with their secrets
///
/// The object as it was set, with every field that it has. Each of these answers is audited, and
/// to be kept nowhere (`Cache-Control: no-store`). Whoever has the object in memory can ask whether it
/// is still the same (`If-None-Match`): that shows nothing of it, and is not audited.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials/{type}",
    tag = "Credentials",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "genesys"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The credential object", body = schema::Credentials, headers(("ETag" = String, description = "The version")), example = json!({"clientId": "made-up-client", "clientSecret": "EXAMPLE-not-a-real-secret", "region": "mypurecloud.de", "integrationId": "demo-integration-001"})),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "No such type, or not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has such credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn full(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    known: IfNoneMatch,
    caller: Caller,
    by: By,
) -> Result<Reply, Problem> {
    let full = |views: &CredentialViews| Some(views.full.clone());
    reveal(&state, (id, kind), &known, (&caller, by), (Shown::Full, full)).await
}

/// A tenant's WhatsApp credentials, with their secrets, under Meta's names
///
/// Audited like every answer that shows a secret. What is not stored is null.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials/meta",
    tag = "Credentials",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The credentials", body = schema::Meta, headers(("ETag" = String, description = "The version"))),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has whatsapp credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn meta(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    known: IfNoneMatch,
    caller: Caller,
    by: By,
) -> Result<Reply, Problem> {
    let whose = (id, CredentialType::Whatsapp);
    let meta = |views: &CredentialViews| views.meta.clone();
    reveal(&state, whose, &known, (&caller, by), (Shown::Meta, meta)).await
}

/// Set a tenant's credentials
///
/// They replace those of the same type as a whole, and so does `expires_at` theirs: without it, they have
/// no end. Every replica is told, and evicts the old ones.
#[utoipa::path(
    put,
    path = "/api/tenants/{id}/credentials",
    tag = "Credentials",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    request_body = schema::SetCredentials,
    responses(
        (status = 200, description = "They are set", body = schema::CredentialsSet, headers(("ETag" = String, description = "The new version"))),
        (status = 400, description = "Not credentials of that type: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value looks like a mask: `masked_value`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    caller: Caller,
    intent: Intent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Acknowledged { value: set, coherence } = write(&state, id, body, &caller, intent).await?;
    let answer = json!({"message": "Credentials updated successfully", "version": set.version});
    let answer = reply::acknowledged(Json(answer), coherence);
    Ok(reply::tagged(answer, &version_tag(&set.id, set.version)))
}

/// Store a tenant's credentials
///
/// The same as setting them, with another answer.
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/credentials",
    tag = "Credentials",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    request_body = schema::SetCredentials,
    responses(
        (status = 200, description = "They are stored", body = schema::CredentialsStored, headers(("ETag" = String, description = "The new version"))),
        (status = 400, description = "Not credentials of that type: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value looks like a mask: `masked_value`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn store(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    caller: Caller,
    intent: Intent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Acknowledged { value: set, coherence } = write(&state, id, body, &caller, intent).await?;
    let answer = json!({"success": true, "credentialId": set.id, "version": set.version});
    let answer = reply::acknowledged(Json(answer), coherence);
    Ok(reply::tagged(answer, &version_tag(&set.id, set.version)))
}

/// Answers with secrets, once that is in the audit trail; or that they are those that the caller has.
async fn reveal(
    state: &Shared,
    (id, kind): (TenantId, CredentialType),
    known: &IfNoneMatch,
    (caller, by): (&Caller, By),
    (shown, view): (Shown, impl FnOnce(&CredentialViews) -> Option<Bytes>),
) -> Result<Reply, Problem> {
    let absent = Problem::credentials_not_found(kind);
    if !caller.sees_credentials(&id, kind) {
        state.service.denied(by, Action::CredentialsReveal, &id, Some(kind));
        return Ok(reply::hidden(absent, None));
    }
    // Who says `*` need not have it, and nothing is entered of who has.
    let is_known = |etag: &[u8]| known.names(etag);
    Ok(match state.service.reveal(id, kind, shown, is_known, by).await? {
        Revealed::Absent(via) => reply::absent(absent, via),
        Revealed::Same(etag, via) => reply::same_secret(etag, via),
        Revealed::Shown(views, via) => match view(&views) {
            Some(body) => reply::secret(Document { body, etag: views.etag.clone() }, via),
            None => reply::absent(absent, via),
        },
    })
}

async fn write(
    state: &Shared,
    id: TenantId,
    body: Value,
    caller: &Caller,
    intent: Intent,
) -> Result<Acknowledged<CredentialsSet>, Problem> {
    let (kind, credentials) = credentials_of(body)?;
    writable(state, caller, (&id, Some(kind)), (Action::CredentialsSet, &intent))?;
    let set = state.service.set_credentials(id, kind, credentials, None, intent).await?;
    set.ok_or_else(Problem::tenant_not_found)
}

fn kind_of(query: &Query) -> Result<CredentialType, Problem> {
    let [kind] = query.only(["type"])?;
    let missing = || Invalid::new("type", "is required, and must be whatsapp or genesys");
    Ok(kind.ok_or_else(missing)?.parse()?)
}

fn credentials_of(body: Value) -> Result<(CredentialType, Credentials), Problem> {
    let mut fields = Fields::of(body, &["type", "credentials", "expires_at"])?;
    let kind: CredentialType = fields.required("type")?;
    let missing = || Invalid::new("credentials", "is required");
    let credentials = fields.take("credentials").ok_or_else(missing)?;
    let expires_at = fields.optional("expires_at")?;
    Ok((kind, Credentials::new(kind, credentials)?.expiring(expires_at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_type_and_an_object() {
        let body = json!({"type": "whatsapp", "credentials": {"access_token": "NEW_TOKEN"}});
        let (kind, credentials) = credentials_of(body).unwrap();
        assert_eq!(
            (kind, credentials.text("access_token")),
            (CredentialType::Whatsapp, Some("NEW_TOKEN"))
        );
        assert_eq!(credentials.expires_at(), None);
        let end = "2030-01-02T03:04:05Z";
        for (given, expected) in [(json!(end), end.parse().ok()), (Value::Null, None)] {
            let credentials = json!({"access_token": "NEW_TOKEN"});
            let body = json!({"type": "whatsapp", "credentials": credentials, "expires_at": given});
            assert_eq!(credentials_of(body).unwrap().1.expires_at(), expected);
        }
        for (body, status) in [
            (json!({"credentials": {"a": "b"}}), 400),
            (json!({"type": "sip", "credentials": {"a": "b"}}), 400),
            (json!({"type": 1, "credentials": {"a": "b"}}), 400),
            (json!({"type": "whatsapp"}), 400),
            (json!({"type": "whatsapp", "credentials": null}), 400),
            (json!({"type": "whatsapp", "credentials": []}), 400),
            (json!({"type": "whatsapp", "credentials": "hunter2"}), 400),
            (json!({"type": "whatsapp", "credentials": {}}), 400),
            (json!({"type": "whatsapp", "credentials": {"access_token": 1}}), 400),
            (json!({"type": "whatsapp", "credentials": {"a": "b"}, "c": 1}), 400),
            (json!({"type": "whatsapp", "credentials": {"a": "b"}, "expires_at": "hunter2"}), 400),
            (json!({"type": "whatsapp", "credentials": {"a": "b"}, "expires_at": 1}), 400),
            (json!({"type": "whatsapp", "credentials": {"access_token": "***4567"}}), 422),
            (json!([]), 400),
        ] {
            let refused = credentials_of(body.clone()).unwrap_err();
            assert_eq!(refused.status().as_u16(), status, "{body}");
            assert!(!String::from_utf8(refused.render("")).unwrap().contains("hunter2"));
        }
    }
}
