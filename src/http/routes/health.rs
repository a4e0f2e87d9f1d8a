//! How are you? For load balancers, orchestrators and people; none of it needs a token.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cache::Standing;
use crate::http::schema;
use crate::http::state::Shared;
use crate::service::{Health, Readiness};

/// How the service and what it depends on are
///
/// Without Redis the service is slower and no less right: `degraded`, and still 200. Without the
/// database it serves what it knows for a while: `unavailable`, 503.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operation",
    responses(
        (status = 200, description = "The database answers", body = schema::Health),
        (status = 503, description = "It does not", body = schema::Health),
    )
)]
pub async fn health(State(state): State<Shared>) -> Response {
    let (status, body) = report(state.service.health().await, Timestamp::now());
    answer(status, body)
}

/// Whether the process is alive
///
/// 200 for as long as it can answer at all: restarting it would not bring a database back.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "Operation",
    responses((status = 200, description = "It is", body = schema::Ready, example = json!({"status": "alive"})))
)]
pub async fn livez() -> Response {
    answer(StatusCode::OK, json!({"status": "alive"}))
}

/// Whether this replica may take traffic
///
/// 200 for as long as look-ups are answered, and what they are answered from: a replica that reads the
/// database for each, or that has memory alone, is slower or may be out of date, and better than none.
/// 503 once it was told to stop, though for three seconds it still answers whoever comes, then finishes
/// what it has; and where it has nothing to answer from. (It listens only after it has migrated the
/// database and begun to read the log of changes.)
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "Operation",
    responses(
        (status = 200, description = "It may: `ready`, `fenced` or `stale`", body = schema::Ready),
        (status = 503, description = "It may not: `stopping` or `unavailable`", body = schema::Ready, example = json!({"status": "stopping", "reason": "this replica is about to stop"})),
    )
)]
pub async fn readyz(State(state): State<Shared>) -> Response {
    let (code, status, reason) = standing(state.service.readiness());
    let mut body = json!({"status": status});
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    answer(code, body)
}

const fn standing(readiness: Readiness) -> (StatusCode, &'static str, Option<&'static str>) {
    const OK: StatusCode = StatusCode::OK;
    const NO: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match readiness {
        Readiness::Serving(Standing::Current) => (OK, "ready", None),
        Readiness::Serving(Standing::Fenced) => (
            OK,
            "fenced",
            Some("the log of changes is not read in time; every read asks the database"),
        ),
        Readiness::Serving(Standing::Stale) => (
            OK,
            "stale",
            Some("the database is away; look-ups are answered from memory and labelled"),
        ),
        Readiness::Serving(Standing::Nothing) => (
            NO,
            "unavailable",
            Some("the database has been away for longer than STALE_BUDGET_SECONDS"),
        ),
        Readiness::Stopping => (NO, "stopping", Some("this replica is about to stop")),
    }
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn report(health: Health, now: Timestamp) -> (StatusCode, Value) {
    let (code, status) = match (health.database, health.redis) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (true, Some(false)) => (StatusCode::OK, "degraded"),
        (true, Some(true) | None) => (StatusCode::OK, "ok"),
    };
    let connected = |is_connected| if is_connected { "connected" } else { "disconnected" };
    let body = json!({
        "status": status,
        "database": connected(health.database),
        "redis": health.redis.map_or("disabled", connected),
        "timestamp": now.to_string(),
    });
    (code, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_makes_it_unavailable() {
        for (database, redis, code, status, redis_text) in [
            (true, None, 200, "ok", "disabled"),
            (true, Some(true), 200, "ok", "connected"),
            (true, Some(false), 200, "degraded", "disconnected"),
            (false, Some(true), 503, "unavailable", "connected"),
            (false, None, 503, "unavailable", "disabled"),
        ] {
            let (found, body) = report(Health { database, redis }, Timestamp::UNIX_EPOCH);
            let database = if database { "connected" } else { "disconnected" };
            assert_eq!(found.as_u16(), code);
            let expected = json!({
                "status": status,
                "database": database,
                "redis": redis_text,
                "timestamp": "1970-01-01T00:00:00Z",
            });
            assert_eq!(body, expected);
        }
    }
}
