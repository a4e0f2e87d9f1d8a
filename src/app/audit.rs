//! Walks along the chain of the audit trail, and says up to where it holds.

use std::fmt;

use anyhow::Context;
use serde::Serialize;

use super::core::close_store;
use super::keyring;
use super::progress::Progress;
use crate::config::{Database, KeyringFile};
use crate::store::{Break, Chain, Postgres, Sqlite, Standing, Store, Walk};

/// Connections to the database: it is asked for one thing after the other.
const CONNECTIONS: u32 = 2;

/// An end of the chain that somebody kept: if it is cut off before it, or was made anew, that tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The number of the row.
    pub number: i64,
    /// The chain's hash there, in hexadecimal digits.
    pub hash: String,
}

/// What a walk has found.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// The number before the first row that is there: those up to it were pruned.
    pub begins_after: i64,
    /// The last row up to which everything is as it was chained.
    pub holds_up_to: i64,
    /// When that row was written.
    pub occurred_at: Option<String>,
    /// The chain's hash there: to be kept elsewhere, and compared later.
    pub hash: Option<String>,
    /// Rows that are not chained yet (counted up to 100,000): of these nothing is proven.
    pub unchained: u64,
    /// What is wrong, where something is.
    pub broken: Option<String>,
    /// What could not be looked at, where there is something.
    pub unverified: Option<String>,
    /// Whether the kept end was found in the chain, where one was given.
    pub kept_found: Option<bool>,
}

impl AuditReport {
    fn before(standing: &Standing) -> Self {
        Self {
            begins_after: standing.chain.as_ref().map_or(0, |chain| chain.anchor.number),
            holds_up_to: 0,
            occurred_at: None,
            hash: None,
            unchained: standing.unchained,
            broken: None,
            unverified: None,
            kept_found: None,
        }
    }

    fn breaks(&mut self, found: &Break) {
        // Without the key nothing is known to be wrong.
        if matches!(found, Break::NoKey { .. }) {
            self.unverified = Some(found.to_string());
        } else {
            self.broken = Some(found.to_string());
        }
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begins_after, holds_up_to, unchained, .. } = self;
        if *begins_after > 0 {
            writeln!(f, "pruned       up to row {begins_after}, which is signed")?;
        }
        match (&self.occurred_at, *holds_up_to > *begins_after) {
            (Some(moment), true) => {
                writeln!(
                    f,
                    "holds        rows {} to {holds_up_to}, of {moment}",
                    begins_after + 1
                )?;
            }
            _ => writeln!(f, "holds        no row was found right")?,
        }
        if let Some(hash) = &self.hash {
            writeln!(f, "head         {holds_up_to}:{hash}")?;
        }
        writeln!(f, "not chained  {unchained} rows")?;
        match self.kept_found {
            Some(true) => writeln!(f, "kept head    found")?,
            Some(false) => writeln!(f, "kept head    NOT FOUND")?,
            None => {}
        }
        if let Some(unverified) = &self.unverified {
            writeln!(f, "unverified   {unverified}")?;
        }
        if let Some(broken) = &self.broken {
            writeln!(f, "BROKEN       {broken}")?;
        }
        Ok(())
    }
}

/// Verifies the audit trail in this database, through connections that can't write.
///
/// # Errors
/// The keyring or the database can't be used.
pub async fn verify_audit(
    database: &Database,
    keyring_file: &KeyringFile,
    kept: Option<&Kept>,
) -> anyhow::Result<AuditReport> {
    let keyring = keyring::existing(keyring_file)?;
    let store: Box<dyn Store> = match database {
        Database::Postgres { url } => Box::new(Postgres::read_only(url, keyring, CONNECTIONS)?),
        Database::Sqlite { path, .. } => Box::new(Sqlite::read_only(path, keyring)),
    };
    let report = verify(store.as_ref(), kept).await.context("reading the audit trail");
    close_store(store.as_ref()).await;
    report
}

