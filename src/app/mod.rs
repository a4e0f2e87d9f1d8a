//! Builds everything from a [`Config`], runs it, and ends it in order.

mod audit;
mod banner;
mod core;
mod keyring;
mod keys;
mod lifecycle;
mod memory;
mod progress;
mod seed;
mod serve;
mod verify;

pub use self::audit::{AuditReport, Kept, verify_audit};
pub use self::core::{Core, close_store, open};
pub use self::keys::{KeyReport, retire, rotate, status};
pub use self::memory::keep_memory_private;
pub use self::seed::{SeedFile, SeedReport, load, parse};
pub use self::serve::serve;
pub use self::verify::{Report, Verdict, verify};
