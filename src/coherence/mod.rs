//! The protocol's decisions, pure: no I/O, no clock, no randomness, no lock of its own.
//!
//! What is decided here is what the rest of the service may not decide differently: which changes
//! a poll has seen ([`Cursor`]), and whether a load that ran beside an eviction may be stored or
//! joined ([`Stripe`]). Callers bring the lock and the data.

mod cursor;
mod epoch;

pub use cursor::{Cursor, LogHead, LogIdentity, Restart, Snapshot, SnapshotError};
pub use epoch::{Admission, Epoch, Flight, Stripe};
