//! The access log: one line a request, with a route's template and never what a caller sent.

use std::time::Duration;

use axum::http::{Method, Response};
use tracing::{debug, error, info};

use super::Endpoint;
use super::meters::method_name;
use crate::http::problem::Problem;
use crate::http::reply::CACHE_STATUS;

const TARGET: &str = "tenant_service::access";

/// Logs an answer: a failure of ours as an error, a write as information, all else for debugging
/// (who floods us with requests that are refused shall not flood the log as well).
pub fn answered<B>(
    endpoint: &Endpoint,
    method: &Method,
    response: &Response<B>,
    took: Duration,
    request_id: &str,
    problem: Option<&Problem>,
) {
    // The fields are expressions of the macro: nothing is looked up for a level that is off.
    macro_rules! line {
        ($level:ident) => {
            $level!(
                target: TARGET,
                method = method_name(method),
                route = endpoint.route,
                status = response.status().as_u16(),
                duration_us = micros(took),
                request_id,
                cache = cache(response),
                code = problem.map(Problem::code),
                cause = problem.and_then(Problem::cause),
                "request"
            )
        };
    }
    let is_refused = problem.is_some_and(Problem::is_refusal);
    if response.status().is_server_error() && !is_refused {
        line!(error);
    } else if is_write(method) && !is_refused {
        line!(info);
    } else {
        line!(debug);
    }
}

/// Logs a request that was not answered.
pub fn abandoned(endpoint: &Endpoint, method: &Method, took: Duration, request_id: &str) {
    macro_rules! line {
        ($level:ident) => {
            $level!(
                target: TARGET,
                method = method_name(method),
                route = endpoint.route,
                duration_us = micros(took),
                request_id,
                "the client hung up"
            )
        };
    }
    if is_write(method) {
        line!(info);
    } else {
        line!(debug);
    }
}

fn is_write(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// `l1`, `l2` or `miss`: the last word of `Cache-Status`.
fn cache<B>(response: &Response<B>) -> Option<&str> {
    response.headers().get(CACHE_STATUS)?.to_str().ok()?.rsplit('=').next()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn the_tier_is_read_off_the_answer() {
        for (status, tier) in
            [("tenant-service; hit; detail=l1", "l1"), ("tenant-service; fwd=miss", "miss")]
        {
            assert_eq!(cache(&([(CACHE_STATUS, status)], ()).into_response()), Some(tier));
        }
        assert_eq!(cache(&().into_response()), None);
    }
}
