//! One test's database.

use std::thread;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ColumnIndex, Connection, Decode, Row, Type};
use tokio::runtime;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::eventually::Watch;
use super::postgres::SERVICE;

/// The `application_name` of the connection on which a replica listens.
pub(super) const LISTENER: &str = "tenant-service listener";

/// Dropped when the test is over.
pub struct Database {
    pub name: String,
    /// As the service connects: the role owns the database and is no superuser.
    pub url: String,
    /// As the superuser.
    pub admin_url: String,
    /// As the superuser, to another database: for what cannot be done from within.
    pub(super) server_url: String,
    pub(super) pool: OnceCell<PgPool>,
}

impl Database {
    /// As another role.
    pub fn url_as(&self, role: &str) -> String {
        self.url.replacen(SERVICE, role, 1)
    }

    /// As if it had been served from for a while, which is what most tests mean.
    pub(super) async fn settle(&self) {
        self.execute_as_admin(
            "INSERT INTO tenant_changes_incarnation (incarnation, settled_in)
             SELECT gen_random_uuid()::text, system_identifier || '/' || oid
             FROM pg_control_system(), pg_database WHERE datname = current_database()",
        )
        .await;
    }

    /// Makes the tables as an older version has them, which knew the migrations up to this one.
    pub async fn migrate_to(&self, migration: i64) {
        static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");
        let done = async {
            let mut connection = PgConnection::connect(&self.url).await?;
            MIGRATOR.run_direct(Some(migration), &mut connection, false).await?;
            Ok(connection.close().await?)
        };
        done.await.unwrap_or_else(|error: MigrateError| panic!("migration {migration}: {error}"));
    }

    /// The test's own connections, in the service's role.
    pub async fn pool(&self) -> &PgPool {
        self.pool
            .get_or_init(async || {
                let pool = PgPoolOptions::new().max_connections(16).connect(&self.url).await;
                pool.unwrap_or_else(|error| panic!("connections to {}: {error}", self.url))
            })
            .await
    }

    /// Runs statements as `psql "$DATABASE_URL" -1 -c` would: in the service's role, on a
    /// connection of their own, and in one transaction unless they say otherwise.
    pub async fn execute(&self, sql: &str) {
        run(&self.url, sql).await;
    }

    /// As [`execute`](Self::execute), by the superuser.
    pub async fn execute_as_admin(&self, sql: &str) {
        run(&self.admin_url, sql).await;
    }

    /// The first column of the only row, read by the superuser: it answers whatever the service's
    /// role may do.
    pub async fn scalar<T>(&self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
        usize: ColumnIndex<PgRow>,
    {
        let read = async {
            let mut connection = PgConnection::connect(&self.admin_url).await?;
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await?;
            connection.close().await?;
            row.try_get(0)
        };
        read.await.unwrap_or_else(|error: sqlx::Error| panic!("{sql}: {error}"))
    }

    /// Ends the connections on which replicas listen for NOTIFY, and returns how many these were,
    /// once they are gone.
    pub async fn terminate_listeners(&self) -> usize {
        self.terminate(LISTENER).await
    }

    /// Ends this database's connections with that `application_name`, and returns how many these
    /// were, once they are gone.
    pub async fn terminate(&self, application: &str) -> usize {
        // The function sends a signal; it can wait for the end by itself only from version 14 on.
        let told: Result<Vec<(i32, bool)>, _> = async {
            let mut connection = PgConnection::connect(&self.server_url).await?;
            let query = sqlx::query_as(
                "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = $1 AND application_name = $2",
            );
            query.bind(&self.name).bind(application).fetch_all(&mut connection).await
        }
        .await;
        let told =
            told.unwrap_or_else(|error: sqlx::Error| panic!("ending {application:?}: {error}"));
        let pids: Vec<i32> = told.into_iter().map(|(pid, _)| pid).collect();
        let left =
            format!("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (ARRAY{pids:?}::int[])");
        let what = format!("the backends of {application:?} have ended");
        let mut watch = Watch::new(Duration::from_secs(10), what);
        while watch.look(async { self.scalar::<i64>(&left).await == 0 }).await.is_none() {}
        pids.len()
    }

    /// How many replicas listen for NOTIFY.
    pub async fn listeners(&self) -> i64 {
        self.scalar(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = '{LISTENER}'",
            self.name
        ))
        .await
    }

    /// Refuses new connections to everybody but the superuser, while those that exist live on.
    /// Together with [`terminate_listeners`](Self::terminate_listeners) it ends LISTEN for good and
    /// leaves the pools alone.
    pub async fn refuse_new_connections(&self, refuse: bool) {
        let limit = if refuse { 0 } else { -1 };
        run(&self.server_url, &format!("ALTER DATABASE {} CONNECTION LIMIT {limit}", self.name))
            .await;
    }
}

async fn run(url: &str, sql: &str) {
    let done = async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        connection.close().await
    };
    done.await.unwrap_or_else(|error: sqlx::Error| panic!("{sql}: {error}"));
}

impl Drop for Database {
    /// Best effort, for the disk's sake: in the end the whole cluster goes. On a thread, for a
    /// runtime cannot be blocked on from within itself.
    fn drop(&mut self) {
        let drop = async {
            let mut connection = PgConnection::connect(&self.server_url).await?;
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() {
                    let _ =
                        runtime.block_on(async { timeout(Duration::from_secs(10), drop).await });
                }
            });
        });
    }
}
