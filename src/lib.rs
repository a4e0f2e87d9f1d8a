pub mod cache;
pub mod coherence;
pub mod config;
pub mod domain;
pub mod feed;
pub mod service;
pub mod store;
pub mod telemetry;
