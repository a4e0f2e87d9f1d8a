//! Where the truth is.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Mistakes;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
#[group(skip)]
pub(super) struct Options {
    /// postgres://user:password@host/database, or sqlite://path/to/file. Default: SQLite in
    /// DATA_DIR, for one process
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<SecretString>,

    /// Instead of DATABASE_URL: the Postgres server [default: localhost]
    #[arg(long, env = "DB_HOST", value_name = "HOST")]
    db_host: Option<String>,

    /// Its port [default: 5432]
    #[arg(long, env = "DB_PORT", value_name = "PORT")]
    db_port: Option<String>,

    /// The database
    #[arg(long, env = "DB_NAME", value_name = "NAME")]
    db_name: Option<String>,

    /// The user
    #[arg(long, env = "DB_USER", value_name = "USER")]
    db_user: Option<String>,

    /// The user's password
    #[arg(long, env = "DB_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    db_password: Option<SecretString>,

    /// Directory of the embedded database
    #[arg(long, env = "DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
}

/// Where the truth is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A Postgres server, for any number of replicas.
    Postgres {
        /// The URL, password included.
        url: SecretString,
    },
    /// A file, for one process.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Nothing was configured: the demo tenant is loaded into an empty database.
        embedded: bool,
    },
}

const ACCEPTS: &str =
    "must be postgres://user:password@host:port/database or sqlite://path/to/file";

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Database> {
        let parts = [&self.db_host, &self.db_port, &self.db_name, &self.db_user];
        let password = self.db_password.as_ref().is_some_and(|text| !blank(text));
        let any_part = password || parts.iter().any(|part| part.as_deref().is_some_and(filled));
        match self.database_url.as_ref().filter(|url| !blank(url)) {
            Some(_) if any_part => {
                mistakes.note(
                    "DATABASE_URL",
                    "is set together with DB_HOST, DB_PORT, DB_NAME, DB_USER or DB_PASSWORD; set one or the other, so that it is clear which counts",
                );
                None
            }
            Some(url) => from_url(url, mistakes),
            None if any_part => self.built_from_parts(mistakes),
            None => {
                let path = self.data_dir.join("tenant-service.db");
                Some(Database::Sqlite { path, embedded: true })
            }
        }
    }

    fn built_from_parts(self, mistakes: &mut Mistakes) -> Option<Database> {
        let mut required = |part: Option<String>, variable| {
            let part = part.filter(|text| filled(text));
            if part.is_none() {
                mistakes.note(variable, "is needed with the other DB_ variables");
            }
            part
        };
        let (name, user) = (required(self.db_name, "DB_NAME"), required(self.db_user, "DB_USER"));
        let host = self.db_host.filter(|text| filled(text)).unwrap_or_else(|| "localhost".into());
        let port = self.db_port.filter(|text| filled(text)).map_or(Ok(5432), |text| text.parse());
        let Ok(port) = port else {
            mistakes.note("DB_PORT", "must be a port number");
            return None;
        };
        let (name, user) = (name?, user?);
        if matches!(name.as_str(), "." | "..") {
            mistakes.note("DB_NAME", "must be the name of a database");
            return None;
        }
        // The setters escape what a URL needs, but for the sign that begins an escape: a password
        // may hold any character.
        let escaped = |text: &str| text.replace('%', "%25");
        let mut url = Url::parse("postgres://localhost/").ok()?;
        let password = self.db_password.as_ref().filter(|text| !blank(text));
        let built = url.set_host(Some(&host)).is_ok()
            && url.set_port(Some(port)).is_ok()
            && url.set_username(&escaped(&user)).is_ok()
            && url
                .set_password(password.map(|text| escaped(text.expose_secret())).as_deref())
                .is_ok();
        if !built {
            mistakes.note("DB_HOST", "must be a host name or an IP address");
            return None;
        }
        url.path_segments_mut().ok()?.clear().push(&name);
        Some(Database::Postgres { url: String::from(url).into() })
    }
}

fn from_url(url: &SecretString, mistakes: &mut Mistakes) -> Option<Database> {
    let text = url.expose_secret().trim();
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(['?', '#']) || path.contains(":memory:") {
            mistakes.note(
                "DATABASE_URL",
                "must name a file after sqlite://, such as sqlite:///var/lib/tenant-service/tenants.db",
            );
            return None;
        }
        return Some(Database::Sqlite { path: path.into(), embedded: false });
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => {
            if url.path().trim_matches('/').is_empty() {
                mistakes.note("DATABASE_URL", format!("names no database; it {ACCEPTS}"));
                return None;
            }
            Some(Database::Postgres { url: text.to_owned().into() })
        }
        _ => {
            mistakes.note("DATABASE_URL", ACCEPTS);
            None
        }
    }
}

fn filled(text: &str) -> bool {
    !text.trim().is_empty()
}

fn blank(secret: &SecretString) -> bool {
    !filled(secret.expose_secret())
}
