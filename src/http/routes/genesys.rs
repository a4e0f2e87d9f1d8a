//! Genesys credentials, with the tenant's integration and region.
//!
//! Errors: those of credentials, and 409 where another tenant has the integration.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{readable, writable};
use crate::cache::{CredentialViews, Document};
use crate::domain::{
    Action, By, CredentialType, Credentials, IntegrationId, Invalid, Region, TenantId, version_tag,
};
use crate::http::auth::Caller;
use crate::http::extract::{Fields, IfNoneMatch, JsonBody, Segment};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::state::Shared;
use crate::http::{reply, schema};
use crate::service::{Acknowledged, Intent};
use crate::store::GenesysLink;

const FIELDS: [&str; 6] =
    ["clientId", "clientSecret", "region", "integrationId", "webhookSecret", "expires_at"];

/// Set a tenant's Genesys credentials
///
/// In one transaction, also sets the tenant's integration and region. Without `expires_at`, they have no
/// end, whatever those before had.
#[utoipa::path(
    put,
    path = "/api/tenants/{id}/genesys/credentials",
    tag = "Credentials",
    operation_id = "set_genesys",
    params(("id" = String, Path, description = "The tenant", example = "demo-tenant-001")),
    request_body = schema::SetGenesys,
    responses(
        (status = 200, description = "They are set", body = schema::GenesysSet, headers(("ETag" = String, description = "The new version"))),
        (status = 400, description = "A field is missing or not what it should be: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant: `tenant_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another tenant has this integration: `conflict`", body = schema::Problem, content_type = "application/problem+json"),
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
    let (credentials, link) = credentials_of(body)?;
    let region = link.region.domain();
    let kind = CredentialType::Genesys;
    writable(&state, &caller, (&id, Some(kind)), (Action::CredentialsSet, &intent))?;
    let set = state.service.set_credentials(id, kind, credentials, Some(link), intent).await?;
    let Acknowledged { value, coherence } = set.ok_or_else(Problem::tenant_not_found)?;
    let answer = json!({
        "message": "Genesys credentials updated successfully",
        "tenant": {
            "id": value.tenant.id,
            "name": value.tenant.name,
            "genesysRegion": region,
        },
    });
    let answer = reply::acknowledged(Json(answer), coherence);
    Ok(reply::tagged(answer, &version_tag(&value.id, value.version)))
}

