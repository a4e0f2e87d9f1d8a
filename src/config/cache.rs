//! How much is cached, and for how long.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::num::NonZeroU32;
use std::time::Duration;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cache")]
#[group(skip)]
pub(super) struct Options {
    /// How long an answer is cached. A bound on memory: what keeps answers right is eviction
    #[arg(long, env = "CACHE_TTL_SECONDS", default_value = "3600", value_name = "SECONDS")]
    cache_ttl_seconds: Given,

    /// How long it is cached that there is no answer
    #[arg(long, env = "CACHE_NEGATIVE_TTL_SECONDS", default_value = "60", value_name = "SECONDS")]
    cache_negative_ttl_seconds: Given,

    /// Memory for the cache of one replica, in bytes or with KiB, MiB or GiB; about 550 bytes an
    /// answer, and more than twice that for credentials. An eighth of it is for what is not there
    #[arg(long, env = "CACHE_CAPACITY", default_value = "256MiB", value_name = "SIZE")]
    cache_capacity: Given,

    /// How long look-ups are answered from memory, labelled as stale, while the database is out of
    /// reach. (Credentials and writes are refused meanwhile)
    #[arg(long, env = "STALE_BUDGET_SECONDS", default_value = "300", value_name = "SECONDS")]
    stale_budget_seconds: Given,

    /// How many cached entries a second are compared with the database, each by one query. One that
    /// stays wrong beyond STALENESS_BOUND_MS is counted, logged and evicted. 0 compares none
    #[arg(long, env = "AUDIT_CHECKS_PER_SECOND", default_value = "0", value_name = "NUMBER")]
    audit_checks_per_second: Given,
}

/// How much is cached, and for how long.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Life of an answer.
    pub ttl: Duration,
    /// Life of an absence.
    pub negative_ttl: Duration,
    /// Bytes of memory.
    pub capacity: u64,
    /// For how long an answer may be old that says so.
    pub stale_budget: Duration,
    /// How many entries a second are compared with the database.
    pub audit_rate: Option<NonZeroU32>,
}

impl Cache {
    /// For a process that looks nothing up.
    pub const NONE: Self = Self {
        ttl: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        capacity: 0,
        stale_budget: Duration::ZERO,
        audit_rate: None,
    };
}

/// A year: anything longer is a mistake.
const LONGEST_TTL: u64 = 365 * 24 * 3600;
const SMALLEST: u64 = 1 << 20;

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Cache> {
        let mut seconds = |variable, given: &Given, least| {
            mistakes.number(variable, given, "whole seconds", least..=LONGEST_TTL)
        };
        let ttl = seconds("CACHE_TTL_SECONDS", &self.cache_ttl_seconds, 1);
        let negative_ttl =
            seconds("CACHE_NEGATIVE_TTL_SECONDS", &self.cache_negative_ttl_seconds, 1);
        let stale_budget = seconds("STALE_BUDGET_SECONDS", &self.stale_budget_seconds, 0);
        let audit_rate = mistakes.number(
            "AUDIT_CHECKS_PER_SECOND",
            &self.audit_checks_per_second,
            "a whole number",
            0..=1_000_u32,
        );
        let accepts = "must be at least 1MiB, such as 256MiB or 2GiB";
        let capacity = mistakes.parsed("CACHE_CAPACITY", &self.cache_capacity, accepts, bytes);
        Some(Cache {
            ttl: Duration::from_secs(ttl?),
            negative_ttl: Duration::from_secs(negative_ttl?),
            capacity: capacity?,
            stale_budget: Duration::from_secs(stale_budget?),
            audit_rate: NonZeroU32::new(audit_rate?),
        })
    }
}

/// A size, if it is large enough to be of use.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes >= SMALLEST)
}
