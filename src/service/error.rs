//! Why there is no answer, without a transport.

use crate::cache::LoadError;
use crate::domain::Invalid;
use crate::store::StoreError;

/// Why there is no answer. Its cause has been logged where it arose, once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The database is out of reach: try again.
    #[error("the database is out of reach")]
    Unavailable,
    /// Another tenant has this value already.
    #[error("another tenant has this {0}")]
    Conflict(&'static str),
    /// What a write would leave behind may not be stored.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A defect of ours, or of what is stored.
    #[error("internal error")]
    Internal,
}

impl ServiceError {
    /// What a failure of the store means to a caller. Logs the cause, without any value.
    pub(super) fn of(operation: &'static str, failure: &StoreError) -> Self {
        let cause = std::error::Error::source(failure).map(tracing::field::display);
        match failure {
            StoreError::Duplicate(field) => Self::Conflict(field),
            StoreError::Invalid(invalid) => Self::Invalid(invalid.clone()),
            StoreError::Unavailable(_) => {
                tracing::warn!(operation, error = %failure, cause, "the store is out of reach");
                Self::Unavailable
            }
            StoreError::Unexpected(_) | StoreError::Corrupt(_) => {
                tracing::error!(operation, error = %failure, cause, "the store failed");
                Self::Internal
            }
        }
    }
}

impl From<LoadError> for ServiceError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable => Self::Unavailable,
            LoadError::Failed => Self::Internal,
        }
    }
}

impl From<ServiceError> for LoadError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Unavailable => Self::Unavailable,
            ServiceError::Conflict(_) | ServiceError::Invalid(_) | ServiceError::Internal => {
                Self::Failed
            }
        }
    }
}
