//! Turns the command line's result into an exit code.

use std::process::ExitCode;

use tenant_service::cli::{Cli, Failure, run};

#[tokio::main]
async fn main() -> ExitCode {
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
