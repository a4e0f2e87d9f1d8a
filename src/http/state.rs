//! What handlers are given.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use super::auth::Names;
use crate::domain::Scopes;
use crate::service::Service;

/// Everything that the routes need, made once at start.
pub struct AppState {
    /// The service that answers.
    pub service: Service,
    /// What a caller without a token may do.
    pub anonymous: Scopes,
    /// By which names it may be called.
    pub names: Names,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// How long things may take.
    pub limits: Limits,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From its head to its answer's head. Longer than anything that a healthy write waits for,
    /// shorter than the patience of a load balancer (nginx: 60 s).
    pub request: Duration,
    /// Until its body is here. Shorter than `request`, so that a slow client is told that it was
    /// slow, and not that we were.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: Duration::from_secs(20), body: Duration::from_secs(10) }
    }
}

/// The state as handlers extract it.
pub type Shared = Arc<AppState>;
