//! HTTP: the table of operations, what they accept, what they answer.
//!
//! A request comes over a connection ([`server`], and `tls` where a certificate is configured) and passes through three things and no more:
//! axum's router, one [`middleware`] (request id, scope, time limit, panics, metrics, access log)
//! and its handler in `routes`; a look-up that is in memory does without the first ([`front`]).
//! Whatever goes wrong becomes a [`problem::Problem`]; its file is the only one that maps to a
//! status.
//!
//! Architecture Invariant: no value that a caller sent is in an error, a log line or a metric.

pub mod auth;
mod client;
pub mod extract;
pub mod front;
mod head_timer;
pub mod middleware;
pub mod openapi;
pub mod problem;
mod rate;
pub mod reply;
pub mod router;
pub(crate) mod routes;
pub mod schema;
pub mod server;
pub mod state;
mod stranger;
mod tls;

pub use front::Front;
pub use openapi::document;
pub use rate::{RateLimit, TokenRates};
pub use routes::tenants::new_tenant;
pub use routes::tokens::shown as shown_token;
pub use server::serve;
pub use state::{AppState, Limits};
pub use stranger::Reach;
pub use tls::{Tls, TlsError};
