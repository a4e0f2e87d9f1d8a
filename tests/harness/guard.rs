//! The guardian: a process that outlives this one to stop its servers and remove its folders.
//!
//! `Drop` does not run for statics, after `process::exit` or on SIGKILL. A pipe closes in every one
//! of these cases.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How a process wants to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Terminate,
    /// An immediate shutdown; SIGKILL would leave backends and shared memory behind.
    Postgres,
}

pub struct Guardian {
    pipe: Mutex<ChildStdin>,
    /// Waited for in the guardian's own test alone: in earnest it ends after this process.
    child: Child,
}

/// The guardian of this process, started on first use. Whoever starts a process asks for it first:
/// on macOS a pipe is made close-on-exec in a second step, and a child born in between would keep
/// the guardian waiting.
pub fn guardian() -> &'static Guardian {
    static GUARDIAN: OnceLock<Guardian> = OnceLock::new();
    GUARDIAN.get_or_init(Guardian::start)
}

impl Guardian {
    pub fn start() -> Self {
        let mut child = Command::new("sh")
            .args(["-c", include_str!("guardian.sh"), "guardian"])
            .stdin(Stdio::piped())
            // An inherited output would keep `cargo test | tee` waiting for the guardian.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // Its own group: whoever kills the test's group spares the one who cleans up after it.
            .process_group(0)
            .spawn()
            .expect("the guardian (sh) starts");
        let pipe = Mutex::new(child.stdin.take().expect("the pipe was asked for"));
        Self { pipe, child }
    }

    pub fn watch(&self, pid: u32, stop: Stop) {
        match stop {
            Stop::Terminate => self.tell(&format!("pid {pid}")),
            Stop::Postgres => self.tell(&format!("postgres {pid}")),
        }
    }

    /// To be called once the process is reaped: its number may then be given to another one.
    pub fn forget(&self, pid: u32) {
        self.tell(&format!("gone {pid}"));
    }

    pub fn watch_dir(&self, path: &Path) {
        let text = path.to_str().expect("a temporary folder's name is text");
        assert!(
            path.is_absolute() && path.components().count() > 2 && !text.contains('\n'),
            "not a folder to remove blindly: {text:?}"
        );
        self.tell(&format!("dir {text}"));
    }

    fn tell(&self, line: &str) {
        // A panic elsewhere cannot have left half a line: each is one write.
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(format!("{line}\n").as_bytes())
            .expect("the guardian listens for as long as this process lives");
    }

    /// What the end of this process does; back when all is done.
    pub fn close(self) {
        let Self { pipe, mut child } = self;
        drop(pipe);
        child.wait().expect("the guardian can be waited for");
    }
}
