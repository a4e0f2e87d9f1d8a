pub mod coherence;
pub mod domain;
pub mod store;
pub mod telemetry;
