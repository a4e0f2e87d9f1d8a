//! **tenant-service**: whose phone number or integration is this, and which secret do I act with?
//!
//! Layers point down only, and peers never import each other (`tests/it/layers.rs` fails otherwise):
//!
//! ```text
//! cli        one file a command
//! app        builds everything from the configuration; starts, supervises and ends it
//! http       routes, extractors, problems: the only place that knows of statuses
//! service    look-ups and writes, without a transport
//! feed       learning of changes and telling of them: Redis, NOTIFY, the poll; one way to apply
//! store · cache                 the truth (Postgres, SQLite) · two tiers of memory (L1, Redis)
//! config · telemetry · coherence · crypto
//!            configuration · logs and metrics · the protocol, pure · sealing, and the keyring
//! domain     types that cannot be wrong
//! ```
//!
//! A change flows one way: `http → service → store` (commit) `→ feed → bus → feed → cache`. A
//! look-up goes `http → service → cache`, which is handed the loader.

pub mod app;
pub mod cache;
pub mod cli;
pub mod coherence;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod feed;
pub mod http;
pub mod service;
pub mod store;
pub mod telemetry;
