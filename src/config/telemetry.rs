//! What the service tells of itself.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Telemetry")]
#[group(skip)]
pub(super) struct Options {
    /// Name of this replica in its logs [default: HOSTNAME, else a random one]
    #[arg(long, env = "INSTANCE_ID", value_name = "NAME")]
    instance_id: Option<Given>,

    /// How log lines look: `pretty`, for people, or `json`, one object a line [default: pretty on a
    /// terminal, else json]
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<Given>,

    /// What is logged: levels, also by module. info,tenant_service=debug logs each request
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    rust_log: Given,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Which log lines there are: a filter that can be parsed.
    pub filter: String,
}

const FILTER_ACCEPTS: &str =
    "must be levels, also by module, such as info or info,tenant_service=debug";

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Telemetry> {
        let instance_id = match self.instance_id {
            Some(given) => {
                let accepts = "must be 1 to 64 visible ASCII characters";
                mistakes.parsed("INSTANCE_ID", &given, accepts, name)
            }
            None => Some(own_name()),
        };
        let format = match self.log_format {
            Some(given) => mistakes.parsed("LOG_FORMAT", &given, "must be pretty or json", format),
            None if std::io::stdout().is_terminal() => Some(LogFormat::Pretty),
            None => Some(LogFormat::Json),
        };
        let filter = mistakes.parsed("RUST_LOG", &self.rust_log, FILTER_ACCEPTS, filter);
        Some(Telemetry { instance_id: instance_id?, format: format?, filter: filter? })
    }
}

fn name(text: &str) -> Option<String> {
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    valid.then(|| text.to_owned())
}

/// Containers have HOSTNAME; of another one, nobody was promised that it makes a name.
fn own_name() -> String {
    let host = std::env::var("HOSTNAME").ok().and_then(|host| name(&host));
    host.unwrap_or_else(|| format!("replica-{:08x}", fastrand::u32(..)))
}

fn format(text: &str) -> Option<LogFormat> {
    match text {
        "pretty" => Some(LogFormat::Pretty),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn filter(text: &str) -> Option<String> {
    EnvFilter::builder().parse(text).is_ok().then(|| text.to_owned())
}
