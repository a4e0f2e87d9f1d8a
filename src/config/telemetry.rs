//! What the service tells of itself.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::io::IsTerminal;

use super::given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Telemetry")]
#[group(skip)]
pub(super) struct Options {
    /// Name of this replica in its logs [default: the host's name]
    #[arg(long, env = "INSTANCE_ID", value_name = "NAME")]
    instance_id: Option<String>,

    /// How log lines look [default: pretty on a terminal, else json]
    #[arg(long, env = "LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What is logged, such as info,tenant_service=debug, which logs each request
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    rust_log: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What the service tells of itself.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Name of this replica.
    pub instance_id: String,
    /// How log lines look.
    pub format: LogFormat,
    /// Which log lines there are.
    pub filter: String,
}

impl Options {
    pub fn validate(self) -> Telemetry {
        let host = || given(std::env::var("HOSTNAME").ok());
        let drawn = || format!("replica-{:08x}", fastrand::u32(..));
        let by_output =
            if std::io::stdout().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
        Telemetry {
            instance_id: given(self.instance_id).or_else(host).unwrap_or_else(drawn),
            format: self.log_format.unwrap_or(by_output),
            filter: self.rust_log,
        }
    }
}
