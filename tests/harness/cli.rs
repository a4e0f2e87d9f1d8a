//! The built binary, run as a command.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::guard::Stop;
use super::installation::unprivileged;
use super::keyring;
use super::process::{Process, exit_code};
use super::scratch::Scratch;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tenant-service");
const DEADLINE: Duration = Duration::from_mins(1);

/// What a command has said in the end.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Panics with the whole output unless that is the exit code.
    pub fn expecting(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code; stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// The standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}):\n{}", self.stdout))
    }
}

/// Whether a process in this environment needs a keyring and was given none. A test that means none
/// gives it an empty `KEYRING_FILE`.
pub(super) fn needs_keyring<N: AsRef<str>, V: AsRef<str>>(
    environment: impl IntoIterator<Item = (N, V)>,
) -> bool {
    let (mut on_postgres, mut is_given) = (false, false);
    for (name, value) in environment {
        on_postgres |= name.as_ref() == "DATABASE_URL" && value.as_ref().starts_with("postgres")
            || name.as_ref() == "DB_NAME";
        is_given |= name.as_ref() == "KEYRING_FILE";
    }
    on_postgres && !is_given
}

/// The environment of a command.
fn environment<'a>(envs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let keyring = needs_keyring(envs.iter().copied()).then(|| ("KEYRING_FILE", keyring::file()));
    envs.iter().copied().chain(keyring).collect()
}

/// Runs `tenant-service ARGS…` to its end, with nothing in its environment but `envs` (and the
/// harness's keyring, where they name a Postgres and no other), in an empty folder: paths are to be
/// absolute.
pub async fn run_cli(args: &[&str], envs: &[(&str, &str)]) -> Output {
    let folder = Scratch::new("cli");
    let process = spawn_cli_in(&folder, args, envs);
    let code = exit_code(process.exited(DEADLINE).await);
    Output { code, stdout: process.stdout.text(), stderr: process.stderr.text() }
}

/// The same without root's rights, for root may write whatever it likes; with a copy of the harness's
/// keyring that it can read.
pub async fn run_cli_unprivileged(args: &[&str], envs: &[(&str, &str)]) -> Output {
    let folder = Scratch::new("cli");
    let process = spawn_cli_unprivileged(&folder, args, envs);
    let code = exit_code(process.exited(DEADLINE).await);
    Output { code, stdout: process.stdout.text(), stderr: process.stderr.text() }
}

/// Starts a command without root's rights; it is killed on drop. Its folder is `folder`, where it
/// may not write if that is root's.
pub fn spawn_cli_unprivileged(folder: &Path, args: &[&str], envs: &[(&str, &str)]) -> Process {
    let mut command = Command::new(BINARY);
    let keyring = folder.join("keyring.json");
    fs::copy(keyring::file(), &keyring).expect("the folder can be written to");
    // The owner of what one makes is oneself.
    if fs::metadata(folder).expect("a folder just made").uid() == 0 {
        // The binary may be where nobody else can go.
        let copy = folder.join("tenant-service");
        fs::copy(BINARY, &copy).expect("the folder can be written to");
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is one's own");
        let (user, group) = unprivileged();
        command = Command::new(copy);
        command.uid(user).gid(group);
        chown(&keyring, Some(user), Some(group)).expect("root gives files away");
    }
    command.args(args).env_clear().envs(envs.iter().copied()).env("KEYRING_FILE", &keyring);
    command.current_dir(folder);
    Process::spawn(
        "tenant-service without rights",
        Stop::Terminate,
        command.stdout(Stdio::piped()).stderr(Stdio::piped()),
    )
}

/// Starts a command that does not end by itself (`events tail`); it is killed on drop. Its folder
/// is `folder`.
pub fn spawn_cli_in(folder: &Path, args: &[&str], envs: &[(&str, &str)]) -> Process {
    let mut command = Command::new(BINARY);
    command.args(args).env_clear().envs(environment(envs)).current_dir(folder);
    Process::spawn(
        format!("tenant-service {}", args.join(" ")),
        Stop::Terminate,
        command.stdout(Stdio::piped()).stderr(Stdio::piped()),
    )
}
