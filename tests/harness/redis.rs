//! A redis-server of one's own.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::time::timeout;

use super::eventually::{Watch, eventually};
use super::guard::Stop;
use super::monitor::Monitor;
use super::pki::Pair;
use super::ports::{PortTaken, candidates, free_port};
use super::process::{Process, lock};
use super::scratch::Scratch;

const START: Duration = Duration::from_secs(30);
/// A sentinel looks every second, or every ten.
const SWITCH: Duration = Duration::from_mins(1);
/// The client's own half a second is little on a busy machine.
const ANSWER: Duration = Duration::from_secs(10);

/// What a [`Sentinel`] calls the server that it watches.
pub const MASTER: &str = "mymaster";

/// Keeps nothing on disk unless it is told to (`SAVE`): after a kill it is empty.
pub struct Redis {
    /// Replaced by a restart. It goes before the folder that it runs in.
    process: Mutex<Arc<Process>>,
    port: u16,
    arguments: Vec<String>,
    folder: Scratch,
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further arguments for redis-server, such as `--replicaof`.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let folder = Scratch::new("redis");
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        for port in candidates() {
            if let Ok(process) = launch(port, &folder, &arguments).await {
                return Self { process: Mutex::new(Arc::new(process)), port, arguments, folder };
            }
        }
        panic!("{PortTaken}");
    }

    /// On a second port it speaks TLS, with this certificate for `localhost`; its URL comes too.
    pub async fn start_with_tls(pair: &Pair) -> (Self, String) {
        let [port, certificate, key] =
            [free_port().to_string(), text(&pair.certificate), text(&pair.key)];
        let arguments = ["--tls-port", &port, "--tls-cert-file", &certificate];
        let key = ["--tls-key-file", &key, "--tls-auth-clients", "no"];
        let server = Self::start_with(&[arguments, key].concat()).await;
        (server, format!("rediss://localhost:{port}"))
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection; it is not made again when it breaks.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(self.port)
            .await
            .unwrap_or_else(|error| panic!("a connection to {}: {error}", self.url()))
    }

    /// SIGKILL: connections break, all data is gone.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// A server on the same port, with another run id; empty, unless one before was told to `SAVE`.
    /// The one before is killed if it still runs.
    pub async fn restart(&self) {
        self.kill();
        let process = launch(self.port, &self.folder, &self.arguments).await;
        let process = process.unwrap_or_else(|taken| panic!("port {}: {taken}", self.port));
        *lock(&self.process) = Arc::new(process);
    }

    /// SIGSTOP: connections stay, and nothing answers. Returns when it stands still.
    pub async fn pause(&self) {
        self.process().freeze().await;
    }

    pub fn resume(&self) {
        self.process().thaw();
    }

    /// How often the server has run the command since it started, within scripts too. A
    /// subcommand's name is `config|get`.
    pub async fn command_count(&self, name: &str) -> u64 {
        let stats = info(&mut self.connection().await, "commandstats").await;
        let stats = stats.unwrap_or_else(|error| panic!("INFO commandstats: {error}"));
        let start = format!("cmdstat_{}:calls=", name.to_lowercase());
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix(&start)?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// Records every command from now on.
    pub async fn monitor(&self) -> Monitor {
        Monitor::start(self.port).await
    }

    /// What the server has logged since its last start.
    pub fn log(&self) -> String {
        log(&self.folder)
    }

    fn process(&self) -> Arc<Process> {
        Arc::clone(&lock(&self.process))
    }
}

/// Watches a master and its replicas, and has one of these take its place.
pub struct Sentinel {
    _process: Process,
    port: u16,
    _folder: Scratch,
}

impl Sentinel {
    pub async fn of(master: &Redis) -> Self {
        Self::watching(master.port, "").await
    }

    /// One that speaks TLS on a second port, with this certificate, and to the master at this URL;
    /// both are vouched for by the authority in this file. Its own URL comes too.
    pub async fn over_tls(master: &str, pair: &Pair, authority: &Path) -> (Self, String) {
        let port = free_port();
        let (certificate, key) = (text(&pair.certificate), text(&pair.key));
        let authority = text(authority);
        let master = master.rsplit(':').next().and_then(|port| port.parse().ok());
        let tls = format!(
            "tls-port {port}\ntls-replication yes\ntls-auth-clients no\n\
             tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {authority}\n"
        );
        let sentinel = Self::watching(master.expect("it ends in a port"), &tls).await;
        (sentinel, format!("rediss://localhost:{port}"))
    }

