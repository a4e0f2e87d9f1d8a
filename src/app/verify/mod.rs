//! Compares replicas with the database, from outside: what `verify` does.
//!
//! The database is read through connections that can't write, and replicas are asked over HTTP like
//! by any client. What is asked for: tenants drawn at random, under all their keys; the keys that
//! the latest changes have touched, for what is gone is found in no table; and some that are
//! nobody's.

mod client;
mod compare;
mod probe;
mod propagation;
mod replica;
mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};

use self::client::Client;
use self::compare::{Outcome, Seen, Suspect, look_again, look_at};
use self::propagation::Propagation;
use self::replica::Replica;
pub use self::report::{Report, Verdict};
use super::progress::Progress;
use crate::app::keyring::existing;
use crate::coherence::Bound;
use crate::config::{Database, KeyringFile, Verify};
use crate::crypto::Keyring;
use crate::domain::{CacheKey, CredentialType, KeyKind, TenantId};
use crate::store::{Postgres, Sqlite, Store, StoreError};

/// Tenants that are looked at at the same time.
const AT_ONCE: usize = 8;
/// Connections to the database.
const CONNECTIONS: u32 = 8;
/// Of the latest changes, how many tell keys.
const LATEST_CHANGES: u32 = 1_000;
/// Phone numbers that are nobody's, and as many integrations.
const ABSENT: usize = 10;
/// Suspicions that are looked into. After so many violations nobody needs more.
const MOST_SUSPECTS: usize = 10_000;
/// How often a suspicion is looked into whose truth changes all the time.
const MOST_LOOKS: u32 = 5;

/// What is looked at in one go.
enum Unit {
    Tenant(TenantId),
    Key(CacheKey),
}

/// Runs the comparison, and the probe if there is to be one.
///
/// # Errors
/// Nothing could be found out: the database or a replica is out of reach, something else answers, or
/// a scope is missing. The message says which.
pub async fn verify(
    plan: &Verify,
    database: &Database,
    keyring: &KeyringFile,
) -> anyhow::Result<Report> {
    let store = open_read_only(database, existing(keyring)?)?;
    let client = Client::new(plan.ca_file.as_deref(), plan.token.as_ref())?;
    let replica = |url| Replica::at(url, client.clone(), plan.bound);
    let replicas: Vec<Replica> = plan.replicas.iter().map(replica).collect();
    // That they are what they should be, before anything takes long.
    try_join_all(replicas.iter().map(Replica::metrics)).await?;
    let report = run(plan, store.as_ref(), &replicas).await;
    crate::app::close_store(store.as_ref()).await;
    report
}

async fn run(plan: &Verify, store: &dyn Store, replicas: &[Replica]) -> anyhow::Result<Report> {
    let mut report = Report::of(replicas.iter().map(Replica::name));
    let suspects = compare(plan, store, replicas, &mut report).await?;
    settle(plan.bound, store, replicas, suspects, &mut report).await?;
    if plan.probe > 0 {
        report.probe = Some(probe::probe(replicas, plan.probe, plan.bound).await?);
    }
    let mut propagation = Propagation::default();
    for metrics in try_join_all(replicas.iter().map(Replica::metrics)).await? {
        propagation.add(&metrics);
    }
    report.propagation = propagation.percentiles();
    Ok(report)
}

