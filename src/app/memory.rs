//! Who may look into the process' memory.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Has the process leave no core dump, and its memory be read by nobody but root: it holds
/// credentials and passwords.
///
/// A limit of zero is not enough: a program that dumps are piped to (systemd-coredump, apport) gets
/// them regardless. A process that is not dumpable has none, and on Linux it also keeps those who
/// run as the same user from its memory and environment (`/proc/PID/mem`, `/proc/PID/environ`,
/// ptrace).
///
/// # Errors
/// The system does not let it. The process can go on: it is as any other then.
pub fn keep_memory_private() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("core dumps can't be switched off")?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .context("the process' memory can't be kept from others of its user")?;
    }
    Ok(())
}
