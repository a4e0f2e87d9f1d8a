//! Caches, changes and evictions, over several replicas.

mod burst;
mod eviction;
mod fence;
pub mod fleet;
pub mod gate;
mod lease;
mod moves;
mod outage;
mod redis_loss;
mod refill;
mod sources;
mod stampede;
mod trust;
