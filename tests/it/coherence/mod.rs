//! Caches, changes and evictions, over several replicas.

mod audit;
mod barrier;
mod burst;
mod eviction;
mod expiry;
mod fence;
pub mod fleet;
pub mod gate;
mod identity;
mod introduction;
mod lease;
mod moves;
pub mod outage;
mod redis_loss;
mod refill;
mod sealed;
mod sentinel;
mod sources;
mod stampede;
mod tier;
mod trust;
mod versions;
