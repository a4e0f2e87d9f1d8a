//! Caches, changes and evictions, over several replicas.

mod audit;
mod burst;
mod eviction;
mod fence;
pub mod fleet;
pub mod gate;
mod lease;
mod moves;
mod redis_loss;
mod refill;
mod sources;
mod stampede;
mod trust;
