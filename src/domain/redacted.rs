//! `Debug` of what holds a secret.

use std::fmt;

/// Has a `Debug` that shows nothing of the secret that it holds.
///
/// Implemented by `redact!` alone, together with that `Debug`. A type that derives `Debug` instead has
/// two of them or is not `Redacted`; either way `tests/it/redaction.rs` does not compile.
pub trait Redacted: fmt::Debug {}

/// Implements [`Redacted`] and `Debug`: the type's name, and what of it may be shown.
///
/// ```text
/// redact!(Pepper);                                            Pepper { .. }
/// redact!(Credentials { fields: |it| it.fields.len() });      Credentials { fields: 2, .. }
/// ```
macro_rules! redact {
    ($type:ident $({ $($name:ident: |$it:ident| $shown:expr),+ $(,)? })?) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut text = f.debug_struct(stringify!($type));
                $($({
                    let $it = self;
                    text.field(stringify!($name), &$shown);
                })+)?
                text.finish_non_exhaustive()
            }
        }

        impl $crate::domain::Redacted for $type {}
    };
}
pub(crate) use redact;
