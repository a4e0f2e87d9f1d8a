//! How changes are learned of.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::time::Duration;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Changes")]
#[group(skip)]
pub(super) struct Options {
    /// How often the change log is read. Messages arrive sooner; this finds what they missed
    #[arg(long, env = "POLL_INTERVAL_MS", default_value = "200", value_name = "MS")]
    poll_interval_ms: Given,

    #[command(flatten)]
    staleness_bound: BoundOption,

    /// How long changes stay in the log. A replica that was cut off for longer drops its cache
    #[arg(long, env = "CHANGE_LOG_RETENTION_HOURS", default_value = "24", value_name = "HOURS")]
    change_log_retention_hours: Given,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Changes")]
#[group(skip)]
pub(super) struct BoundOption {
    /// Within this time a change is seen on every replica, whatever carried it: one that can't read
    /// the change log for so long stops serving from its cache, and a write waits no longer than
    /// that for it. At least twice POLL_INTERVAL_MS
    #[arg(long, env = "STALENESS_BOUND_MS", default_value = "1000", value_name = "MS")]
    staleness_bound_ms: Given,
}

impl BoundOption {
    pub fn validate(&self, mistakes: &mut Mistakes) -> Option<Duration> {
        bound(&self.staleness_bound_ms, mistakes)
    }
}

/// `STALENESS_BOUND_MS`, by whichever flag it was given.
pub(super) fn bound(given: &Given, mistakes: &mut Mistakes) -> Option<Duration> {
    let bound = mistakes.number("STALENESS_BOUND_MS", given, "whole milliseconds", 20..=600_000);
    bound.map(Duration::from_millis)
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
        let ms = "whole milliseconds";
        let interval =
            mistakes.number("POLL_INTERVAL_MS", &self.poll_interval_ms, ms, 10..=60_000_u64);
        let bound = self.staleness_bound.validate(mistakes);
        let retention = mistakes.number(
            "CHANGE_LOG_RETENTION_HOURS",
            &self.change_log_retention_hours,
            "whole hours",
            1..=24 * 365_u64,
        );
        let (poll_interval, staleness_bound) = (Duration::from_millis(interval?), bound?);
        if staleness_bound < 2 * poll_interval {
            mistakes.note("STALENESS_BOUND_MS", "must be at least twice POLL_INTERVAL_MS");
            return None;
        }
        Some(Feed {
            poll_interval,
            staleness_bound,
            retention: Duration::from_secs(3600 * retention?),
        })
    }
}
