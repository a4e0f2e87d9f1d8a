//! What was found, for people.

use std::fmt::Write;

use crate::harness::bed::BOUND;
use crate::harness::history::Violation;
use crate::matrix::Row;

/// So many violations are told in full.
const TOLD: usize = 5;

/// Tells the first violations, for whoever has to find their cause.
pub fn tell(violations: &[Violation]) {
    for violation in violations.iter().take(TOLD) {
        eprintln!("  {violation}");
    }
    if violations.len() > TOLD {
        eprintln!("  and {} more", violations.len() - TOLD);
    }
}

/// A file for `docs/`.
pub fn document(rows: &[Row]) -> String {
    let reads: u64 = rows.iter().map(|row| row.tally.reads).sum();
    let mut text =
        String::from("<!-- Made by `scripts/faults --write docs/faults.md`. Do not edit. -->\n");
    text.push_str("# What happens when something breaks\n\n");
    let _ = write!(
        text,
        "Three replicas under load (readers and writers over all of them, phones that move, tenants \
         that are\nsuspended, deleted and created again, credentials that are rolled back, deleted, \
         brought back and\ndestroyed, tokens that are made, replaced and revoked), with \
         `STALENESS_BOUND_MS={}`. A fault is\ncaused, felt, held for some seconds and undone. Every answer goes into a history; a read is \
         *old* if it was invoked after\na write had been acknowledged, answers an older state, and is \
         not labelled stale.\n\n\
         - *whole after*: from the end of the fault until every source of changes is connected \
         again, and a\n  write is acknowledged, answered from memory by every replica and held in \
         Redis.\n\
         - *flushed*: whether entries were given up that no change had touched.\n\
         - *failed*: requests with a 5xx or without an answer. Requests go on at replicas that are \
         known to be\n  broken, where a load balancer would ask another one.\n\n",
        BOUND.as_millis(),
    );
    text.push_str(&markdown(rows));
    let _ = write!(
        text,
        "\nNo old answer among {reads} reads: by itself that shows no more than a rate below 3 in \
         {reads} (at\n95 %). The reason to expect none is the protocol, not this table.\n",
    );
    text
}

/// The rows as a table.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| fault | reads | old | labelled stale | whole after | flushed | reads failed | \
         writes | tokens revoked | writes failed |\n|---|--:|--:|--:|--:|---|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let old = match row.violations {
            0 => "0".to_owned(),
            count => format!("**{count}**, up to {} ms late", row.latest.as_millis()),
        };
        let redis = match (row.fault.empties_redis(), row.is_redis_flushed) {
            (true, _) => Some("Redis, by the fault"),
            (false, true) => Some("Redis"),
            (false, false) => None,
        };
        let memory = (row.drops > 0).then_some("memory");
        let flushed: Vec<&str> = redis.into_iter().chain(memory).collect();
        let flushed = if flushed.is_empty() { "no".to_owned() } else { flushed.join(", ") };
        let (tally, whole_after) = (row.tally, row.whole_after.as_millis());
        let _ = writeln!(
            text,
            "| {} | {} | {old} | {} | {whole_after} ms | {flushed} | {} | {} | {} | {} |",
            row.fault.name(),
            tally.reads,
            tally.labelled,
            tally.reads_failed,
            tally.writes,
            tally.revoked,
            tally.writes_failed,
        );
    }
    text
}
