//! What a database is found to hold, and why it was not migrated.

use std::io;
use std::path::PathBuf;

use sqlx::FromRow;
use sqlx::migrate::{MigrateError as Failure, Migrator};

use super::{Cause, StoreError};

/// Tables whose names are ours. Found in a database that we have not migrated, somebody else made
/// them.
pub(super) const TABLES: [&str; 13] = [
    "tenants",
    "tenant_credentials",
    "tenant_credential_history",
    "tenant_changes",
    "tenant_changes_incarnation",
    "tenant_changes_horizon",
    "tenant_replicas",
    "tenant_sealing",
    "tenant_retired_keys",
    "tenant_tokens",
    "tenant_token_pepper",
    "tenant_audit",
    "tenant_audit_chain",
];

/// Where applied migrations are recorded: by the library's name for it, so that another program
/// that uses the library has one too.
pub(super) const RECORD: &str = "_sqlx_migrations";
pub(super) const APPLIED: &str = "SELECT version, description, checksum FROM _sqlx_migrations";

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
    /// Another program records its migrations where ours would be.
    #[error(
        "the database has a table {RECORD} in which another program records its migrations; \
         nothing was changed. Give tenant-service a database of its own, or in PostgreSQL a schema \
         (ALTER ROLE … IN DATABASE … SET search_path = …)"
    )]
    ForeignMigrations,
    /// The server lacks what the schema needs.
    #[error("the server is PostgreSQL {found}; version 13 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The database can't hold every text.
    #[error(
        "the database's encoding is {found}; UTF8 is needed. The encoding of a database can't be \
         changed: create another one (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"
    )]
    Encoding {
        /// Its encoding.
        found: String,
    },
    /// A standby, or a database or role that is set to be read-only.
    #[error("the database takes no writes: it is a standby, or set to be read-only")]
    ReadOnly,
    /// There is something to be done which is the owner's to do.
    #[error(
        "the database is not up to date, and this role may not change its tables; run \
         `tenant-service migrate` as the role that owns them"
    )]
    NotOwner(#[source] StoreError),
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
    /// The file of SQLite, or the folder it is in.
    #[error("{} cannot be created, or not be written to", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is there, and no database that can be worked with.
    #[error("{} cannot be used as a database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The lock that keeps processes from migrating at once.
    #[error("the lock file of the migration is not available")]
    Lock(#[source] io::Error),
    /// The database is out of reach, or a statement failed.
    #[error("the migration failed")]
    Failed(#[source] StoreError),
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for MigrateError {
    fn from(error: Failure) -> Self {
        match error {
            Failure::Execute(error) | Failure::ExecuteMigration(error, _) => error.into(),
            // What is left are messages about migrations, without a word of data.
            other => Self::Failed(StoreError::Unexpected(Cause::new(other))),
        }
    }
}

/// A migration that was applied.
#[derive(FromRow)]
pub(super) struct Applied {
    version: i64,
    description: String,
    checksum: Vec<u8>,
}

impl Applied {
    /// What it means that the record can't be read. A table of that name with other columns is
    /// another program's.
    pub(super) fn unreadable(error: sqlx::Error) -> MigrateError {
        let foreign = match &error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                // PostgreSQL's class of statements that don't fit the schema, but for missing
                // rights; and SQLite's only code for them.
                code.starts_with("42") && code != "42501" || code == "1"
            }
            sqlx::Error::ColumnDecode { .. } => true,
            _ => false,
        };
        if foreign { MigrateError::ForeignMigrations } else { error.into() }
    }
}

/// Whether there is nothing left to apply. Compares all that the library would, and tells our
/// migrations from another program's, which may have the same numbers.
pub(super) fn is_up_to_date(ours: &Migrator, applied: &[Applied]) -> Result<bool, MigrateError> {
    let recorded = |version: i64| applied.iter().find(|row| row.version == version);
    let first = ours.iter().next();
    let is_ours = first.is_some_and(|first| {
        recorded(first.version).is_some_and(|row| row.description == first.description)
    });
    if !is_ours {
        return Err(MigrateError::ForeignMigrations);
    }
    for Applied { version, checksum, .. } in applied {
        let Some(migration) = ours.iter().find(|migration| migration.version == *version) else {
            return Err(MigrateError::Newer { migration: *version });
        };
        if *migration.checksum != **checksum {
            return Err(MigrateError::Altered { migration: *version });
        }
    }
    Ok(ours.iter().all(|migration| recorded(migration.version).is_some()))
}
