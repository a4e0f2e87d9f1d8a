//! Who did what, to whom, and what came of it: an entry of the audit trail. Names and never a value.

use std::fmt;
use std::net::IpAddr;

use super::{CredentialType, Scope, TenantId, TokenId};

/// Names of fields that one entry has at most.
const MOST_FIELDS: usize = 32;
/// Characters of a name. The names of our own fields are shorter.
const LONGEST_FIELD: usize = 40;
/// Stands for a name that is not written down, and for all that are too many.
const UNNAMED: &str = "…";

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A caller without a token.
    Anonymous,
    /// A caller with the token of this id.
    Token(String),
    /// Whoever runs this command of the program.
    Command(&'static str),
    /// The service itself.
    System,
    /// More than one of these, counted together.
    Several,
}

impl Actor {
    /// What kind of actor it is, as the trail writes it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token(_) => "token",
            Self::Command(_) => "command",
            Self::System => "system",
            Self::Several => "several",
        }
    }

    /// Which one of its kind.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Token(id) => Some(id),
            Self::Command(name) => Some(name),
            Self::Anonymous | Self::System | Self::Several => None,
        }
    }
}

impl fmt::Display for Actor {
    /// The kind, and which one of it: `token:3jhh9x072amr2vg5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => write!(f, "{}:{id}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

/// Who acts, from where, and by which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// From where, as far as it is known.
    pub address: Option<IpAddr>,
    /// The request, by the id that its answer carries.
    pub request_id: Option<String>,
}

impl By {
    /// Whoever runs a command.
    #[must_use]
    pub const fn command(name: &'static str) -> Self {
        Self { actor: Actor::Command(name), address: None, request_id: None }
    }

    /// The service itself.
    #[must_use]
    pub const fn system() -> Self {
        Self { actor: Actor::System, address: None, request_id: None }
    }
}

/// What is done, or is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A tenant is created.
    TenantCreate,
    /// A tenant is changed.
    TenantUpdate,
    /// A tenant is deleted, with all that belongs to it.
    TenantDelete,
    /// Credentials are set.
    CredentialsSet,
    /// Credentials are made what an earlier version was.
    CredentialsRollBack,
    /// Credentials are deleted; they can be brought back.
    CredentialsDelete,
    /// Deleted credentials are brought back.
    CredentialsUndelete,
    /// Versions of credentials are destroyed.
    CredentialsDestroy,
    /// Credentials are shown with their secrets.
    CredentialsReveal,
    /// A token is made.
    TokenCreate,
    /// A token's limits shrink, for a tenant that they name is deleted.
    TokenUpdate,
    /// A token is taken back.
    TokenRevoke,
    /// A token is replaced.
    TokenRotate,
    /// Something that needs this scope, and was denied before it was known what.
    Access(Scope),
}

impl Action {
    /// The action as the trail writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantCreate => "tenant.create",
            Self::TenantUpdate => "tenant.update",
            Self::TenantDelete => "tenant.delete",
            Self::CredentialsSet => "credentials.set",
            Self::CredentialsRollBack => "credentials.roll_back",
            Self::CredentialsDelete => "credentials.delete",
            Self::CredentialsUndelete => "credentials.undelete",
            Self::CredentialsDestroy | Self::Access(Scope::CredentialsDestroy) => {
                "credentials.destroy"
            }
            Self::TokenCreate => "token.create",
            Self::TokenUpdate => "token.update",
            Self::TokenRevoke => "token.revoke",
            Self::TokenRotate => "token.rotate",
            Self::CredentialsReveal | Self::Access(Scope::CredentialsReveal) => {
                "credentials.reveal"
            }
            Self::Access(Scope::LookupRead) => "lookup.read",
            Self::Access(Scope::TenantsRead) => "tenant.read",
            Self::Access(Scope::TenantsWrite) => "tenant.write",
            Self::Access(Scope::CredentialsRead) => "credentials.read",
            Self::Access(Scope::CredentialsWrite) => "credentials.write",
            Self::Access(Scope::EventsRead) => "events.read",
            Self::Access(Scope::AuditRead) => "audit.read",
            Self::Access(Scope::TokensAdmin) => "tokens.admin",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// The caller may not do it.
    Denied,
    /// There is nothing that it could be done to.
    NotFound,
    /// It would be at odds with another tenant, or may not be stored.
    Refused,
    /// It was begun and failed: whether it was done is not known.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::Denied, Self::NotFound, Self::Refused, Self::Failed];

