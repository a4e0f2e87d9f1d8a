//! A child process: watched by the guardian, killed on drop, its output kept.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::eventually::Watch;
use super::guard::{Stop, guardian};

/// Poisoning tells nothing here: no lock is held across anything that leaves its value half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Process {
    pub name: String,
    pub pid: u32,
    pub stdout: Lines,
    pub stderr: Lines,
    stop: Stop,
    child: Mutex<Reaped>,
}

struct Reaped {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    pub fn spawn(name: impl Into<String>, stop: Stop, command: &mut Command) -> Self {
        let name = name.into();
        let guardian = guardian();
        let mut child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("{name} does not start ({}): {error}", command.get_program().display())
        });
        let pid = child.id();
        guardian.watch(pid, stop);
        let stdout = child.stdout.take().map(Lines::of).unwrap_or_default();
        let stderr = child.stderr.take().map(Lines::of).unwrap_or_default();
        Self { name, pid, stdout, stderr, stop, child: Mutex::new(Reaped { child, status: None }) }
    }

    /// `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut reaped = lock(&self.child);
        if reaped.status.is_none() {
            reaped.status = reaped.child.try_wait().expect("a child can be waited for");
            if reaped.status.is_some() {
                guardian().forget(self.pid);
            }
        }
        reaped.status
    }

    /// Waits for the end of the process and of its output.
    pub async fn exited(&self, deadline: Duration) -> ExitStatus {
        let mut watch =
            Watch::new(deadline, format!("{} (process {}) has ended", self.name, self.pid));
        loop {
            let ended =
                async { self.exit_status().filter(|_| self.stdout.ended() && self.stderr.ended()) };
            if let Some(status) = watch.look(ended).await {
                return status;
            }
        }
    }

    /// Sends a signal by its name without `SIG`; `false` if the process is no more.
    pub fn signal(&self, name: &str) -> bool {
        if self.exit_status().is_some() {
            return false;
        }
        // While the lock is held nobody reaps, so the number cannot pass to another process. `kill`
        // is the shell's own: slim images have no other, and std sends nothing but KILL.
        let reaped = lock(&self.child);
        reaped.status.is_none()
            && Command::new("sh")
                .args(["-c", r#"kill -s "$0" "$1""#, name, &self.pid.to_string()])
                .stderr(Stdio::null())
                .status()
                .expect("sh runs")
                .success()
    }

    /// SIGSTOP, and back only when every thread stands still.
    pub async fn freeze(&self) {
        assert!(self.signal("STOP"), "{} is not there to be frozen", self.name);
        let what = format!("{} (process {}) stands still", self.name, self.pid);
        let mut watch = Watch::new(Duration::from_secs(10), what);
        while watch.look(async { stands_still(self.pid) }).await.is_none() {}
    }

    pub fn thaw(&self) {
        assert!(self.signal("CONT"), "{} is not there to be thawed", self.name);
    }

    /// SIGKILL, and back when it is gone.
    pub fn kill(&self) {
        self.end(|child| child.kill().expect("a child can be killed"));
    }

    fn end(&self, how: impl FnOnce(&mut Child)) {
        let mut reaped = lock(&self.child);
        if reaped.status.is_none() {
            how(&mut reaped.child);
            reaped.status = Some(reaped.child.wait().expect("a child can be waited for"));
            guardian().forget(self.pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The postmaster kills backends that do not go by themselves: the wait for it has an end.
        if self.stop == Stop::Postgres {
            self.signal("QUIT");
            self.end(|_| ());
        } else {
            self.kill();
        }
        self.stdout.join();
        self.stderr.join();
    }
}

/// The exit code as a shell shows it: 128 + the signal that ended the process.
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .expect("it ended one way or the other")
}

/// SIGSTOP returns before the last thread has stopped; Linux shows each of them, elsewhere `ps`
/// shows the process.
fn stands_still(pid: u32) -> bool {
    let stopped = |stat: &str| {
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
    };
    match fs::read_dir(format!("/proc/{pid}/task")) {
        // A thread that is gone before its turn counts as stopped.
        Ok(threads) => threads.flatten().all(|thread| {
            fs::read_to_string(thread.path().join("stat")).map_or(true, |stat| stopped(&stat))
        }),
        Err(_) => Command::new("ps")
            .args(["-o", "state=", "-p", &pid.to_string()])
            .output()
            .is_ok_and(|output| stopped(&String::from_utf8_lossy(&output.stdout))),
    }
}

/// What a stream has said so far, line by line. A thread reads it, so that it goes on whatever the
/// test's runtime does.
#[derive(Default)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // An error is an end like any other: the peer is gone.
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                lock(&kept).push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        Self { lines, reader: Some(reader) }
    }

    /// The lines from number `first` on.
    pub fn since(&self, first: usize) -> Vec<String> {
        lock(&self.lines).get(first..).unwrap_or_default().to_vec()
    }

    pub fn all(&self) -> Vec<String> {
        self.since(0)
    }

    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    pub fn tail(&self, count: usize) -> String {
        let lines = lock(&self.lines);
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    pub fn ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end of the stream.
    pub fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            // It does not panic; and if it did, the lines until then are still the best there is.
            let _ = reader.join();
        }
    }
}
