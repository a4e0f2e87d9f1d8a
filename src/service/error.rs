//! Why there is no answer, without a transport.

use std::sync::Arc;

use crate::cache::LoadError;
use crate::domain::{Invalid, NoVersion};
use crate::store::StoreError;
use crate::telemetry::logging::chain;

/// Why there is no answer. Nothing in here has been logged: who answers does that, once for each
/// request, beside the request's id. The causes hold no value that was sent or stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The database is out of reach: try again.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// The audit trail can't be written, so nothing was done or shown: try again.
    #[error("{0}")]
    Audit(Arc<str>),
    /// Another tenant has this value already.
    #[error("another tenant has this {0}")]
    Conflict(&'static str),
    /// What a write would leave behind may not be stored.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The condition of a write does not hold.
    #[error("the condition of the write does not hold")]
    PreconditionFailed {
        /// The entity tag of what is there, without its quotes; `None`: nothing is.
        current: Option<String>,
    },
    /// What is to be done with a version can't be done.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
    /// A token that is to be replaced is not good any more, or was replaced already.
    #[error("the token is expired, revoked or replaced")]
    Inactive,
    /// A defect of ours, or of what is stored.
    #[error("{0}")]
    Internal(Arc<str>),
}

impl ServiceError {
    /// What a failure of the store means to a caller.
    pub(super) fn of(operation: &'static str, failure: StoreError) -> Self {
        let cause = |failure: &StoreError| format!("{operation}: {}", chain(failure)).into();
        match failure {
            StoreError::Duplicate(field) => Self::Conflict(field),
            StoreError::Invalid(invalid) => Self::Invalid(invalid),
            StoreError::PreconditionFailed { current } => Self::PreconditionFailed { current },
            StoreError::NoVersion(why) => Self::NoVersion(why),
            StoreError::Inactive => Self::Inactive,
            StoreError::Unavailable(_) => Self::Unavailable(cause(&failure)),
            StoreError::Audit(_) => Self::Audit(cause(&failure)),
            StoreError::Unexpected(_)
            | StoreError::Corrupt(_)
            | StoreError::Refused { .. }
            | StoreError::PepperRefused(_)
            | StoreError::ChainKeyRefused(_)
            | StoreError::Chain(_)
            | StoreError::NotSealed(_) => Self::Internal(cause(&failure)),
        }
    }

    /// Whether it is certain that nothing was written.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_)
                | Self::Invalid(_)
                | Self::PreconditionFailed { .. }
                | Self::NoVersion(_)
                | Self::Inactive
                | Self::Audit(_)
        )
    }
}

impl From<LoadError> for ServiceError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(cause) => Self::Unavailable(cause),
            LoadError::Failed(cause) => Self::Internal(cause),
        }
    }
}

impl From<ServiceError> for LoadError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Unavailable(cause) => Self::Unavailable(cause),
            ServiceError::Internal(cause) => Self::Failed(cause),
            // A read is refused by nobody.
            refusal => Self::Failed(refusal.to_string().into()),
        }
    }
}