    async fn watching(watched: u16, more: &str) -> Self {
        let folder = Scratch::new("sentinel");
        for port in candidates() {
            // It writes down there what it learns.
            let file = folder.join("sentinel.conf");
            let configuration = format!(
                "{more}port {port}\nbind 127.0.0.1\ndir {}\n\
                 sentinel monitor {MASTER} 127.0.0.1 {watched} 1\n\
                 sentinel down-after-milliseconds {MASTER} 500\n\
                 sentinel failover-timeout {MASTER} 5000\n",
                folder.display()
            );
            fs::write(&file, configuration).expect("the folder can be written to");
            let mut command = Command::new(find_server());
            command.arg(&file).arg("--sentinel");
            if let Ok(process) = answers(port, &folder, command).await {
                return Self { _process: process, port, _folder: folder };
            }
        }
        panic!("{PortTaken}");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(self.port).await.unwrap_or_else(|error| panic!("the sentinel: {error}"))
    }

    /// Where it says that the master is.
    pub async fn master(&self) -> u16 {
        let ask = ::redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER).to_owned();
        let told: RedisResult<(String, u16)> = ask.query_async(&mut self.connection().await).await;
        told.unwrap_or_else(|error| panic!("the sentinel: {error}")).1
    }

    /// Has it make another server the master, once it knows one that can be; returns when it has.
    pub async fn fail_over(&self) {
        let before = self.master().await;
        let fail_over = ::redis::cmd("SENTINEL").arg("FAILOVER").arg(MASTER).to_owned();
        eventually(SWITCH, "the sentinel begins a failover", async || {
            fail_over.query_async::<()>(&mut self.connection().await).await
        })
        .await;
        self.switches_from(before).await;
    }

    /// Waits until it says that another server than this one is the master.
    pub async fn switches_from(&self, before: u16) {
        let what = "the sentinel names another master";
        eventually(SWITCH, what, async || self.master().await != before).await;
    }
}

async fn launch(port: u16, folder: &Scratch, arguments: &[String]) -> Result<Process, PortTaken> {
    let mut command = Command::new(find_server());
    command.args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command.arg("--dir").arg(&**folder).args(arguments);
    answers(port, folder, command).await
}

/// Starts a server in this folder, and waits until it answers.
async fn answers(port: u16, folder: &Scratch, mut command: Command) -> Result<Process, PortTaken> {
    let output = File::create(folder.join("redis.log")).expect("the folder can be written to");
    command.stdout(output).stderr(Stdio::null());
    let process = Process::spawn("redis-server", Stop::Terminate, &mut command);
    let mut watch = Watch::new(START, "Redis answers");
    loop {
        if let Some(status) = process.exit_status() {
            let log = log(folder);
            assert!(
                log.contains("Address already in use"),
                "redis-server ended with {status}:\n{log}"
            );
            return Err(PortTaken);
        }
        // Whoever else listens there may take the connection and say nothing.
        let asked = async {
            let answer = timeout(Duration::from_secs(1), process_id(port)).await;
            answer.map_err(|late| late.to_string())?.map_err(|error| error.to_string())
        };
        if let Some(pid) = watch.look(asked).await {
            // Somebody else's server might have answered.
            return if pid == process.pid { Ok(process) } else { Err(PortTaken) };
        }
    }
}

/// Of the server on the port; nothing while it is not up.
async fn process_id(port: u16) -> RedisResult<u32> {
    let info = info(&mut connect(port).await?, "server").await?;
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")?.parse().ok());
    Ok(pid.expect("a Redis server tells its process id"))
}

async fn connect(port: u16) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER))
        .set_response_timeout(Some(ANSWER));
    Client::open(url(port))?.get_multiplexed_async_connection_with_config(&config).await
}

async fn info(connection: &mut MultiplexedConnection, section: &str) -> RedisResult<String> {
    ::redis::cmd("INFO").arg(section).query_async(connection).await
}

/// On the PATH, or where Homebrew puts it.
fn find_server() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let homebrew = ["/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(homebrew)
        .map(|folder| folder.join("redis-server"))
        .find(|file| file.is_file())
        .expect("Redis is needed to test: `apt install redis-server`, `brew install redis`, or run scripts/test")
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

fn log(folder: &Scratch) -> String {
    fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}
