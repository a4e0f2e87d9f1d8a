//! Who calls, and what they may do.

use super::problem::Problem;
use crate::domain::{Scope, Scopes};

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: probes, metrics and the documentation.
    Open,
    /// This scope.
    Needs(Scope),
}

/// Somebody who sends a request. All of them are anonymous as yet: what they may do is what the
/// operator grants to callers without a token.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    scopes: Scopes,
}

impl Caller {
    /// A caller without a token.
    #[must_use]
    pub const fn anonymous(granted: Scopes) -> Self {
        Self { scopes: granted }
    }

    /// Lets the caller in, or not.
    ///
    /// # Errors
    /// 401: the scope that the operation needs is not among the caller's.
    pub fn authorize(self, access: Access) -> Result<(), Problem> {
        match access {
            Access::Needs(scope) if !self.scopes.contains(scope) => {
                Err(Problem::unauthorized(scope))
            }
            Access::Open | Access::Needs(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_granted_scopes_open_doors(granted in proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=10)) {
            let caller = Caller::anonymous(granted.iter().copied().collect());
            prop_assert!(caller.authorize(Access::Open).is_ok());
            for scope in Scope::ALL {
                prop_assert_eq!(caller.authorize(Access::Needs(scope)).is_ok(), granted.contains(&scope));
            }
        }
    }
}
