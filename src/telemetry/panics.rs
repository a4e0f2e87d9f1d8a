//! What is told of a panic.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::thread;

/// Has panics tell where they happened, and no value.
///
/// The default hook prints the message, which may quote whatever was at hand: a secret that
/// `unwrap` did not expect, a row.
pub fn install_hook() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or_default();
    let literal = literal(panic.payload()).unwrap_or_default();
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(place, thread, literal, "panicked");
    } else {
        report(&place, thread, literal);
    }
}

/// The message, if it stands in the source as it is: all other messages are made at run time, of
/// values.
fn literal(payload: &(dyn Any + Send)) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[expect(clippy::print_stderr, reason = "where nothing is logged there is no other place")]
fn report(place: &str, thread: &str, literal: &str) {
    eprintln!("tenant-service: panicked at {place} (thread {thread}): {literal}");
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    const CHILD: &str = "TENANT_SERVICE_TEST_PANICS";

    /// A hook is the whole process', so this test is one of its own.
    #[test]
    fn a_panic_tells_its_place_and_no_value() {
        if let Ok(secret) = env::var(CHILD) {
            install_hook();
            let _ = std::panic::catch_unwind(|| panic!("found {secret}"));
            let _ = std::panic::catch_unwind(|| panic!("a literal"));
            return;
        }
        let this = "telemetry::panics::tests::a_panic_tells_its_place_and_no_value";
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(CHILD, "hunter2")
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = told.lines().filter(|line| line.contains("panicked at")).collect();
        assert!(output.status.success() && lines.len() == 2, "{told}");
        assert!(lines.iter().all(|line| line.contains("panics.rs:")), "{told}");
        assert!(lines[0].ends_with("): ") && lines[1].ends_with("): a literal"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
