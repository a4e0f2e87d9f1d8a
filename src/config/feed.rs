//! How changes are learned of.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::time::Duration;

use super::Mistakes;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Changes")]
#[group(skip)]
pub(super) struct Options {
    /// How often the change log is read. Messages arrive sooner; this finds what they missed
    #[arg(long, env = "POLL_INTERVAL_MS", default_value_t = 200, value_name = "MS")]
    poll_interval_ms: u64,

    /// Within this time a change is seen on every replica, whatever carried it; at least twice
    /// POLL_INTERVAL_MS. A replica that cannot read the log for longer says so in its log
    #[arg(long, env = "STALENESS_BOUND_MS", default_value_t = 1000, value_name = "MS")]
    staleness_bound_ms: u64,

    /// How long changes stay in the log. A replica that was cut off for longer drops its cache
    #[arg(long, env = "CHANGE_LOG_RETENTION_HOURS", default_value_t = 24, value_name = "HOURS")]
    change_log_retention_hours: u64,
}

/// How changes are learned of.
#[derive(Debug, Clone)]
pub struct Feed {
    /// How often the change log is read.
    pub poll_interval: Duration,
    /// How old a proof that nothing was missed may become.
    pub staleness_bound: Duration,
    /// How long changes stay in the log.
    pub retention: Duration,
}

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Feed> {
        let before = mistakes.0.len();
        if !(10..=60_000).contains(&self.poll_interval_ms) {
            mistakes.note("POLL_INTERVAL_MS", "must be 10 to 60000 milliseconds");
        }
        let least = self.poll_interval_ms.saturating_mul(2);
        if self.staleness_bound_ms < least || self.staleness_bound_ms > 600_000 {
            mistakes.note(
                "STALENESS_BOUND_MS",
                "must be at least twice POLL_INTERVAL_MS and at most 600000 milliseconds",
            );
        }
        if !(1..=24 * 365).contains(&self.change_log_retention_hours) {
            mistakes.note("CHANGE_LOG_RETENTION_HOURS", "must be 1 to 8760 hours");
        }
        (mistakes.0.len() == before).then(|| Feed {
            poll_interval: Duration::from_millis(self.poll_interval_ms),
            staleness_bound: Duration::from_millis(self.staleness_bound_ms),
            retention: Duration::from_secs(3600 * self.change_log_retention_hours),
        })
    }
}
