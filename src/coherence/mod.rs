//! The protocol's decisions, pure: no I/O, no clock, no randomness, no lock of its own.
//!
//! What is decided here is what the rest of the service may not decide differently:
//!
//! - which changes a poll has seen, and whether the log goes on where it was left ([`Cursor`]);
//! - whether a load that ran beside an eviction may be stored or joined ([`Stripe`]);
//! - in which order a change takes effect ([`Application`]);
//! - which writes a replica may acknowledge ([`Applied`]);
//! - up to when what is cached may be served ([`Fence`]);
//! - which answers a read may give ([`Reading`]);
//! - in which order a replica begins, and begins anew ([`Start`]);
//! - when a write may be acknowledged ([`Barrier`]);
//! - whether what Redis holds may be believed ([`Trust`]).
//!
//! Callers bring the lock, the clock and the data. The model (`model/`, a crate of its own)
//! drives the same code through every order of events.

mod applied;
mod apply;
mod barrier;
mod clock;
mod cursor;
mod epoch;
mod fence;
mod read;
mod start;
mod trust;

pub use applied::Applied;
pub use apply::{Application, Step};
pub use barrier::{Barrier, Census, Instance, Verdict};
pub use clock::Moment;
pub use cursor::{Cursor, LogHead, LogIdentity, Restart, Snapshot, SnapshotError};
pub use epoch::{Admission, Epoch, Flight, Stripe};
pub use fence::{Bound, Deadline, Fence, Renewal, Renewed};
pub use read::{Reading, Source};
pub use start::{Start, StartStep};
pub use trust::{Introduction, Marker, Trust, Unknown, introduce};
