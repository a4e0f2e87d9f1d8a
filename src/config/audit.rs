//! How long the audit trail is kept.

use std::time::Duration;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Audit")]
#[group(skip)]
pub(super) struct Options {
    /// How long entries of the audit trail are kept. Where the chain begins after that is signed, so
    /// that the rest can still be verified. 0 keeps them for ever
    #[arg(long, env = "AUDIT_RETENTION_DAYS", default_value = "0", value_name = "DAYS")]
    audit_retention_days: Given,
}

/// How long the audit trail is kept.
#[derive(Debug, Clone)]
pub struct Audit {
    /// For so long, or for ever.
    pub retention: Option<Duration>,
}

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Audit> {
        let given = &self.audit_retention_days;
        let days = mistakes.number("AUDIT_RETENTION_DAYS", given, "whole days", 0..=36_500_u64)?;
        let retention = (days > 0).then(|| Duration::from_hours(24 * days));
        Some(Audit { retention })
    }
}