/// A tenant's Genesys credentials, masked
///
/// A summary for administration pages.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/genesys/credentials",
    tag = "Credentials",
    operation_id = "genesys",
    params(
        ("id" = String, Path, description = "The tenant", example = "demo-tenant-001"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is here already"),
    ),
    responses(
        (status = 200, description = "The summary", body = schema::Genesys, headers(("ETag" = String, description = "The version"))),
        (status = 304, description = "The answer is still the one that the caller has"),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No active tenant has genesys credentials: `credentials_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(state): State<Shared>,
    Segment(id): Segment<TenantId>,
    known: IfNoneMatch,
    caller: Caller,
    by: By,
) -> Result<Reply, Problem> {
    let absent = Problem::credentials_not_found(CredentialType::Genesys);
    if !readable(&state, &caller, (&id, Some(CredentialType::Genesys)), by) {
        return Ok(reply::hidden(absent, None));
    }
    let found = state.service.credentials(id, CredentialType::Genesys).await?;
    let document = |views: &CredentialViews| {
        Some(Document { body: views.genesys.clone()?, etag: views.etag.clone() })
    };
    Ok(match found.value.as_deref().and_then(document) {
        Some(document) => reply::document(document, found.via, &known),
        None => reply::absent(absent, found.via),
    })
}

/// The credentials as they are stored (the region by its domain), and what they set on the tenant.
fn credentials_of(body: Value) -> Result<(Credentials, GenesysLink), Problem> {
    let mut fields = Fields::of(body, &FIELDS)?;
    let region: Region = fields.required("region")?;
    let integration_id: IntegrationId = fields.required("integrationId")?;
    let mut object = Map::new();
    for name in ["clientId", "clientSecret"] {
        let Given(text) = fields.required(name)?;
        object.insert(name.to_owned(), text.into());
    }
    if let Some(Given(text)) = fields.optional("webhookSecret")? {
        object.insert("webhookSecret".to_owned(), text.into());
    }
    object.insert("region".to_owned(), region.domain().into());
    object.insert("integrationId".to_owned(), integration_id.as_str().into());
    let credentials = Credentials::new(CredentialType::Genesys, Value::Object(object))?;
    let credentials = credentials.expiring(fields.optional("expires_at")?);
    Ok((credentials, GenesysLink { integration_id, region }))
}

/// Text as it was given, spaces around it included: it may be a secret.
struct Given(String);

impl FromStr for Given {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::new("text", "must be non-empty text"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Value {
        json!({"clientId": "c", "clientSecret": "s", "region": "APS1", "integrationId": "i"})
    }

    #[test]
    fn the_region_is_stored_by_its_domain() {
        let (credentials, link) = credentials_of(body()).unwrap();
        let stored = Value::Object(credentials.reveal().clone());
        let expected = json!({"clientId": "c", "clientSecret": "s", "region": "aps1.pure.cloud", "integrationId": "i"});
        assert_eq!(stored, expected);
        assert_eq!((link.region.domain(), link.integration_id.as_str()), ("aps1.pure.cloud", "i"));
        let mut with = body();
        with["webhookSecret"] = "w".into();
        assert_eq!(credentials_of(with).unwrap().0.text("webhookSecret"), Some("w"));
        let mut without = body();
        without["webhookSecret"] = Value::Null;
        assert_eq!(credentials_of(without).unwrap().0.text("webhookSecret"), None);
        let mut ending = body();
        ending["expires_at"] = "2030-01-02T03:04:05Z".into();
        let (ending, _) = credentials_of(ending).unwrap();
        assert_eq!(ending.expires_at(), "2030-01-02T03:04:05Z".parse().ok());
        assert_eq!(Value::Object(ending.reveal().clone()), expected, "no field of the object");
        let mut spaced = body();
        spaced["clientSecret"] = " s ".into();
        assert_eq!(credentials_of(spaced).unwrap().0.text("clientSecret"), Some(" s "));
    }

    #[test]
    fn refusals_name_the_field() {
        for (field, value, expected) in [
            ("clientId", Value::Null, "clientId: is required"),
            ("clientId", json!(" "), "clientId: must be non-empty text"),
            ("clientSecret", json!(5), "clientSecret: must be text"),
            ("region", json!(5), "region: must be text"),
            ("region", json!("hunter2"), "region: must be a Genesys Cloud domain"),
            ("integrationId", json!("a b"), "integrationId: must be 1 to 128"),
            ("expires_at", json!("hunter2"), "expires_at: must be a moment such as"),
            ("expires_at", json!(5), "expires_at: must be text or null"),
            ("webhookSecret", json!(""), "webhookSecret: must be non-empty text"),
            ("webhookSecret", json!(["hunter2"]), "webhookSecret: must be text or null"),
        ] {
            let mut body = body();
            body[field] = value;
            let refused = credentials_of(body).unwrap_err();
            assert_eq!(refused.status().as_u16(), 400, "{field}");
            let sentence = refused.sentence();
            assert!(sentence.starts_with(expected) && !sentence.contains("hunter2"), "{sentence}");
        }
        let mut masked = body();
        masked["clientSecret"] = "***cret".into();
        assert_eq!(credentials_of(masked).unwrap_err().status().as_u16(), 422);
        for field in ["clientId", "clientSecret", "region", "integrationId"] {
            let mut body = body();
            body.as_object_mut().unwrap().remove(field);
            assert_eq!(credentials_of(body).unwrap_err().status().as_u16(), 400, "{field}");
        }
    }
}
