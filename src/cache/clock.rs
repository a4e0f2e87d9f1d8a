//! The clock that deadlines are measured by.

use rustix::time::{ClockId, clock_gettime};

use crate::coherence::Moment;

/// On Linux, `std`'s clock stands still while the machine sleeps, and a deadline would outlast it.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// What the clock says.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(CLOCK);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    Moment::from_nanos(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::Command;
    use std::{env, fs};

    use super::*;

    /// The kernel's own account of the time since boot, sleep included, in hundredths of a second.
    fn uptime() -> u64 {
        let text = fs::read_to_string("/proc/uptime").unwrap();
        let (seconds, _) = text.split_once(' ').unwrap();
        seconds.replace('.', "").parse().unwrap()
    }

    #[test]
    fn it_counts_from_boot() {
        let before = uptime();
        let now = now().as_nanos() / 10_000_000;
        assert!((before..=uptime()).contains(&now), "{before}, {now}");
    }

    /// A machine that has never slept cannot tell the clocks apart. A namespace can in which boot was
    /// an hour earlier, and `std`'s clock is what it was; where one may be made.
    #[test]
    fn it_goes_on_while_the_machine_sleeps() {
        let in_namespace = |program: &str, arguments: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--time", "--boottime", "3600"]);
            command.arg(program).args(arguments).output()
        };
        if !in_namespace("true", &[]).is_ok_and(|made| made.status.success()) {
            return;
        }
        let program = env::current_exe().unwrap();
        let test = "cache::clock::tests::it_counts_from_boot";
        let ran = in_namespace(program.to_str().unwrap(), &["--exact", test]).unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}
