//! Builds everything from a [`Config`], runs it, and ends it in order.

mod banner;
mod core;
mod lifecycle;
mod seed;
mod serve;

pub use self::core::Core;
pub use self::seed::{DEMO, SeedReport, seed};
pub use self::serve::serve;
