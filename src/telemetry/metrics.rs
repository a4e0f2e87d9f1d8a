//! Every metric, named once.
//!
//! The names and labels are a contract with dashboards and alerts. Handles are made at start and
//! kept, so that counting costs an atomic addition. No label ever holds an id.

use std::time::Instant;

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, gauge};
use metrics::{describe_histogram, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::requests;

/// Look-ups in a cache tier, by `tier`, `kind` and `outcome`.
pub const CACHE_REQUESTS: &str = "tenant_cache_requests_total";
/// Results of loads that were stored, or refused because an eviction overtook them.
pub const CACHE_FILLS: &str = "tenant_cache_fills_total";
/// Entries removed, by `tier`, `kind` and the `source` whose delivery removed them. Those of a drop
/// of everything too, once they are freed.
pub const CACHE_EVICTIONS: &str = "tenant_cache_evictions_total";
/// Entries held, by `tier`.
pub const CACHE_ENTRIES: &str = "tenant_cache_entries";
/// Cached entries that the auditor has compared with the database.
pub const COHERENCE_CHECKS: &str = "tenant_coherence_checks_total";
/// Those that were served although they had been wrong for longer than the staleness bound.
pub const COHERENCE_VIOLATIONS: &str = "tenant_coherence_violations_total";
/// Changes received, by `source`.
pub const CHANGES_RECEIVED: &str = "tenant_changes_received_total";
/// Changes received that had been applied before, by `source`.
pub const CHANGES_DUPLICATE: &str = "tenant_changes_duplicate_total";
/// From a change's row being written to its eviction here, by `source`.
pub const CHANGE_PROPAGATION: &str = "tenant_change_propagation_seconds";
/// Whether a source of changes is connected (1) or not (0).
pub const FEED_CONNECTED: &str = "tenant_feed_connected";
/// Age of the last completed poll of the change log.
pub const PROOF_AGE: &str = "tenant_proof_age_seconds";
/// How often this replica had to stop serving from its cache.
pub const FENCED: &str = "tenant_fenced_total";
/// From a write's commit until it may be acknowledged, by `outcome`: every replica has applied it
/// (`acked`), or one that has not has stopped serving from its cache (`fenced`).
pub const WRITE_BARRIER: &str = "tenant_write_barrier_seconds";
/// Stored credentials that were not served, by the `reason`: they are in plaintext (`unsealed`), were
/// changed or moved (`forged`), are sealed by a key that is not in the keyring (`unknown_key`), or
/// in no known form (`malformed`).
pub const SEALING_REFUSED: &str = "tenant_sealing_refused_total";
/// Keys that the keyring has at present.
pub const KEYRING_KEYS: &str = "tenant_keyring_keys";
/// Current credentials of active tenants that end `within` 30, 7 or 1 days, those of the shorter time among
/// those of the longer, or have ended (`expired`). Of the database, so the same on every replica.
pub const CREDENTIALS_EXPIRING: &str = "tenant_credentials_expiring";
/// Times that the keyring's file could not be read again; the keys of before stay in use.
pub const KEYRING_RELOAD_FAILURES: &str = "tenant_keyring_reload_failures_total";
/// Whether callers without a token may do what a `scope` stands for (1), or not (0).
pub const ANONYMOUS_SCOPE: &str = "tenant_anonymous_scope";
/// Requests that were refused for their caller's sake, by the problem's `code`: no token, a bad one or one that
/// is good for less, a stranger, one request too many.
pub const REQUESTS_REFUSED: &str = "tenant_requests_refused_total";
/// What was entered into the audit trail, by `outcome`; what was counted together as often as it was
/// done.
pub const AUDIT_ENTRIES: &str = "tenant_audit_entries_total";
/// Entries of the audit trail that could not be written (each is a reveal or a write that was refused, or
/// a row that is tried again), and rounds in which it could not be chained.
pub const AUDIT_FAILURES: &str = "tenant_audit_failures_total";
/// Rows of the audit trail that are not chained yet, up to 100,000.
pub const AUDIT_UNCHAINED: &str = "tenant_audit_unchained";
/// The age of the oldest of them.
pub const AUDIT_UNCHAINED_AGE: &str = "tenant_audit_unchained_seconds";
/// Time that statements take, by `query`.
pub const STORE_QUERY: &str = "tenant_store_query_seconds";
/// Requests by `route` template, `method` and status `class`.
pub const HTTP_REQUESTS: &str = "http_requests_total";
/// Time that requests take, by `route` template, `method` and status `class`.
pub const HTTP_DURATION: &str = "http_request_duration_seconds";

/// From 50 µs, which a cached answer takes, to 10 s, which only a fault does.
pub(super) const BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// Installs the process-wide recorder.
///
/// # Errors
/// A recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    describe_counter!(CACHE_REQUESTS, "Look-ups in a cache tier.");
    describe_counter!(CACHE_FILLS, "Loads stored in a cache tier, or refused by an eviction.");
    describe_counter!(CACHE_EVICTIONS, "Cache entries removed by a change.");
    describe_gauge!(CACHE_ENTRIES, "Cache entries held.");
    describe_counter!(COHERENCE_CHECKS, "Cached entries compared with the database.");
    describe_counter!(COHERENCE_VIOLATIONS, "Entries that stayed wrong beyond the bound.");
    describe_counter!(CHANGES_RECEIVED, "Changes received from a source.");
    describe_counter!(CHANGES_DUPLICATE, "Changes received that had been applied before.");
    describe_histogram!(CHANGE_PROPAGATION, "Seconds from a change's row to its eviction here.");
    describe_gauge!(FEED_CONNECTED, "Whether a source of changes is connected.");
    describe_gauge!(PROOF_AGE, "Seconds since the last completed poll of the change log.");
    describe_counter!(FENCED, "Times that this replica had to stop serving from its cache.");
    describe_histogram!(
        WRITE_BARRIER,
        "Seconds from a write's commit until it may be acknowledged."
    );
    describe_counter!(SEALING_REFUSED, "Stored credentials that were refused.");
    describe_gauge!(CREDENTIALS_EXPIRING, "Credentials whose end is near, or past.");
    describe_gauge!(KEYRING_KEYS, "Keys that the keyring has.");
    describe_counter!(KEYRING_RELOAD_FAILURES, "Times that the keyring could not be read again.");
    describe_gauge!(ANONYMOUS_SCOPE, "Whether callers without a token may do this.");
    describe_counter!(REQUESTS_REFUSED, "Requests refused for their caller's sake.");
    describe_counter!(AUDIT_ENTRIES, "What was entered into the audit trail.");
    describe_counter!(AUDIT_FAILURES, "Failures to write or to chain the audit trail.");
    describe_gauge!(AUDIT_UNCHAINED, "Rows of the audit trail that are not chained yet.");
    describe_gauge!(AUDIT_UNCHAINED_AGE, "Seconds since the oldest of them was written.");
    describe_histogram!(STORE_QUERY, "Seconds a statement took.");
    Ok(handle)
}

/// Everything, in the text format of Prometheus.
#[must_use]
pub fn render(handle: &PrometheusHandle) -> String {
    let mut text = handle.render();
    requests::render(&mut text);
    text
}

/// A counter with these labels.
pub fn counter_of(name: &'static str, labels: &[(&'static str, &'static str)]) -> Counter {
    counter!(name, labels)
}

/// A gauge with these labels.
pub fn gauge_of(name: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
    gauge!(name, labels)
}

/// A histogram with these labels.
pub fn histogram_of(name: &'static str, labels: &[(&'static str, &'static str)]) -> Histogram {
    histogram!(name, labels)
}

/// Runs a statement and records how long it took, whatever came of it.
pub async fn timed_query<F: Future>(query: &'static str, statement: F) -> F::Output {
    let began = Instant::now();
    let result = statement.await;
    histogram!(STORE_QUERY, "query" => query).record(began.elapsed());
    result
}
