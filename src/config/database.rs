//! Where the truth is.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use url::{Host, Url};

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
#[group(skip)]
pub(super) struct Options {
    /// postgres://user:password@host:5432/database, or sqlite:///path/to/file. Default: SQLite in
    /// DATA_DIR, for one process
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<Given>,

    /// Instead of DATABASE_URL: the Postgres server [default: localhost]
    #[arg(long, env = "DB_HOST", value_name = "HOST")]
    db_host: Option<Given>,

    /// Its port [default: 5432]
    #[arg(long, env = "DB_PORT", value_name = "PORT")]
    db_port: Option<Given>,

    /// The database; needed with any other DB_ variable
    #[arg(long, env = "DB_NAME", value_name = "NAME")]
    db_name: Option<Given>,

    /// The user; needed with any other DB_ variable
    #[arg(long, env = "DB_USER", value_name = "USER")]
    db_user: Option<Given>,

    /// The user's password, as it is: nothing in it has to be escaped
    #[arg(long, env = "DB_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    db_password: Option<Given>,

    /// Directory of the embedded database: SQLite, where no other database is configured
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

const ACCEPTS: &str = "must be postgres://user:password@host:port/database or sqlite:///path/to/file; in a password, / ? # @ % are written %2F %3F %23 %40 %25";
/// What the driver understands after a `?`. It would log any other parameter, with its value.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Database> {
        let parts = [&self.db_host, &self.db_port, &self.db_name, &self.db_user, &self.db_password];
        let any_part = parts.into_iter().any(Option::is_some);
        match &self.database_url {
            Some(_) if any_part => {
                mistakes.note(
                    "DATABASE_URL",
                    "is set together with DB_HOST, DB_PORT, DB_NAME, DB_USER or DB_PASSWORD; set one or the other, so that it is clear which counts",
                );
                None
            }
            Some(url) => from_url(mistakes.text("DATABASE_URL", url)?.trim(), mistakes),
            None if any_part => self.built_from_parts(mistakes),
            None => {
                let path = self.data_dir.join("tenant-service.db");
                Some(Database::Sqlite { path, embedded: true })
            }
        }
    }

    fn built_from_parts(self, mistakes: &mut Mistakes) -> Option<Database> {
        let mut required = |variable, given: Option<Given>, accepts| {
            let Some(given) = given else {
                mistakes.note(variable, "is needed with the other DB_ variables");
                return None;
            };
            mistakes.parsed(variable, &given, accepts, named)
        };
        let name = required("DB_NAME", self.db_name, "must be the name of a database");
        let user = required("DB_USER", self.db_user, "must be the name of a user");
        let host = self.db_host.map_or_else(
            || Some(Host::Domain("localhost".to_owned())),
            |given| {
                mistakes.parsed("DB_HOST", &given, "must be a host name or an IP address", host)
            },
        );
        let port = self
            .db_port
            .map_or(Some(5432), |given| mistakes.number("DB_PORT", &given, "a port", 1..=u16::MAX));
        let password = match &self.db_password {
            Some(given) => mistakes.text("DB_PASSWORD", given)?,
            None => "",
        };
        let (name, user, host, port) = (name?, user?, host?, port?);
        // The setters escape what a URL needs, but for the sign that begins an escape: a password
        // may hold any character.
        let escaped = |text: &str| text.replace('%', "%25");
        let mut url = Url::parse("postgres://localhost/").ok()?;
        let built = url.set_host(Some(&host.to_string())).is_ok()
            && url.set_port(Some(port)).is_ok()
            && url.set_username(&escaped(&user)).is_ok()
            && url.set_password(Some(&escaped(password))).is_ok();
        if !built {
            mistakes.note("DB_HOST", "must be a host name or an IP address");
            return None;
        }
        url.path_segments_mut().ok()?.clear().push(&name);
        Some(Database::Postgres { url: String::from(url).into() })
    }
}

/// A name that stays one in the path of a URL.
fn named(text: &str) -> Option<String> {
    (!matches!(text, "" | "." | "..")).then(|| text.to_owned())
}

/// A host, whole: of `db:5433` the setter of a URL would take `db`.
fn host(text: &str) -> Option<Host> {
    text.parse::<Ipv6Addr>().map(Host::Ipv6).or_else(|_| Host::parse_opaque(text)).ok()
}

fn from_url(text: &str, mistakes: &mut Mistakes) -> Option<Database> {
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
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let Some(url) = url else {
        mistakes.note("DATABASE_URL", ACCEPTS);
        return None;
    };
    let unknown = |name: &str| !PARAMETERS.contains(&name) && !name.starts_with("options[");
    if url.query_pairs().any(|(name, _)| unknown(&name)) {
        mistakes.note(
            "DATABASE_URL",
            format!(
                "has a parameter that is not understood; these are: {}. {ACCEPTS}",
                PARAMETERS.join(", ")
            ),
        );
        return None;
    }
    let name = url.path().trim_start_matches('/');
    if name.is_empty() {
        mistakes.note("DATABASE_URL", format!("names no database; it {ACCEPTS}"));
        return None;
    }
    // An `/`, an `@` or a `#` here is more likely the rest of a password.
    let whole = !name.contains(['/', '@']) && url.fragment().is_none();
    if !whole || PgConnectOptions::from_str(text).is_err() {
        mistakes.note("DATABASE_URL", ACCEPTS);
        return None;
    }
    Some(Database::Postgres { url: text.to_owned().into() })
}
