//! Why the store has no answer, in words that can go into any log.
//!
//! Architecture Invariant: no error of this layer holds a `sqlx::Error`. Its `Debug` prints what
//! the server said in full: the row that failed a check, the JSON that could not be parsed, the
//! message that was not expected; and so the secrets that were sent with a statement.

use std::fmt;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::audit::Break;
use crate::crypto::{NotSealed, Unopened};
use crate::domain::{CredentialType, Invalid, NoVersion, TenantId};

/// Why the store has no answer. Messages never carry a value that was sent.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is out of reach, or refuses to work at present. A write may have been
    /// committed all the same, if the connection was lost while it was; or another transaction
    /// (one that locks two tenants, by hand) made it the victim of a deadlock, and nothing was.
    #[error("the database is out of reach")]
    Unavailable(#[source] Cause),
    /// The value of this field belongs to another tenant.
    #[error("another tenant has this {0}")]
    Duplicate(&'static str),
    /// The value that a write would leave behind may not be stored.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The condition of a write does not hold. Nothing was written.
    #[error("the condition of the write does not hold")]
    PreconditionFailed {
        /// The entity tag of what is there, without its quotes; `None`: nothing is.
        current: Option<String>,
    },
    /// What is to be done with a version can't be done. Nothing was written.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
    /// A row that this version cannot read, or a statement that it should not have sent.
    #[error("unexpected answer of the database")]
    Unexpected(#[source] Cause),
    /// A stored value is not what the schema promises.
    #[error("unreadable row: {0}")]
    Corrupt(&'static str),
    /// Stored credentials that this process does not take for its own.
    #[error("the {kind} credentials of {tenant} are refused (version {version})")]
    Refused {
        /// Whose they are said to be.
        tenant: TenantId,
        /// Of which type.
        kind: CredentialType,
        /// And of which version.
        version: i64,
        /// What is wrong with them.
        #[source]
        why: Refusal,
    },
    /// What tokens are hashed with is not taken for this program's own, so none can be told.
    #[error("the key that tokens are hashed with is refused")]
    PepperRefused(#[source] Refusal),
    /// What the audit trail is chained by is not taken for this program's own.
    #[error("the key that the audit trail is chained by is refused")]
    ChainKeyRefused(#[source] Refusal),
    /// A token that is to be replaced is not good any more, or was replaced already.
    #[error("the token is expired, revoked or replaced")]
    Inactive,
    /// The audit trail can't be written, and so nothing was.
    #[error("the audit trail can't be written")]
    Audit(#[source] Cause),
    /// The chain of the audit trail is not as it was left.
    #[error("the chain of the audit trail is broken")]
    Chain(#[source] Break),
    /// Nothing was written, for it could not be sealed.
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
}

/// Why stored credentials are refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// They are there in plaintext, or not at all.
    #[error("it is not sealed: it was not written by this program")]
    Unsealed,
    /// They do not open.
    #[error(transparent)]
    Unopened(Unopened),
}

impl Refusal {
    /// Every [`Refusal::reason`] there is.
    pub(super) const REASONS: [&str; 4] = ["unsealed", "forged", "unknown_key", "malformed"];

    /// The reason, as metrics name it.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Unsealed => "unsealed",
            Self::Unopened(Unopened::Forged) => "forged",
            Self::Unopened(Unopened::UnknownKey { .. }) => "unknown_key",
            Self::Unopened(Unopened::Malformed) => "malformed",
        }
    }
}

/// Shorthand for what stores return.
pub type StoreResult<T> = Result<T, StoreError>;

/// What the driver reported, without anything that may be a value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    pub(super) fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }
}

/// Fields that are unique, by the name of their constraint in Postgres and of their column in
/// SQLite, which says `UNIQUE constraint failed: tenants.id`.
const UNIQUE: [(&str, &str, &str); 3] = [
    ("tenants_pkey", "tenants.id", "id"),
    ("tenants_phone_number_id_key", "tenants.phone_number_id", "phone_number_id"),
    (
        "tenants_genesys_integration_id_key",
        "tenants.genesys_integration_id",
        "genesys_integration_id",
    ),
];

impl StoreError {
    /// An entry could not be written to the audit trail.
    pub(super) fn of_audit(error: &sqlx::Error) -> Self {
        Self::Audit(Cause::from(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(error) = &error
            && let Some(field) = duplicate(error.as_ref())
        {
            return Self::Duplicate(field);
        }
        let cause = Cause::from(&error);
        if is_passing(&error) { Self::Unavailable(cause) } else { Self::Unexpected(cause) }
    }
}

fn duplicate(error: &dyn DatabaseError) -> Option<&'static str> {
    if !error.is_unique_violation() {
        return None;
    }
    let failed = error.message().rsplit(' ').next();
    UNIQUE.into_iter().find_map(|(constraint, column, field)| {
        let found = error.constraint() == Some(constraint) || failed == Some(column);
        found.then_some(field)
    })
}

/// Whether the same statement may succeed at another time.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if error.try_downcast_ref::<PgDatabaseError>().is_some() {
                passing_in_postgres(&code)
            } else {
                passing_in_sqlite(&code)
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// Classes: connection (08), transaction state and read-only (25), authorization (28), no such
/// database (3D), rollback by deadlock or serialization (40), resources (53), object state (55,
/// also "recovery is in progress"), intervention (57, also a statement's time-out), system (58).
fn passing_in_postgres(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    ["08", "25", "28", "3D", "40", "53", "55", "57", "58"].contains(&class)
}

/// Primary codes: BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
fn passing_in_sqlite(code: &str) -> bool {
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15))
}

impl From<&sqlx::Error> for Cause {
    fn from(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => Self(of_postgres(error)),
                // SQLite names tables, columns and constraints, and never a value.
                None => Self::new(error),
            },
            sqlx::Error::Io(error) => Self::new(format_args!("connection: {error}")),
            sqlx::Error::Tls(error) => Self::new(format_args!("TLS: {error}")),
            sqlx::Error::Protocol(_) => Self::new("a message that the protocol does not expect"),
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::new(format_args!("column {index} cannot be decoded"))
            }
            sqlx::Error::Decode(_) => Self::new("a value cannot be decoded"),
            sqlx::Error::Encode(_) => Self::new("a value cannot be encoded"),
            sqlx::Error::Configuration(_) => Self::new("the connection is configured wrongly"),
            sqlx::Error::InvalidArgument(_) => Self::new("a value cannot be sent"),
            other => Self::new(other),
        }
    }
}

