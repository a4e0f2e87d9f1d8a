//! What others on the machine can see of the process.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use crate::harness::{Scratch, eventually, spawn_cli_unprivileged};

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "looks into /proc")]
async fn memory_is_neither_dumped_nor_shown() {
    let folder = Scratch::new("memory");
    fs::create_dir(folder.join("data")).unwrap();
    fs::set_permissions(folder.join("data"), Permissions::from_mode(0o777)).unwrap();
    let envs = [("PORT", "0"), ("LOG_FORMAT", "json")];
    let process = spawn_cli_unprivileged(&folder, &["serve"], &envs);
    eventually(Duration::from_secs(30), "the replica listens", async || {
        process.stdout.text().contains("listening")
    })
    .await;
    let of = |file: &str| format!("/proc/{}/{file}", process.pid);
    let limits = fs::read_to_string(of("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
    // What may be read by its user alone belongs to root, as the process is not dumpable.
    for file in ["environ", "mem"] {
        assert_eq!(fs::metadata(of(file)).unwrap().uid(), 0, "{file}");
    }
    // Its user is not root, or this would have shown nothing.
    assert_ne!(fs::metadata(of("")).unwrap().uid(), 0);
}
