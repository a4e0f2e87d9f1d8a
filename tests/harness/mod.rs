//! The harness: real servers, real replicas, nothing left behind.
//!
//! Include it as a *public* module; a private one would warn about whatever the includer leaves
//! unused:
//!
//! ```ignore
//! #[path = "../harness/mod.rs"]
//! pub mod harness;
//! ```
//!
//! Its own tests are for one includer, as `#[path = "../harness/tests.rs"] mod harness_tests;`
//! beside it. In here they would warn in benches, which have `cfg(test)` and no `#[test]`.
//!
//! A test reads like this:
//!
//! ```ignore
//! let db = Postgres::database().await;
//! let redis = Redis::start().await;
//! let [a, b]: [Replica; 2] = Cluster::start(2, &db, Some(&redis)).await.try_into().unwrap();
//! let before = b.metrics().await;
//! a.put_json("/api/tenants/t/credentials", &body).await.expecting(200);
//! assert_eq!(b.get("/api/tenants/by-phone/1").await.cache_status(), "tenant-service; fwd=miss");
//! ```
//!
//! Everything here panics when a server does not do as told: a test has no better use for such an
//! error. Nothing that is shared between tests holds on to a runtime, since each test has its own.

#![expect(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "public for the compiler's sake alone: what needs no words gets none"
)]
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says what it saw"
)]

pub mod bed;
pub mod cli;
pub mod database;
pub mod eventually;
pub mod fault;
pub mod guard;
pub mod history;
pub mod http;
mod installation;
pub mod keyring;
pub mod load;
pub mod metrics;
pub mod monitor;
pub mod pki;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod replica;
pub mod rotation;
pub mod scratch;

pub use cli::{Output, run_cli, run_cli_unprivileged, spawn_cli_in, spawn_cli_unprivileged};
pub use database::Database;
pub use eventually::{Watch, eventually};
pub use http::{Answer, Call};
pub use metrics::Metrics;
pub use monitor::Monitor;
pub use pki::Authority;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::{Redis, Sentinel};
pub use replica::{Cluster, Replica};
pub use scratch::Scratch;
