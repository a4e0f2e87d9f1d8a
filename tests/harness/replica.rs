//! Replicas: processes of the built binary.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use super::cli::{BINARY, needs_keyring};
use super::database::Database;
use super::eventually::Watch;
use super::guard::Stop;
use super::http::{Call, client};
use super::keyring;
use super::metrics::Metrics;
use super::process::{Process, exit_code};
use super::redis::Redis;
use super::scratch::Scratch;

/// Generous: a debug build, several at once, on two cores.
const DEADLINE: Duration = Duration::from_secs(30);
/// Lines of log to print when a test fails.
const TAIL: usize = 60;

/// What a replica has in its environment unless the test says otherwise. A long bound, so that no
/// pause of the machine that runs the tests fences a replica which is meant to serve from cache.
const DEFAULTS: &[(&str, &str)] = &[
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    ("LOG_FORMAT", "json"),
    ("RUST_LOG", "info,tenant_service=debug"),
    ("STALENESS_BOUND_MS", "10000"),
    ("POLL_INTERVAL_MS", "200"),
    ("ANONYMOUS_SCOPES", "all"),
];

/// Several replicas at once.
pub enum Cluster {}

impl Cluster {
    /// They start at the same time, on purpose.
    pub async fn start(count: usize, database: &Database, redis: Option<&Redis>) -> Vec<Replica> {
        let mut builder = Replica::builder().database(database);
        if let Some(redis) = redis {
            builder = builder.redis(redis);
        }
        builder.start_many(count).await
    }
}

/// How to start a replica; of one builder, any number can be started.
#[derive(Clone)]
pub struct Builder {
    environment: BTreeMap<String, String>,
}

impl Builder {
    pub fn database(self, database: &Database) -> Self {
        self.env("DATABASE_URL", &database.url)
    }

    pub fn redis(self, redis: &Redis) -> Self {
        self.env("REDIS_URL", &redis.url())
    }

    /// Where the embedded database is kept: for a test that starts a second process on it.
    /// Otherwise it goes with the replica.
    pub fn data_dir(self, path: &Path) -> Self {
        self.env("DATA_DIR", path.to_str().expect("a path of text"))
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self) -> Replica {
        let replica = self.spawn();
        replica.ready().await;
        replica
    }

    /// The same for several at once.
    pub async fn start_many(&self, count: usize) -> Vec<Replica> {
        let replicas: Vec<Replica> = (0..count).map(|_| self.spawn()).collect();
        for replica in &replicas {
            replica.ready().await;
        }
        replicas
    }

    /// Starts the process and waits for nothing: see [`Replica::listening`] and [`Replica::ready`].
    pub fn spawn(&self) -> Replica {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = Scratch::new("replica");
        let mut environment = self.environment.clone();
        let name = environment
            .entry("INSTANCE_ID".to_owned())
            .or_insert_with(|| format!("replica-{number}"))
            .clone();
        if !environment.contains_key("DATABASE_URL") {
            let data = folder.join("data").to_str().expect("a path of text").to_owned();
            environment.entry("DATA_DIR".to_owned()).or_insert(data);
        }
        if needs_keyring(&environment) {
            environment.insert("KEYRING_FILE".to_owned(), keyring::file().to_owned());
        }
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .envs(&environment)
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let process = Process::spawn(name, Stop::Terminate, &mut command);
        Replica { process, address: OnceLock::new(), client: client(), folder }
    }
}

/// A running replica, killed on drop. When that is because the test panics, the end of its log is
/// printed.
pub struct Replica {
    pub process: Process,
    address: OnceLock<String>,
    client: Client,
    /// Where the process runs; it holds the embedded database.
    pub folder: Scratch,
}

impl Replica {
    pub fn builder() -> Builder {
        let defaults = DEFAULTS.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Builder { environment: defaults.collect() }
    }

    /// Waits until the process says where it listens.
    pub async fn listening(&self) {
        let line = self.wait_for_log(|line| line["message"] == "listening").await;
        let address = line["address"].as_str().unwrap_or_else(|| panic!("no address in {line}"));
        // Said once; who waits twice learns the same.
        self.address.get_or_init(|| address.to_owned());
    }

    /// Waits until `GET /readyz` answers 200.
    pub async fn ready(&self) {
        self.listening().await;
        let mut watch = Watch::new(DEADLINE, format!("{} is ready", self.process.name));
        loop {
            let status = self.process.exit_status();
            assert!(status.is_none(), "{} has ended: {status:?}", self.process.name);
            let asked = async {
                match self.get("/readyz").attempt().await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
                    Err(error) => Err(format!("{error:?}")),
                }
            };
            if watch.look(asked).await.is_some() {
                return;
            }
        }
    }

    /// `127.0.0.1:45123`.
    pub fn address(&self) -> &str {
        self.address.get().unwrap_or_else(|| panic!("{} is not listening yet", self.process.name))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn request(&self, method: Method, path: &str) -> Call {
        Call::new(&self.client, method, &self.url(path))
    }

    pub fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path)
    }

    /// The body of a 200.
    pub async fn get_json(&self, path: &str) -> Value {
        self.get(path).await.expecting(200).json()
    }

    pub fn put_json(&self, path: &str, body: &Value) -> Call {
        self.request(Method::PUT, path).json(body)
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Call {
        self.request(Method::POST, path).json(body)
    }

    /// With the content type `application/json`.
    pub fn patch_json(&self, path: &str, body: &Value) -> Call {
        self.request(Method::PATCH, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.request(Method::DELETE, path)
    }

    pub async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics").await.expecting(200).text())
    }

    /// Everything logged so far, a JSON object a line; what is no JSON, as a string.
    pub fn logs(&self) -> Vec<Value> {
        self.process.stdout.all().iter().map(|line| parse(line)).collect()
    }

    /// The first line, from the start of the process on, that is as wanted.
    #[track_caller]
    pub fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> impl Future<Output = Value> {
        let mut watch = Watch::new(DEADLINE, format!("{} logs a certain line", self.process.name));
        async move {
            let mut seen = 0;
            loop {
                // Asked first: once the output has ended, its lines are all there.
                let ended = self.process.stdout.ended();
                let lines = self.process.stdout.since(seen);
                seen += lines.len();
                let found = lines.iter().map(|line| parse(line)).find(&wanted);
                assert!(
                    found.is_some() || !ended,
                    "{} has ended without that line in its log",
                    self.process.name
                );
                if let Some(line) = watch.look(async { found }).await {
                    return line;
                }
            }
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM; the exit code, once it has ended.
    pub async fn terminate(&self) -> i32 {
        self.process.signal("TERM");
        exit_code(self.process.exited(DEADLINE).await)
    }

    /// SIGSTOP; returns when it stands still.
    pub async fn freeze(&self) {
        self.process.freeze().await;
    }

    pub fn thaw(&self) {
        self.process.thaw();
    }
}

/// For `unwrap` on a whole cluster.
impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.process.name, self.address.get())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if thread::panicking() {
            // Before the kill: a line or two more do not matter, but that it was killed would
            // mislead.
            let Process { name, stdout, stderr, .. } = &self.process;
            let status = self
                .process
                .exit_status()
                .map_or_else(|| "running".to_owned(), |status| status.to_string());
            eprintln!("--- {name} ({status}), the end of its log ---\n{}", stdout.tail(TAIL));
            eprintln!("--- {name}, the end of its stderr ---\n{}", stderr.tail(TAIL));
        }
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))
}
