//! Why a database was not migrated.

use super::{Cause, StoreError};

/// Tables whose names are ours. Found in a database that we have not migrated, somebody else made
/// them.
pub(super) const TABLES: [&str; 5] = [
    "tenants",
    "tenant_credentials",
    "tenant_credential_history",
    "tenant_changes",
    "tenant_changes_horizon",
];

/// Why a database was not migrated. In every case but the last nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Tables of our names are there, and another program made them.
    #[error(
        "the database has tables that another program made ({}); nothing was changed. \
         To take their tenants over, point DATABASE_URL at an empty database and run \
         `tenant-service tenants import --from postgres://…` with the URL of this one",
        tables.join(", ")
    )]
    ForeignSchema {
        /// Which ones.
        tables: Vec<String>,
    },
    /// The server lacks what the schema needs.
    #[error("the server is PostgreSQL {found}; version 13 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// A standby, or a database or role that is set to be read-only.
    #[error("the database takes no writes: it is a standby, or set to be read-only")]
    ReadOnly,
    /// A newer version of the program has been here.
    #[error(
        "a newer version of tenant-service migrated this database (migration {migration}, \
         unknown to this one); run that version"
    )]
    Newer {
        /// The first migration that this version does not know.
        migration: i64,
    },
    /// The schema was made by an unreleased or altered version.
    #[error("migration {migration} was applied in another form than this version has it in")]
    Altered {
        /// Which one.
        migration: i64,
    },
    /// The lock that keeps replicas from migrating at once.
    #[error("the lock file of the migration is not available")]
    Lock(#[source] std::io::Error),
    /// The database is out of reach, or a statement failed.
    #[error("the migration failed")]
    Failed(#[source] StoreError),
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<sqlx::migrate::MigrateError> for MigrateError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as Sqlx;
        match error {
            Sqlx::VersionMissing(migration) => Self::Newer { migration },
            Sqlx::VersionMismatch(migration) => Self::Altered { migration },
            Sqlx::Execute(error) | Sqlx::ExecuteMigration(error, _) => error.into(),
            // What is left are messages about migrations, without a word of data.
            other => Self::Failed(StoreError::Unexpected(Cause::new(other))),
        }
    }
}
