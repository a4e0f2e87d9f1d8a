//! What the service tells of itself: metrics and logs.

pub mod logging;
pub mod metrics;
pub mod panics;
pub mod requests;
