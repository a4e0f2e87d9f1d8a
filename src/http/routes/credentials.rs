//! With which secret do I act for them? Masked by default; in full with a scope of its own, and
//! never before that is in the audit trail.
//!
//! Errors: 400 for a tenant id, a type or an object that is none; 404 where the tenant is absent
//! or suspended or has no such credentials (which of these, nobody is told); 422 for a mask that is
//! sent as if it were a secret.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::cache::{CredentialViews, Found};
use crate::domain::{By, CredentialType, Credentials, Invalid, TenantId};
use crate::http::extract::{Fields, JsonBody, Query, Segment, Segments};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::state::Shared;
use crate::http::{reply, schema};
use crate::service::{Acknowledged, Shown, Wait};
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
    ),
    responses(
        (status = 200, description = "The credential object", body = schema::MaskedCredentials, example = json!({"access_token": "***4567", "phone_number_id": "123456789", "business_account_id": "100200300"})),
        (status = 400, description = "No such type, or not an id: `invalid_value`, `invalid_query`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has such credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn masked(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    query: Query,
) -> Result<Reply, Problem> {
    let kind = kind_of(&query)?;
    let found = state.service.credentials(id, kind).await?;
    Ok(match found.value {
        Some(views) => reply::revalidated(views.masked.clone(), found.via),
        None => reply::absent(Problem::credentials_not_found(kind), found.via),
    })
}

/// A tenant's credentials, with their secrets
///
/// The object as it was set, with every field that it has. Each of these answers is audited, and
/// to be kept nowhere (`Cache-Control: no-store`).
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials/{type}",
    tag = "Credentials",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("type" = schema::CredentialType, Path, description = "The type of credentials", example = "genesys"),
    ),
    responses(
        (status = 200, description = "The credential object", body = schema::Credentials, example = json!({"clientId": "made-up-client", "clientSecret": "EXAMPLE-not-a-real-secret", "region": "mypurecloud.de", "integrationId": "demo-integration-001"})),
        (status = 400, description = "No such type, or not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has such credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn full(
    State(state): State<Shared>,
    Segments(id, kind): Segments<TenantId, CredentialType>,
    by: By,
) -> Result<Reply, Problem> {
    let views = state.service.reveal(id, kind, Shown::Full, by).await?;
    Ok(secret(&views, kind, |views| Some(views.full.clone())))
}

/// A tenant's WhatsApp credentials, with their secrets, under Meta's names
///
/// Audited like every answer that shows a secret. What is not stored is null.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/credentials/meta",
    tag = "Credentials",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    responses(
        (status = 200, description = "The credentials", body = schema::Meta),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has whatsapp credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn meta(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    by: By,
) -> Result<Reply, Problem> {
    let kind = CredentialType::Whatsapp;
    let views = state.service.reveal(id, kind, Shown::Meta, by).await?;
    Ok(secret(&views, kind, |views| views.meta.clone()))
}

/// Set a tenant's credentials
///
/// They replace those of the same type as a whole. Every replica is told, and evicts the old ones.
#[utoipa::path(
    put,
    path = "/api/tenants/{id}/credentials",
    tag = "Credentials",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    request_body = schema::SetCredentials,
    responses(
        (status = 200, description = "They are set", body = schema::CredentialsSet),
        (status = 400, description = "Not credentials of that type: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value looks like a mask: `masked_value`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    by: By,
    wait: Wait,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Acknowledged { value: set, coherence } = write(&state, id, body, by, wait).await?;
    let answer = json!({"message": "Credentials updated successfully", "version": set.version});
    Ok(reply::acknowledged(Json(answer), coherence))
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
        (status = 200, description = "They are stored", body = schema::CredentialsStored),
        (status = 400, description = "Not credentials of that type: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value looks like a mask: `masked_value`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn store(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    by: By,
    wait: Wait,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Acknowledged { value: set, coherence } = write(&state, id, body, by, wait).await?;
    let answer = json!({"success": true, "credentialId": set.id, "version": set.version});
    Ok(reply::acknowledged(Json(answer), coherence))
}

/// The answer with secrets, once it may be given.
fn secret(
    found: &Found<Arc<CredentialViews>>,
    kind: CredentialType,
    view: impl FnOnce(&CredentialViews) -> Option<Bytes>,
) -> Reply {
    match found.value.as_deref().and_then(view) {
        Some(body) => reply::secret(body, found.via),
        None => reply::absent(Problem::credentials_not_found(kind), found.via),
    }
}

async fn write(
    state: &Shared,
    id: TenantId,
    body: Value,
    by: By,
    wait: Wait,
) -> Result<Acknowledged<CredentialsSet>, Problem> {
    let (kind, credentials) = credentials_of(body)?;
    let set = state.service.set_credentials(id, kind, credentials, None, by, wait).await?;
    set.ok_or_else(Problem::tenant_not_found)
}

fn kind_of(query: &Query) -> Result<CredentialType, Problem> {
    let [kind] = query.only(["type"])?;
    let missing = || Invalid::new("type", "is required, and must be whatsapp or genesys");
    Ok(kind.ok_or_else(missing)?.parse()?)
}

fn credentials_of(body: Value) -> Result<(CredentialType, Credentials), Problem> {
    let mut fields = Fields::of(body, &["type", "credentials"])?;
    let kind: CredentialType = fields.required("type")?;
    let missing = || Invalid::new("credentials", "is required");
    let credentials = fields.take("credentials").ok_or_else(missing)?;
    Ok((kind, Credentials::new(kind, credentials)?))
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
            (json!({"type": "whatsapp", "credentials": {"access_token": "***4567"}}), 422),
            (json!([]), 400),
        ] {
            let refused = credentials_of(body.clone()).unwrap_err();
            assert_eq!(refused.status().as_u16(), status, "{body}");
            assert!(!String::from_utf8(refused.render("")).unwrap().contains("hunter2"));
        }
    }
}
