//! Scopes: what a caller may do.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

/// One thing that a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `lookup:read`: resolve a phone number or an integration to its tenant.
    LookupRead,
    /// `tenants:read`: see tenants.
    TenantsRead,
    /// `tenants:write`: create, change and delete tenants.
    TenantsWrite,
    /// `credentials:read`: see credentials with their secrets masked.
    CredentialsRead,
    /// `credentials:reveal`: see credentials with their secrets.
    CredentialsReveal,
    /// `credentials:write`: set credentials.
    CredentialsWrite,
    /// `credentials:destroy`: remove credentials and their history for good.
    CredentialsDestroy,
    /// `events:read`: follow the feed of changes.
    EventsRead,
    /// `audit:read`: see who did what.
    AuditRead,
    /// `tokens:admin`: create and revoke tokens.
    TokensAdmin,
}

impl Scope {
    /// Every scope, in the order of its discriminant.
    pub const ALL: [Self; 10] = [
        Self::LookupRead,
        Self::TenantsRead,
        Self::TenantsWrite,
        Self::CredentialsRead,
        Self::CredentialsReveal,
        Self::CredentialsWrite,
        Self::CredentialsDestroy,
        Self::EventsRead,
        Self::AuditRead,
        Self::TokensAdmin,
    ];

    /// The scope as configuration and tokens write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LookupRead => "lookup:read",
            Self::TenantsRead => "tenants:read",
            Self::TenantsWrite => "tenants:write",
            Self::CredentialsRead => "credentials:read",
            Self::CredentialsReveal => "credentials:reveal",
            Self::CredentialsWrite => "credentials:write",
            Self::CredentialsDestroy => "credentials:destroy",
            Self::EventsRead => "events:read",
            Self::AuditRead => "audit:read",
            Self::TokensAdmin => "tokens:admin",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| Invalid::new("scopes", format!("must be of {}", names())))
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u16);

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);
    /// Every scope there is.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// Whether the set has this scope.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// The set with this scope in it.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Whether the set has no scope at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether each of these is one of the others.
    #[must_use]
    pub const fn are_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// The scopes of the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

/// A word in a list of scopes that names none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "number {position} in the list is no scope: it must be `all`, or scopes out of {}, separated by commas",
    names()
)]
pub struct UnknownScope {
    /// Which word it is, counted from 1. The word itself may be a secret in the wrong place.
    pub position: usize,
}

fn names() -> String {
    Scope::ALL.map(Scope::as_str).join(", ")
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    /// Reads a list separated by commas. Empty text is the empty set; `all` is every scope.
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        if text.trim().is_empty() {
            return Ok(Self::NONE);
        }
        text.split(',').map(str::trim).enumerate().try_fold(Self::NONE, |scopes, (at, word)| {
            if word == "all" {
                return Ok(Self::ALL);
            }
            let scope: Result<Scope, _> = word.parse();
            scope.map(|scope| scopes.with(scope)).map_err(|_| UnknownScope { position: at + 1 })
        })
    }
}

impl fmt::Display for Scopes {
    /// The list that [`FromStr`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all");
        }
        self.iter().enumerate().try_for_each(|(at, scope)| {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())
        })
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read() {
        let node: Scopes = "lookup:read, credentials:reveal".parse().unwrap();
        assert!(node.contains(Scope::LookupRead) && node.contains(Scope::CredentialsReveal));
        assert!(!node.contains(Scope::CredentialsRead), "revealing is a scope of its own");
        assert_eq!(node.to_string(), "lookup:read,credentials:reveal");
        assert_eq!("all".parse::<Scopes>().unwrap(), Scopes::ALL);
        assert_eq!("lookup:read,all".parse::<Scopes>().unwrap(), Scopes::ALL);
        for empty in ["", "  "] {
            assert!(empty.parse::<Scopes>().unwrap().is_empty());
        }
    }

    #[test]
    fn a_refusal_names_what_is_accepted_and_not_what_was_sent() {
        for (text, position) in [("hunter2", 1), ("lookup:read,", 2), ("lookup:read,ALL", 2)] {
            let error = text.parse::<Scopes>().unwrap_err();
            assert_eq!(error, UnknownScope { position });
            assert!(!error.to_string().contains("hunter2"));
            assert!(error.to_string().contains("credentials:reveal"));
        }
    }

    proptest! {
        #[test]
        fn text_and_back(bits in 0..=Scopes::ALL.0) {
            let scopes = Scopes(bits);
            prop_assert_eq!(scopes.to_string().parse::<Scopes>().unwrap(), scopes);
            prop_assert_eq!(scopes.iter().collect::<Scopes>(), scopes);
        }
    }
}
