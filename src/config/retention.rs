//! How long what was deleted is kept.

use std::time::Duration;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Credentials")]
#[group(skip)]
pub(super) struct Options {
    /// How long deleted credentials can be brought back. Then, within the hour, all their versions are
    /// destroyed
    #[arg(long, env = "CREDENTIALS_RETENTION_DAYS", default_value = "30", value_name = "DAYS")]
    credentials_retention_days: Given,
}

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Duration> {
        let days = mistakes.number(
            "CREDENTIALS_RETENTION_DAYS",
            &self.credentials_retention_days,
            "whole days",
            1..=3_650_u64,
        );
        days.map(|days| Duration::from_secs(24 * 3600 * days))
    }
}