/// Looks at everything once.
async fn compare(
    plan: &Verify,
    store: &dyn Store,
    replicas: &[Replica],
    report: &mut Report,
) -> anyhow::Result<Vec<Suspect>> {
    let what = "reading the database (has it been migrated, and may this role read it?)";
    let tenants = store.random_tenants(plan.tenants).await.context(what)?;
    let touched = store.lately_touched(LATEST_CHANGES).await.context(what)?;
    // What a replica has cached of tokens is no answer of its own.
    let touched = touched.into_iter().filter(|key| key.kind() != KeyKind::Token);
    let apart: BTreeSet<CacheKey> = touched.chain(nobodys()).collect();
    let keys = apart.iter().cloned().map(Unit::Key);
    let units: Vec<Unit> = tenants.into_iter().map(Unit::Tenant).chain(keys).collect();
    let (total, mut progress, apart) = (units.len(), Progress::begin(), &apart);
    let mut looks = stream::iter(units)
        .map(|unit| async move {
            let is_tenant = matches!(unit, Unit::Tenant(_));
            let keys = match unit {
                Unit::Key(key) => vec![key],
                // Each key once.
                Unit::Tenant(id) => {
                    let keys = keys_of(store, id).await?.into_iter();
                    keys.filter(|key| !apart.contains(key)).collect()
                }
            };
            let count = keys.len();
            anyhow::Ok((is_tenant, count, look_at(store, replicas, keys).await?))
        })
        .buffer_unordered(AT_ONCE);
    let (mut suspects, mut done) = (Vec::new(), 0);
    while let Some(looked) = looks.next().await {
        let (is_tenant, keys, seen) = looked?;
        report.tenants += u64::from(is_tenant);
        report.keys += keys as u64;
        done += 1;
        progress.at(done, total, "looked at");
        for seen in seen.into_iter().flatten() {
            report.answers += 1;
            match seen {
                Seen::Right(source) => report.count(source),
                Seen::Stale => report.stale += 1,
                Seen::Unanswered(why) => report.unanswered(why),
                Seen::Suspect(suspect) => {
                    report.count(suspect.source());
                    if suspects.len() < MOST_SUSPECTS {
                        suspects.push(*suspect);
                    } else {
                        report.unsettled += 1;
                    }
                }
            }
        }
    }
    Ok(suspects)
}

/// Looks into every suspicion, until it is one no more.
async fn settle(
    bound: Duration,
    store: &dyn Store,
    replicas: &[Replica],
    mut suspects: Vec<Suspect>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Bound { bound, margin } = Bound::of(bound);
    let mut progress = Progress::begin();
    for _ in 0..MOST_LOOKS {
        let (total, mut done) = (suspects.len(), 0);
        let mut looks = stream::iter(std::mem::take(&mut suspects))
            .map(|suspect| look_again(store, replicas, suspect, bound + margin))
            .buffer_unordered(AT_ONCE);
        while let Some(outcome) = looks.next().await {
            done += 1;
            progress.at(done, total, "looked at again");
            match outcome? {
                Outcome::InFlight => report.in_flight += 1,
                Outcome::Violation(violation) => report.violation(violation),
                Outcome::Again(suspect) => suspects.push(*suspect),
                Outcome::Stale => report.stale += 1,
                Outcome::Unanswered(why) => report.unanswered(why),
            }
        }
    }
    report.unsettled += suspects.len() as u64;
    Ok(())
}

/// Keys that belong to nobody.
fn nobodys() -> impl Iterator<Item = CacheKey> {
    let keys = (0..ABSENT).flat_map(|_| {
        let number = fastrand::u64(..1_000_000_000_000);
        [format!("phone:999{number:012}"), format!("integration:verify-{number:012}")]
    });
    keys.filter_map(|key| key.parse().ok())
}

/// All keys of a tenant.
async fn keys_of(store: &dyn Store, id: TenantId) -> anyhow::Result<Vec<CacheKey>> {
    let mut keys = match store.tenant(&id).await {
        Ok(Some(tenant)) => tenant.keys(),
        // Deleted since it was drawn; or its row can't be read, which replicas are to say as well.
        Ok(None) | Err(StoreError::Corrupt(_)) => vec![CacheKey::Tenant(id.clone())],
        Err(error) => return Err(error).context("reading a tenant"),
    };
    keys.extend(CredentialType::ALL.map(|kind| CacheKey::Credentials(id.clone(), kind)));
    Ok(keys)
}

/// The database, through which nothing is written and nothing is migrated.
pub(super) fn open_read_only(
    database: &Database,
    keyring: Arc<Keyring>,
) -> anyhow::Result<Box<dyn Store>> {
    Ok(match database {
        Database::Postgres { url } => Box::new(Postgres::read_only(url, keyring, CONNECTIONS)?),
        Database::Sqlite { path, .. } => Box::new(Sqlite::read_only(path, keyring)),
    })
}