    /// The outcome as the trail and metrics write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Names of fields, bounded in number and length: a caller may call a field whatever it likes.
///
/// A name of ours is letters, digits, `_`, `-` and `.`, and no longer than 40 characters; any other is
/// written as `…`. Only names at the top of an object are taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldNames(Vec<String>);

impl FieldNames {
    /// These names.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut taken: Vec<String> = Vec::new();
        for name in names {
            let name = if is_name(name) { name } else { UNNAMED };
            if taken.last().is_some_and(|last| last == name && name == UNNAMED) {
                continue;
            }
            if taken.len() == MOST_FIELDS {
                taken.pop();
                taken.push(UNNAMED.to_owned());
                break;
            }
            taken.push(name.to_owned());
        }
        Self(taken)
    }

    /// The names.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let accepted = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=LONGEST_FIELD).contains(&text.len()) && text.bytes().all(accepted)
}

/// One entry, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who, from where, by which request.
    pub by: By,
    /// What.
    pub action: Action,
    /// To which tenant.
    pub tenant: Option<TenantId>,
    /// To credentials of which type.
    pub kind: Option<CredentialType>,
    /// To which version of them, or which version it made.
    pub version: Option<i64>,
    /// To which token.
    pub token: Option<TokenId>,
    /// Which fields.
    pub fields: FieldNames,
    /// What came of it.
    pub outcome: Outcome,
    /// How often: more than once where what is alike is counted together.
    pub times: u64,
}

impl Entry {
    /// Somebody does something, once, and it is done. What else there is to say is set by whoever
    /// knows.
    #[must_use]
    pub fn of(by: By, action: Action) -> Self {
        Self {
            by,
            action,
            tenant: None,
            kind: None,
            version: None,
            token: None,
            fields: FieldNames::default(),
            outcome: Outcome::Ok,
            times: 1,
        }
    }

    /// The same, to this tenant.
    #[must_use]
    pub fn to(self, tenant: &TenantId) -> Self {
        Self { tenant: Some(tenant.clone()), ..self }
    }

    /// The same, to this tenant's credentials of this type.
    #[must_use]
    pub fn to_credentials(self, tenant: &TenantId, kind: CredentialType) -> Self {
        Self { kind: Some(kind), ..self.to(tenant) }
    }

    /// The same, to this token.
    #[must_use]
    pub fn to_token(self, id: &TokenId) -> Self {
        Self { token: Some(id.clone()), ..self }
    }

    /// The same, with this outcome.
    #[must_use]
    pub fn ending(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_name_is_not_written_down() {
        let names = ["clientId", "a b", "<script>", "rateLimits", "", "é"];
        assert_eq!(FieldNames::of(names).as_slice(), ["clientId", "…", "rateLimits", "…"]);
        // A Genesys secret has 43 characters, a token of Meta more than a hundred.
        assert_eq!(FieldNames::of(["x".repeat(41).as_str()]).as_slice(), ["…"]);
    }

    proptest! {
        #[test]
        fn names_are_bounded(names in prop::collection::vec(".{0,60}|[a-z]{1,9}", 0..80)) {
            let taken = FieldNames::of(names.iter().map(String::as_str));
            prop_assert!(taken.as_slice().len() <= MOST_FIELDS);
            prop_assert!(taken.as_slice().iter().all(|name| name == UNNAMED || is_name(name)));
        }
    }
}
