//! The API's document: written with the handlers, completed from the table of operations.

use utoipa::OpenApi;

use super::routes::{credentials, docs, genesys, health, lookups, metrics, tenants};

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
        tenants::list,
        tenants::create,
        tenants::get,
        tenants::patch,
        tenants::delete,
        health::health,
        health::livez,
        health::readyz,
        metrics::metrics,
        docs::openapi_json,
        docs::to_index,
    )
)]
struct Written;

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Written::openapi()
}
