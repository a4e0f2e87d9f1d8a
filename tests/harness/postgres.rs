//! Throw-away Postgres clusters: one that the tests share, or one's own to stop and crash.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OnceCell;

use super::cli::run_cli;
use super::database::Database;
use super::installation::Installation;
use super::pki::Pair;
use super::ports::{PortTaken, candidates};
use super::process::{Process, lock};

/// The role that owns the test databases, as the service's role does in production: no superuser.
pub const SERVICE: &str = "svc";
pub(super) const SUPERUSER: &str = "postgres";
const TEMPLATE: &str = "template_tenants";

/// The way to databases.
pub enum Postgres {}

impl Postgres {
    /// The cluster that the tests of this process share, started by the first who asks.
    pub async fn shared() -> &'static Server {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_init(Server::new).await
    }

    /// A database of one's own in the shared cluster, migrated by `tenant-service migrate`.
    pub async fn database() -> Database {
        Self::shared().await.database().await
    }

    /// A database of one's own in the shared cluster, without anything in it.
    pub async fn empty_database() -> Database {
        Self::shared().await.empty_database().await
    }

    /// A cluster for a test that stops it.
    pub async fn own_cluster() -> Server {
        Server::new().await
    }
}

/// A cluster and its postmaster.
pub struct Server {
    /// Replaced by a restart. It goes before the folder that it runs in.
    process: Mutex<Arc<Process>>,
    installation: Installation,
    port: u16,
    template: OnceCell<()>,
    databases: AtomicU32,
}

impl Server {
    async fn new() -> Self {
        let installation = Installation::new().await;
        for port in candidates() {
            if let Ok(process) = installation.launch(port).await {
                let server = Self {
                    process: Mutex::new(Arc::new(process)),
                    installation,
                    port,
                    template: OnceCell::new(),
                    databases: AtomicU32::new(0),
                };
                server.administer(&format!("CREATE ROLE {SERVICE} LOGIN")).await;
                return server;
            }
        }
        panic!("{PortTaken}");
    }

    /// A new database, migrated. The migration is paid once a cluster; this is a copy of its
    /// result.
    pub async fn database(&self) -> Database {
        self.template.get_or_init(|| self.migrate_template()).await;
        let database = self.create(&format!("TEMPLATE {TEMPLATE}")).await;
        database.settle().await;
        database
    }

    /// The same as nobody has served from it yet: the first writes wait for whoever may have been
    /// served by a database before it.
    pub async fn unsettled_database(&self) -> Database {
        self.template.get_or_init(|| self.migrate_template()).await;
        self.create(&format!("TEMPLATE {TEMPLATE}")).await
    }

    /// A new database, empty.
    pub async fn empty_database(&self) -> Database {
        self.create("").await
    }

    /// The same, in another encoding than UTF8.
    pub async fn encoded_database(&self, encoding: &str) -> Database {
        self.create(&format!("TEMPLATE template0 ENCODING '{encoding}'")).await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A fast shutdown: clients are disconnected, what is committed is kept.
    pub async fn stop(&self) {
        self.end("INT").await;
    }

    /// An immediate shutdown, as by a power failure: the next start recovers from the log.
    pub async fn crash(&self) {
        self.end("QUIT").await;
    }

    /// Starts the stopped cluster again, on the same port and with the same data.
    pub async fn start(&self) {
        assert!(
            self.process().exit_status().is_some(),
            "the cluster is to be stopped before it starts"
        );
        let process = self.installation.launch(self.port).await;
        let process = process.unwrap_or_else(|taken| panic!("port {}: {taken}", self.port));
        *lock(&self.process) = Arc::new(process);
    }

    /// Starts the stopped cluster as a standby does, and promotes it: the same data, on a timeline of
    /// its own.
    pub async fn promote(&self) {
        self.installation.begin_as_a_standby();
        self.start().await;
        self.administer("SELECT pg_promote()").await;
    }

    /// Has it speak TLS with this certificate, where clients ask for that. It is started again.
    pub async fn speak_tls(&self, pair: &Pair) {
        let [certificate, key] =
            [&pair.certificate, &pair.key].map(|file| self.installation.adopt(file));
        for (setting, value) in [
            ("ssl_cert_file", certificate.display().to_string()),
            ("ssl_key_file", key.display().to_string()),
            ("ssl", "on".to_owned()),
        ] {
            self.administer(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await;
        }
        self.stop().await;
        self.start().await;
    }

    /// What the server has logged since its last start.
    pub fn log(&self) -> String {
        self.installation.log()
    }

    /// All of a database, as `pg_dump` writes it.
    pub async fn dump(&self, database: &Database) -> String {
        self.installation.dump(&database.admin_url).await
    }

    fn process(&self) -> Arc<Process> {
        Arc::clone(&lock(&self.process))
    }

    async fn end(&self, signal: &str) {
        let process = self.process();
        process.signal(signal);
        process.exited(Duration::from_secs(30)).await;
    }

    async fn create(&self, options: &str) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.administer(&format!("CREATE DATABASE {name} OWNER {SERVICE} {options}")).await;
        Database {
            url: self.url(SERVICE, &name),
            admin_url: self.url(SUPERUSER, &name),
            server_url: self.url(SUPERUSER, "postgres"),
            pool: OnceCell::new(),
            name,
        }
    }

    async fn migrate_template(&self) {
        // An earlier test may have failed at this point.
        self.administer(&format!("DROP DATABASE IF EXISTS {TEMPLATE}")).await;
        self.administer(&format!("CREATE DATABASE {TEMPLATE} OWNER {SERVICE}")).await;
        run_cli(&["migrate"], &[("DATABASE_URL", &self.url(SERVICE, TEMPLATE))]).await.expecting(0);
    }

    async fn administer(&self, sql: &str) {
        let done = async {
            let mut connection = PgConnection::connect(&self.url(SUPERUSER, "postgres")).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        };
        done.await.unwrap_or_else(|error: sqlx::Error| panic!("{sql}: {error}\n{}", self.log()));
    }

    fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }
}
