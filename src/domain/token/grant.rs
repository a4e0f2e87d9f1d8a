//! What a token lets its bearer do, and for how long.

use jiff::Timestamp;

use super::TokenId;
use crate::domain::{CredentialType, Name, Scopes, ShortText, TenantId, redact};

/// Of whom a token's scopes are. Nothing else is there for its bearer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// These tenants; `None` is every one. Sorted, each once.
    tenants: Option<Vec<TenantId>>,
    /// These types of credentials; `None` is every one. Sorted, each once.
    types: Option<Vec<CredentialType>>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self { tenants: None, types: None };

    /// These tenants and these types of credentials.
    #[must_use]
    pub fn new(tenants: Option<Vec<TenantId>>, types: Option<Vec<CredentialType>>) -> Self {
        fn set<T: Ord>(mut list: Vec<T>) -> Vec<T> {
            list.sort();
            list.dedup();
            list
        }
        Self { tenants: tenants.map(set), types: types.map(set) }
    }

    /// The tenants, if they are limited.
    #[must_use]
    pub fn tenants(&self) -> Option<&[TenantId]> {
        self.tenants.as_deref()
    }

    /// The types of credentials, if they are limited.
    #[must_use]
    pub fn types(&self) -> Option<&[CredentialType]> {
        self.types.as_deref()
    }

    /// Whether a tenant is within them.
    #[must_use]
    pub fn admit(&self, tenant: &str) -> bool {
        let is_it = |id: &TenantId| id.as_str().cmp(tenant);
        self.tenants.as_ref().is_none_or(|ids| ids.binary_search_by(is_it).is_ok())
    }

    /// Whether a tenant's credentials of this type are.
    #[must_use]
    pub fn admit_credentials(&self, tenant: &TenantId, kind: CredentialType) -> bool {
        let admits = |kinds: &Vec<CredentialType>| kinds.contains(&kind);
        self.admit(tenant.as_str()) && self.types.as_ref().is_none_or(admits)
    }

    /// Whether whatever is within these is within the others too.
    #[must_use]
    pub fn are_within(&self, others: &Self) -> bool {
        fn within<T: PartialEq>(these: Option<&[T]>, others: Option<&[T]>) -> bool {
            match (these, others) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(these), Some(others)) => these.iter().all(|one| others.contains(one)),
            }
        }
        within(self.tenants(), others.tenants()) && within(self.types(), others.types())
    }
}

/// Whether a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStanding {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back, for good.
    Revoked,
}

impl TokenStanding {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Which one it is.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What its bearer may do.
    pub scopes: Scopes,
    /// To whom.
    pub limits: Limits,
    /// Until when; `None` is for ever.
    pub expires_at: Option<Timestamp>,
    /// Since when it is taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is good at this time.
    #[must_use]
    pub fn standing(&self, now: impl FnOnce() -> Timestamp) -> TokenStanding {
        if self.revoked_at.is_some() {
            TokenStanding::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now()) {
            TokenStanding::Expired
        } else {
            TokenStanding::Active
        }
    }
}

/// A keyed hash of a token. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

redact!(TokenHash);

/// A token as it is looked up, with what a presented one is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// What it may do.
    pub token: Token,
    /// What its secret is known by.
    pub hash: TokenHash,
}

/// Everything about a token but what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What it may do.
    pub token: Token,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom: a token's id behind `token:`, or `anonymous`, or `cli`.
    pub created_by: String,
    /// The token that was made to take its place.
    pub replaced_by: Option<TokenId>,
    /// When it was last good for something, to about a minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people are to call it.
    pub name: Name,
    /// What it is for.
    pub description: Option<ShortText>,
    /// What its bearer may do.
    pub scopes: Scopes,
    /// To whom.
    pub limits: Limits,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// By whom it is made.
    pub created_by: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    fn limits() -> impl Strategy<Value = Limits> {
        let tenants = subsequence(vec!["a", "b", "c"], 0..=3);
        let tenants = tenants.prop_map(|ids| ids.iter().map(|id| id.parse().unwrap()).collect());
        let types = subsequence(CredentialType::ALL.to_vec(), 0..=2);
        (prop::option::of(tenants), prop::option::of(types))
            .prop_map(|(tenants, types)| Limits::new(tenants, types))
    }

    proptest! {
        /// What "within" means, by all that there is.
        #[test]
        fn within_is_no_more_than(one in limits(), other in limits()) {
            let all: Vec<(TenantId, CredentialType)> = ["a", "b", "c", "other"]
                .iter()
                .flat_map(|id| CredentialType::ALL.map(|kind| (id.parse().unwrap(), kind)))
                .collect();
            if one.are_within(&other) {
                for (id, kind) in &all {
                    prop_assert!(!one.admit(id.as_str()) || other.admit(id.as_str()));
                    prop_assert!(!one.admit_credentials(id, *kind) || other.admit_credentials(id, *kind));
                }
            }
            prop_assert!(one.are_within(&one) && one.are_within(&Limits::NONE));
            prop_assert_eq!(Limits::NONE.are_within(&one), one == Limits::NONE);
        }
    }

    #[test]
    fn a_token_ends_at_its_moment_and_stays_revoked() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut token = Token {
            id: "0123456789abcdef".parse().unwrap(),
            name: "n".into(),
            scopes: Scopes::ALL,
            limits: Limits::NONE,
            expires_at: Some(at(10)),
            revoked_at: None,
        };
        assert_eq!(token.standing(|| at(9)), TokenStanding::Active);
        assert_eq!(token.standing(|| at(10)), TokenStanding::Expired);
        token.revoked_at = Some(at(100));
        assert_eq!(token.standing(|| at(9)), TokenStanding::Revoked);
        token.expires_at = None;
        assert_eq!(token.standing(|| at(9)), TokenStanding::Revoked);
    }
}
