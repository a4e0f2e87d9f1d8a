//! `tenant-service openapi`

/// Prints the OpenAPI document that a running service has at `/openapi.json`.
#[derive(Debug, clap::Args)]
pub struct Command {}

impl Command {
    #[expect(clippy::print_stdout, reason = "the document is this command's output")]
    pub fn run() -> anyhow::Result<()> {
        println!("{}", crate::http::document().to_pretty_json()?);
        Ok(())
    }
}
