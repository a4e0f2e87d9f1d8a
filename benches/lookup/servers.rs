//! The two servers: processes of release builds, alike in all but what they do.

use std::env;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::bare::{self, Canned};
use crate::harness::cli::BINARY;
use crate::harness::guard::Stop;
use crate::harness::process::Process;
use crate::harness::{Database, Postgres, Redis, Scratch, Watch, keyring};

const START: Duration = Duration::from_secs(30);
/// What `/proc` counts processor time in: hundredths of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What the service stands on.
pub enum Backing {
    /// As in production.
    Servers(Box<(Database, Redis)>),
    /// The embedded default.
    Embedded,
}

impl Backing {
    /// Postgres and Redis, or (`BENCH_DATABASE=sqlite`) neither.
    pub async fn chosen() -> Self {
        match env::var("BENCH_DATABASE").as_deref() {
            Ok("sqlite") => Self::Embedded,
            Ok("postgres") | Err(_) => {
                Self::Servers(Box::new((Postgres::database().await, Redis::start().await)))
            }
            Ok(_) => panic!("BENCH_DATABASE must be postgres or sqlite"),
        }
    }
}

/// A running server.
pub struct Server {
    process: Process,
    /// `127.0.0.1:45123`.
    pub address: String,
    _folder: Scratch,
}

impl Server {
    /// The service, configured and logging as in production.
    pub async fn service(backing: &Backing, workers: u32) -> Self {
        let mut command = Command::new(BINARY);
        command.env_clear();
        command.envs([("PORT", "0"), ("RUST_LOG", "info"), ("LOG_FORMAT", "json")]);
        if let Backing::Servers(servers) = backing {
            let (database, redis) = &**servers;
            command.env("DATABASE_URL", &database.url).env("REDIS_URL", redis.url());
            command.env("KEYRING_FILE", keyring::file()).env("ANONYMOUS_SCOPES", "all");
        }
        Self::start("tenant-service", command, workers).await
    }

    /// The bare handler: this program again.
    pub async fn bare(answers: &[Canned], workers: u32) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        let answers = serde_json::to_string(answers).expect("text and numbers");
        command.env_clear().args([bare::ARGUMENT, &answers]);
        Self::start("bare handler", command, workers).await
    }

    /// Its output goes to a file: a pipe would have to be read by the process that makes the load.
    async fn start(name: &str, mut command: Command, workers: u32) -> Self {
        let folder = Scratch::new("bench");
        let log = folder.join("log");
        let output = File::create(&log).expect("a new folder can be written to");
        let errors = output.try_clone().expect("a file can be shared");
        command
            .env("TOKIO_WORKER_THREADS", workers.to_string())
            .current_dir(&folder)
            .stdout(output)
            .stderr(Stdio::from(errors));
        let process = Process::spawn(name, Stop::Terminate, &mut command);
        let mut watch = Watch::new(START, format!("{name} listens"));
        let address = loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            assert!(process.exit_status().is_none(), "{name} has ended:\n{text}");
            if let Some(address) = watch.look(async { listening(&text) }).await {
                break address;
            }
        };
        Self { process, address, _folder: folder }
    }

    /// The processor time that it has taken so far, on Linux.
    pub fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.pid)).ok()?;
        // The second field, a name in parentheses, may hold anything.
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let user: u32 = fields.next()?.parse().ok()?;
        let system: u32 = fields.next()?.parse().ok()?;
        Some(TICK * (user + system))
    }
}

/// The address, once the log has it.
fn listening(log: &str) -> Option<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut addresses = lines.filter(|line| line["message"] == "listening");
    addresses.find_map(|line| Some(line["address"].as_str()?.to_owned()))
}
