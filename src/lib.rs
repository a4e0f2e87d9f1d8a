pub mod cache;
pub mod coherence;
pub mod domain;
pub mod http;
pub mod service;
pub mod store;
pub mod telemetry;
