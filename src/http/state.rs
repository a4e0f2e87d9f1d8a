//! What handlers are given.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use super::rate::{RateLimit, TokenRates};
use super::stranger::Reach;
use crate::config::Networks;
use crate::domain::Scopes;
use crate::service::Service;

/// Everything that the routes need, made once at start.
pub struct AppState {
    /// The service that answers.
    pub service: Service,
    /// What a caller without a token may do.
    pub anonymous: Scopes,
    /// From where it may be called.
    pub reach: Reach,
    /// Of how many requests may be worked on at a time.
    pub places: Option<Arc<Semaphore>>,
    /// How often a client may ask.
    pub rates: Option<Arc<RateLimit>>,
    /// How often the bearer of a token may ask.
    pub token_rates: Option<Arc<TokenRates>>,
    /// The proxies that say whom they speak for.
    pub proxies: Networks,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// How long things may take.
    pub limits: Limits,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From its head to its answer's head. Shorter than the patience of a load balancer (nginx:
    /// 60 s).
    pub request: Duration,
    /// The same for a request that may write, and then wait for the other replicas.
    pub write: Duration,
    /// Until its body is here. Shorter than `request`, so that a slow client is told that it was
    /// slow, and not that we were.
    pub body: Duration,
}

impl Limits {
    /// How long requests may take where a write waits for `bound` at most. After that there is an
    /// answer, so the limit is later.
    #[must_use]
    pub fn with_writes_that_wait(bound: Duration) -> Self {
        let request = Duration::from_secs(20);
        let write = request.max(bound + Duration::from_secs(5));
        Self { request, write, body: Duration::from_secs(10) }
    }
}

/// The state as handlers extract it.
pub type Shared = Arc<AppState>;
