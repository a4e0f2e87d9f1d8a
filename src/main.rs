//! Turns the command line's result into an exit code.

use std::process::ExitCode;

use tenant_service::app::keep_memory_private;
use tenant_service::cli::{Cli, Failure, run};
use tenant_service::telemetry::panics;

#[tokio::main]
async fn main() -> ExitCode {
    // Before there is anything to tell: even the environment holds passwords.
    panics::install_hook();
    if let Err(error) = keep_memory_private() {
        report(&error);
    }
    match run(Cli::given()).await {
        Ok(code) => code,
        Err(Failure { error, code }) => {
            report(&error);
            code
        }
    }
}

#[expect(clippy::print_stderr, reason = "before and after logging there is no other place")]
fn report(error: &anyhow::Error) {
    eprintln!("tenant-service: {error:#}");
}
