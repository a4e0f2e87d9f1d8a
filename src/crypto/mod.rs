//! Sealing: what a credential is in the database.
//!
//! [`Pepper`] is what access tokens are known by: a keyed hash, which says nothing without its key.
//!
//! [`envelope`] is pure: a value under a data key of its own, and that key under a key of the
//! keyring. [`Keyring`] knows which key that is, `file` the file that they are in, and
//! [`KeyringEditor`] how that is changed.
//!
//! Architecture Invariant: nothing in here has a `Debug`, a `Display` or an error that shows a key,
//! a value, or a byte of either.

mod chain;
mod edit;
pub mod envelope;
mod file;
mod keyring;
mod pepper;
mod text;

pub use self::chain::{ChainKey, Link, Mark};
pub use self::edit::{KeyEntry, KeyringEditor};
pub use self::envelope::{NotSealed, OwnKey, Place, Sealed, Subject, Unopened};
pub use self::file::{KeyringError, Reason};
pub use self::keyring::{Keyring, Rewrap};
pub use self::pepper::{Pepper, new_token};
pub use self::text::secret_text;
