//! Sealing: what a credential is in the database.
//!
//! [`envelope`] is pure: a value under a data key of its own, and that key under a key of the
//! keyring. [`Keyring`] knows which key that is, and `file` the file that they are in.
//!
//! Architecture Invariant: nothing in here has a `Debug`, a `Display` or an error that shows a key,
//! a value, or a byte of either.

mod chain;
pub mod envelope;
mod file;
mod keyring;

pub use self::chain::{ChainKey, Link, Mark};
pub use self::envelope::{NotSealed, OwnKey, Place, Sealed, Subject, Unopened};
pub use self::file::{KeyringError, Reason};
pub use self::keyring::Keyring;
