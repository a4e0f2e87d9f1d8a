//! Who calls, and what they may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};

use super::problem::Problem;
use super::state::Shared;
use crate::cache::TokenEntry;
use crate::domain::{
    AccessToken, Action, By, CredentialType, Entry, Limits, Outcome, Scope, Scopes, TenantId,
};

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: probes, metrics and the documentation.
    Open,
    /// This scope.
    Needs(Scope),
}

/// Somebody who sends a request. Handlers extract it; so does whoever records who did what.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A caller without a token, and what the operator grants to all of them.
    Anonymous(Scopes),
    /// The bearer of a token, which is good.
    Token(Arc<TokenEntry>),
}

impl Caller {
    /// A caller without a token.
    #[must_use]
    pub const fn anonymous(granted: Scopes) -> Self {
        Self::Anonymous(granted)
    }

    /// What they may do.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::Anonymous(scopes) => *scopes,
            Self::Token(token) => token.issued.token.scopes,
        }
    }

    /// To whom they may do it.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        static NONE: Limits = Limits::NONE;
        match self {
            Self::Anonymous(_) => &NONE,
            Self::Token(token) => &token.issued.token.limits,
        }
    }

    /// Whether a tenant is there for them. One that is not has to look as if it were absent.
    #[must_use]
    pub fn sees(&self, tenant: &TenantId) -> bool {
        self.limits().admit(tenant.as_str())
    }

    /// Whether a tenant's credentials of this type are there for them.
    #[must_use]
    pub fn sees_credentials(&self, tenant: &TenantId, kind: CredentialType) -> bool {
        self.limits().admit_credentials(tenant, kind)
    }

    /// Lets the caller in, or not.
    ///
    /// # Errors
    /// The scope that the operation needs is not among the caller's: 401 without a token, which would
    /// help; 403 with one.
    pub fn authorize(&self, access: Access) -> Result<(), Problem> {
        match (access, self) {
            (Access::Needs(scope), caller) if !caller.scopes().contains(scope) => {
                Err(match caller {
                    Self::Anonymous(_) => Problem::unauthorized(scope),
                    Self::Token(_) => Problem::insufficient_scope(scope),
                })
            }
            (Access::Open | Access::Needs(_), _) => Ok(()),
        }
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or(Self::Anonymous(state.anonymous)))
    }
}

/// A caller who is not limited to certain tenants, as who creates one has to be. That somebody else tried
/// to is entered into the audit trail.
#[derive(Debug)]
pub struct Unlimited;

impl FromRequestParts<Shared> for Unlimited {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.limits().tenants().is_none() {
            return Ok(Self);
        }
        let by = By::from_request_parts(parts, state).await?;
        let entry = Entry::of(by, Action::TenantCreate).ending(Outcome::Denied);
        state.service.trail().note(entry);
        Err(Problem::limited_token())
    }
}

/// What a request brings to say who sends it.
pub enum Presented {
    /// Nothing.
    Nothing,
    /// A token, which may be anybody's.
    Token(AccessToken),
    /// Something that is no token. Whoever brings it does not mean to be anonymous.
    Unreadable,
}

impl Presented {
    /// What `Authorization` says (RFC 6750, section 2.1). A token is taken from nowhere else: what
    /// stands in a path or a query ends up in logs.
    #[must_use]
    pub fn by(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => bearer(value).map_or(Self::Unreadable, Self::Token),
            // Which of them was meant, nobody knows.
            (Some(_), Some(_)) => Self::Unreadable,
        }
    }
}

fn bearer(value: &HeaderValue) -> Option<AccessToken> {
    const SCHEME: &str = "bearer";
    let text = value.to_str().ok()?;
    let (scheme, token) = text.split_at_checked(SCHEME.len())?;
    let token = token.strip_prefix(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> AccessToken {
        AccessToken::from_random([1; 10], &zeroize::Zeroizing::new([2; 32]))
    }

    fn presented(values: &[&str]) -> Presented {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Presented::by(&headers)
    }

    #[test]
    fn a_token_is_read_whatever_the_case_of_its_scheme() {
        let token = token();
        let text = token.reveal();
        assert!(matches!(presented(&[]), Presented::Nothing));
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let found = presented(&[&format!("{scheme} {text}")]);
            assert!(matches!(found, Presented::Token(found) if found.reveal() == text));
        }
        for bad in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", text] {
            assert!(matches!(presented(&[bad]), Presented::Unreadable), "{bad}");
        }
        for bad in [format!("Bearer{text}"), format!("Bearer\t{text}"), format!("Bearer {text}x")] {
            assert!(matches!(presented(&[&bad]), Presented::Unreadable), "{bad}");
        }
        let good = format!("Bearer {text}");
        assert!(matches!(presented(&[&good, &good]), Presented::Unreadable));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "[ -~é]{0,90}") {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            prop_assert!(!matches!(Presented::by(&headers), Presented::Nothing));
        }

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
