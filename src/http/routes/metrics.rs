//! What Prometheus scrapes. It holds no id of anybody, so it needs no token.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

use crate::http::state::Shared;
use crate::telemetry::metrics;

/// Metrics
///
/// In the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operation",
    responses((status = 200, description = "All metrics of this replica", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(state): State<Shared>) -> impl IntoResponse {
    let headers =
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, metrics::render(&state.metrics))
}
