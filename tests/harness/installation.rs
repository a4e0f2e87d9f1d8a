//! Postgres, 13 or newer, as the machine has it: found, given a data folder, started.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::eventually::Watch;
use super::guard::Stop;
use super::ports::PortTaken;
use super::postgres::SUPERUSER;
use super::process::Process;
use super::scratch::Scratch;

/// Generous: it is paid only by a machine that cannot start the server at all.
const START: Duration = Duration::from_mins(1);

/// `synchronous_commit` stays on, as in production; what a power failure would lose does not matter
/// here.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "max_connections=400",
    "fsync=off",
    "full_page_writes=off",
    // In the data folder, so that nothing stays in /dev/shm.
    "dynamic_shared_memory_type=mmap",
    "timezone=UTC",
];

/// Binaries, a data folder, and whose they are: all of a cluster that outlives its postmaster.
pub(super) struct Installation {
    binaries: PathBuf,
    /// Postgres refuses to run as root, so root runs it as another user.
    run_as: Option<(u32, u32)>,
    folder: Scratch,
}

impl Installation {
    pub(super) async fn new() -> Self {
        let folder = Scratch::in_memory("postgres");
        // The owner of what one makes is oneself.
        let root = fs::metadata(&*folder).expect("a folder just made").uid() == 0;
        let run_as = root.then(unprivileged);
        if let Some((user, group)) = run_as {
            chown(&*folder, Some(user), Some(group)).expect("root gives folders away");
        }
        let installation = Self { binaries: find_binaries(), run_as, folder };
        let mut initdb = installation.command("initdb");
        initdb.args(["--username", SUPERUSER, "--auth", "trust", "--no-sync"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C"]);
        initdb.arg("--pgdata").arg(installation.data());
        let initdb = Process::spawn(
            "initdb",
            Stop::Terminate,
            initdb.stdout(Stdio::piped()).stderr(Stdio::piped()),
        );
        let status = initdb.exited(START).await;
        assert!(
            status.success(),
            "initdb: {status}\n{}\n{}",
            initdb.stdout.text(),
            initdb.stderr.text()
        );
        installation
    }

    pub(super) async fn launch(&self, port: u16) -> Result<Process, PortTaken> {
        let log = File::create(self.log_file()).expect("the folder can be written to");
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &port.to_string()]);
        postgres.arg("-c").arg(format!("unix_socket_directories={}", self.folder.display()));
        postgres.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let process = Process::spawn("postgres", Stop::Postgres, postgres.stderr(log));
        let mut watch = Watch::new(START, "Postgres takes connections");
        loop {
            if let Some(status) = process.exit_status() {
                let log = self.log();
                assert!(
                    log.contains("Address already in use"),
                    "Postgres ended with {status}:\n{log}"
                );
                return Err(PortTaken);
            }
            if watch.look(async { self.is_ready(process.pid) }).await.is_some() {
                return Ok(process);
            }
        }
    }

    /// Asks the postmaster's own file: on the port, somebody else might answer.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines().map(str::trim);
        lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Has the next start recover, until it is told that this is the primary now.
    pub(super) fn begin_as_a_standby(&self) {
        let (signal, owner) = (self.data().join("standby.signal"), fs::metadata(self.data()));
        fs::write(&signal, "").expect("a file in the data folder");
        // The server removes it when it is promoted.
        let owner = owner.expect("a data folder");
        chown(&signal, Some(owner.uid()), Some(owner.gid())).expect("it is the server's");
    }

    /// A copy of a file that is the server's own, as it wants a private key to be.
    pub(super) fn adopt(&self, file: &Path) -> PathBuf {
        let copy = self.folder.join(file.file_name().expect("a file"));
        fs::copy(file, &copy).expect("the folder can be written to");
        fs::set_permissions(&copy, Permissions::from_mode(0o600)).expect("it is one's own");
        if let Some((user, group)) = self.run_as {
            chown(&copy, Some(user), Some(group)).expect("root gives files away");
        }
        copy
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What `pg_dump` writes of the database at this URL.
    pub(super) async fn dump(&self, url: &str) -> String {
        let mut dump = self.command("pg_dump");
        dump.arg(url).stdout(Stdio::piped()).stderr(Stdio::piped());
        let dump = Process::spawn("pg_dump", Stop::Terminate, &mut dump);
        let status = dump.exited(START).await;
        assert!(status.success(), "pg_dump: {status}\n{}", dump.stderr.text());
        dump.stdout.text()
    }

    fn command(&self, name: &str) -> Command {
        // macOS allows 256 open files by default, and there each connection slot's semaphore is
        // one.
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"ulimit -n 4096 2>/dev/null; exec "$0" "$@""#])
            .arg(self.binaries.join(name));
        // In English, and without anybody's PGPORT.
        command
            .env_clear()
            .envs([("LC_ALL", "C"), ("PATH", "/usr/bin:/bin")])
            .current_dir(&*self.folder);
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
        command.stdout(Stdio::null());
        command
    }
}

/// The user and group that root runs as what root can't, or what is to do without root's rights.
pub(super) fn unprivileged() -> (u32, u32) {
    let id = |which: &str, user: &str| {
        let output = Command::new("id").args([which, user]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
        .expect("a user `postgres` or `nobody`, for Postgres does not run as root")
}

/// The folder with `initdb` and `postgres`: on the PATH, or where distributions and Homebrew put
/// it.
fn find_binaries() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path);
    let installed = [
        ("/usr/lib/postgresql", ""),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
        ("/usr", "pgsql-"),
        ("/Library/PostgreSQL", ""),
    ];
    let installed =
        installed.into_iter().flat_map(|(parent, prefix)| versions(Path::new(parent), prefix));
    on_path
        .chain(installed)
        // Debian's and Homebrew's PATH hold links into the folder that has both.
        .filter_map(|folder| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned()))
        .find(|folder| folder.join("postgres").is_file())
        .expect("Postgres is needed to test: `apt install postgresql`, `brew install postgresql`, or run scripts/test")
}

/// `parent/prefix*/bin`, newest version first.
fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_by_key(|name| {
        name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or(0)
    });
    names.iter().rev().map(|name| parent.join(name).join("bin")).collect()
}
