//! The built binary, run as a command.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::guard::Stop;
use super::installation::unprivileged;
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

/// Runs `tenant-service ARGS…` to its end, with nothing in its environment but `envs`, in an empty
/// folder: paths are to be absolute.
pub async fn run_cli(args: &[&str], envs: &[(&str, &str)]) -> Output {
    let folder = Scratch::new("cli");
    let process = spawn_cli_in(&folder, args, envs);
    let code = exit_code(process.exited(DEADLINE).await);
    Output { code, stdout: process.stdout.text(), stderr: process.stderr.text() }
}

/// The same without root's rights, for root may write whatever it likes.
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
    // The owner of what one makes is oneself.
    if fs::metadata(folder).expect("a folder just made").uid() == 0 {
        // The binary may be where nobody else can go.
        let copy = folder.join("tenant-service");
        fs::copy(BINARY, &copy).expect("the folder can be written to");
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is one's own");
        let (user, group) = unprivileged();
        command = Command::new(copy);
        command.uid(user).gid(group);
    }
    command.args(args).env_clear().envs(envs.iter().copied()).current_dir(folder);
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
    command.args(args).env_clear().envs(envs.iter().copied()).current_dir(folder);
    Process::spawn(
        format!("tenant-service {}", args.join(" ")),
        Stop::Terminate,
        command.stdout(Stdio::piped()).stderr(Stdio::piped()),
    )
}