fn of_postgres(error: &PgDatabaseError) -> String {
    let code = error.code();
    let mut text = format!("SQLSTATE {code}");
    if let Some(constraint) = error.constraint() {
        text = format!("{text}, constraint {constraint}");
    }
    // Messages of these name what we wrote into the statement, or the server's state. Those of
    // others (data exceptions, violated constraints) quote what was sent.
    if passing_in_postgres(code) || code.starts_with("42") {
        text = format!("{text}: {}", error.message());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_quotes_is_left_out() {
        let quoted = || "hunter2".to_owned();
        let errors = [
            sqlx::Error::Protocol(quoted()),
            sqlx::Error::InvalidArgument(quoted()),
            sqlx::Error::Decode(quoted().into()),
            sqlx::Error::Encode(quoted().into()),
            sqlx::Error::Configuration(quoted().into()),
            sqlx::Error::ColumnDecode { index: "settings".into(), source: quoted().into() },
        ];
        for error in errors {
            let shown = format!("{:?}", StoreError::from(error));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        assert!(passing_in_postgres("57P01") && passing_in_postgres("40P01"));
        assert!(!passing_in_postgres("23514") && !passing_in_postgres("42P01"));
        assert!(passing_in_sqlite("5") && passing_in_sqlite("261") && !passing_in_sqlite("1"));
        let timed_out = StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(timed_out, StoreError::Unavailable(_)));
    }
}
