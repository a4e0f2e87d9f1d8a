//! Builds everything from a [`Config`], runs it, and ends it in order.

mod banner;
mod core;
mod keyring;
mod keys;
mod lifecycle;
mod memory;
mod seed;
mod serve;
mod verify;

pub use self::core::{Core, close_store, open};
pub use self::keys::{KeyReport, retire, rotate, status};
pub use self::memory::keep_memory_private;
pub use self::seed::{SeedFile, SeedReport, load, parse};
pub use self::serve::serve;
pub use self::verify::{Report, Verdict, verify};
