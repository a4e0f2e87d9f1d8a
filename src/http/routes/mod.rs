//! One file a resource: its error cases, documentation, handlers and tests.

pub mod audit;
pub mod credentials;
pub mod docs;
pub mod genesys;
pub mod health;
pub mod lookups;
pub mod metrics;
pub mod tenants;
pub mod tokens;
pub mod versions;
