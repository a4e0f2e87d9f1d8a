//! Every test that needs more than one module: through the front door, on real servers.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test that meets what it does not expect ends"
)]

#[path = "../harness/mod.rs"]
pub mod harness;
#[path = "../harness/tests.rs"]
mod harness_tests;

mod canary;
mod coherence;
mod faults;
mod http;
mod layers;
mod process;
mod redaction;
mod store;
mod tokens;
