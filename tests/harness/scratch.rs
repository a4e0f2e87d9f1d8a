//! Temporary folders that are gone after the test, whatever becomes of it.

use std::env;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guard::guardian;

/// For the databases of many tests and a full log; a container's usual 64 MB are too little.
const ENOUGH: u64 = 2 << 30;

/// Removed on drop, and by the guardian where there is no drop.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder; `name` tells a human what it is for. Its path has no symbolic links in
    /// it.
    pub fn new(name: &str) -> Self {
        Self::in_folder(&env::temp_dir(), name)
    }

    /// The same in memory where the system offers it. A database is a thousand files: to copy it
    /// takes 20 ms there, and 250 ms on an ordinary disk, for each test.
    pub fn in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if available(memory).is_some_and(|bytes| bytes >= ENOUGH) {
            Self::in_folder(memory, name)
        } else {
            Self::new(name)
        }
    }

    fn in_folder(folder: &Path, name: &str) -> Self {
        let made = tempfile::Builder::new()
            .prefix(&format!("tenant-service-{name}-"))
            .tempdir_in(folder)
            .and_then(|dir| dir.keep().canonicalize());
        let path = made.unwrap_or_else(|error| panic!("no temporary folder for {name}: {error}"));
        guardian().watch_dir(&path);
        Self(path)
    }
}

/// Free bytes, as `df` tells them on every POSIX system; nothing where there is no such folder.
fn available(folder: &Path) -> Option<u64> {
    let output = Command::new("df")
        .arg("-Pk")
        .arg(folder)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let table = String::from_utf8(output.stdout).ok()?;
    let kilobytes: u64 = table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kilobytes * 1024)
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what cannot be removed now, the guardian removes later.
        let _ = fs::remove_dir_all(&self.0);
    }
}
