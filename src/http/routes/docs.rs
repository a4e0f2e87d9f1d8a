//! The API's own document, and a page to read it with.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::Config;

use crate::domain::Invalid;
use crate::http::extract::Segment;
use crate::http::openapi;
use crate::http::problem::Problem;

/// Relative, so that both work behind a proxy that puts a path in front of ours.
static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from("../openapi.json").try_it_out_enabled(true)));

/// Serialised once: it is the same for the life of the process.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| openapi::document().to_pretty_json().unwrap_or_default().into());

/// This document
///
/// OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "Documentation",
    responses((status = 200, description = "The document", body = Object))
)]
pub async fn openapi_json() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], DOCUMENT.clone())
}

/// Swagger UI
///
/// Leads to the page, whose files are beside it.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "Documentation",
    responses((status = 307, description = "To `/docs/`", headers(("Location" = String, description = "`docs/`"))))
)]
pub async fn to_index() -> impl IntoResponse {
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "docs/")])
}

/// Swagger UI's page.
///
/// # Errors
/// 404 where the distribution of Swagger UI has no page.
pub async fn index() -> Result<Response, Problem> {
    serve("index.html")
}

/// A file of Swagger UI.
///
/// # Errors
/// 400 for a malformed path; 404 where there is no such file.
pub async fn file(Segment(FileName(name)): Segment<FileName>) -> Result<Response, Problem> {
    serve(&name)
}

/// Any text: which files there are, Swagger UI knows.
pub struct FileName(String);

impl FromStr for FileName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Ok(Self(text.to_owned()))
    }
}

fn serve(path: &str) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(path, Arc::clone(&CONFIG));
    let found = found.map_err(|_| Problem::internal(Some("Swagger UI can't be configured")))?;
    let file = found.ok_or_else(Problem::not_found)?;
    let body = Body::from(file.bytes.into_owned());
    let headers = [(CONTENT_TYPE, file.content_type), (CACHE_CONTROL, "no-cache".to_owned())];
    if file.gzpipped {
        return Ok((headers, [(CONTENT_ENCODING, "gzip")], body).into_response());
    }
    Ok((headers, body).into_response())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_page_finds_the_document() {
        for name in ["index.html", "swagger-ui.css", "swagger-ui-bundle.js"] {
            assert!(serve(name).is_ok(), "{name}");
        }
        let initializer = serve("swagger-initializer.js").unwrap();
        let body = initializer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("../openapi.json"));
        assert_eq!(serve("../Cargo.toml").unwrap_err().code(), "not_found");
    }
}