async fn verify(store: &dyn Store, kept: Option<&Kept>) -> anyhow::Result<AuditReport> {
    let mut standing = store.audit_standing().await?;
    let mut report = AuditReport::before(&standing);
    let mut progress = Progress::begin();
    let mut inspection = match &standing.chain {
        None => {
            if standing.beyond > 0 {
                report.breaks(&Break::NoChain);
            } else if kept.is_some() {
                report.kept_found = Some(false);
                report.breaks(&Break::NoChain);
            }
            return Ok(report);
        }
        Some(chain) => match store.walk(chain) {
            Ok(walk) => Inspection { walk, occurred_at: None, kept, kept_found: None },
            Err(found) => {
                report.breaks(&found);
                return Ok(report);
            }
        },
    };
    // The chain goes on meanwhile: until nothing has been added since the last look.
    let found = loop {
        let Some(chain) = standing.chain.clone() else { break Err(Break::NoChain) };
        if let Err(found) = inspection.up_to(store, &chain, &mut progress).await? {
            break Err(found);
        }
        let before = chain.head.number;
        standing = store.audit_standing().await?;
        if standing.chain.as_ref().is_some_and(|chain| chain.head.number == before) {
            let rows = standing.beyond + standing.behind;
            break if rows > 0 { Err(Break::Outside { rows }) } else { Ok(()) };
        }
    };
    drop(progress);
    report.unchained = standing.unchained;
    report.begins_after = standing.chain.map_or(0, |chain| chain.anchor.number);
    report.holds_up_to = inspection.walk.at();
    report.hash = Some(inspection.walk.link().to_string());
    report.occurred_at = inspection.occurred_at.take();
    if let Err(found) = &found {
        report.breaks(found);
    }
    inspection.conclude(&mut report, found.is_ok());
    Ok(report)
}

/// A walk under way.
struct Inspection<'k> {
    walk: Walk,
    /// Of the last row that was found right.
    occurred_at: Option<String>,
    kept: Option<&'k Kept>,
    kept_found: Option<bool>,
}

impl Inspection<'_> {
    /// Walks up to the chain's head.
    async fn up_to(
        &mut self,
        store: &dyn Store,
        chain: &Chain,
        progress: &mut Progress,
    ) -> anyhow::Result<Result<(), Break>> {
        self.look_for_kept();
        let total = usize::try_from(chain.head.number).unwrap_or(usize::MAX);
        while self.walk.at() < chain.head.number {
            let at = self.walk.at();
            let rows = store.chained_after(at).await?;
            let stepped = rows.iter().take_while(|row| row.number <= Some(chain.head.number));
            let mut found = Ok(());
            for row in stepped {
                found = self.walk.step(row);
                if found.is_err() {
                    break;
                }
                self.occurred_at = Some(row.occurred_at.clone());
                self.look_for_kept();
            }
            let is_stuck = self.walk.at() == at;
            if let (Err(_), _) | (Ok(()), true) = (&found, is_stuck) {
                // Rows that were pruned meanwhile are not missing.
                if self.is_overtaken(store).await? {
                    continue;
                }
                let missing = Break::Missing { from: at + 1, to: chain.head.number };
                return Ok(Err(found.err().unwrap_or(missing)));
            }
            progress.at(usize::try_from(self.walk.at()).unwrap_or(0), total, "rows");
        }
        Ok(self.walk.ends(&chain.head))
    }

    /// Whether the chain begins behind this place now; then the walk goes on there.
    async fn is_overtaken(&mut self, store: &dyn Store) -> anyhow::Result<bool> {
        let standing = store.audit_standing().await?;
        let Some(chain) = standing.chain else { return Ok(false) };
        if chain.anchor.number <= self.walk.at() {
            return Ok(false);
        }
        let Ok(walk) = store.walk(&chain) else { return Ok(false) };
        self.walk = walk;
        Ok(true)
    }

    fn look_for_kept(&mut self) {
        let Some(kept) = self.kept.filter(|kept| kept.number == self.walk.at()) else { return };
        self.kept_found = Some(self.walk.link().to_string() == kept.hash);
    }

    /// What is to be said of the end that was kept.
    fn conclude(&self, report: &mut AuditReport, holds: bool) {
        let Some(kept) = self.kept else { return };
        report.kept_found = self.kept_found;
        match self.kept_found {
            Some(false) => {
                report.broken = Some(format!(
                    "row {} is another one than the head that was kept: the chain was made anew",
                    kept.number
                ));
            }
            None if kept.number < report.begins_after => {
                report.unverified =
                    Some(format!("row {}, of the head that was kept, was pruned", kept.number));
            }
            None if holds => {
                report.kept_found = Some(false);
                report.broken = Some(format!(
                    "the chain ends at row {}, before the head that was kept (row {}): its end was \
                     cut off",
                    report.holds_up_to, kept.number
                ));
            }
            Some(true) | None => {}
        }
    }
}
