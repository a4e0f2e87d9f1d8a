//! A key replaced by another, while replicas serve.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use super::fleet::Fleet;
use super::locked;
use super::progress::{Bar, say};
use crate::app::core::{close_store, open_with};
use crate::app::keyring::existing;
use crate::config::{Database, KeyringFile, Rotation};
use crate::crypto::{Keyring, KeyringEditor};
use crate::store::{KeyUse, Store, WrapPlace, WrapStep};
use crate::telemetry::logging::chain;

/// Rows of one transaction: a write that comes upon one of them waits for so many.
const BATCH: u32 = 200;
/// How long to wait before rows that somebody had locked are looked at again.
const AGAIN: Duration = Duration::from_millis(500);
/// Rows that were refused and are named.
const MOST_NAMED: usize = 10;

/// Replaces the primary key, or goes on with what another call of this has begun. Returns what is
/// next.
///
/// # Errors
/// Somebody else is at it, replicas did not get the key in time, or rows name a key that can't open
/// them. What was done until then stays done.
pub async fn rotate(
    plan: &Rotation,
    database: &Database,
    file: &KeyringFile,
) -> anyhow::Result<String> {
    let keyring = existing(file)?;
    let (store, _) = open_with(database, Arc::clone(&keyring)).await?;
    let rotation = Rotating { plan, file, keyring, store: store.as_ref() };
    let told = rotation.run().await;
    close_store(store.as_ref()).await;
    told
}

struct Rotating<'a> {
    plan: &'a Rotation,
    file: &'a KeyringFile,
    keyring: Arc<Keyring>,
    store: &'a dyn Store,
}

impl Rotating<'_> {
    async fn run(&self) -> anyhow::Result<String> {
        let _lock = locked(self.store).await?;
        let mut editor = self.read()?;
        self.begin(&mut editor).await?;
        if editor.next().is_some() {
            self.promote(&mut editor).await?;
        }
        let primary = editor.primary().to_owned();
        self.sealed_by(&primary).await?;
        let rewrapped = self.rewrap().await?;
        let rest: Vec<&str> = editor.keys().iter().map(|key| key.id.as_str()).collect();
        let rest: Vec<&str> = rest.into_iter().filter(|id| **id != *primary).collect();
        let told = format!("{rewrapped} rows got the key {primary}, and no row names another.\n");
        if rest.is_empty() {
            return Ok(told);
        }
        Ok(format!(
            "{told}No row needs {} any more: `tenant-service keys retire` takes it out of the keyring.\n\
             Backups of the database from before now need it: keep a copy of this keyring with them.\n",
            rest.join(", "),
        ))
    }

    /// Reads the file, into the keyring of the store too.
    fn read(&self) -> anyhow::Result<KeyringEditor> {
        let editor = KeyringEditor::open(&self.file.path)?;
        self.keyring.reload(&self.file.path)?;
        Ok(editor)
    }

    /// Adds a key, unless there is something to go on with.
    async fn begin(&self, editor: &mut KeyringEditor) -> anyhow::Result<()> {
        let leaked = self.plan.instead_of.as_deref();
        if let Some(key) = leaked.filter(|key| !editor.has(key)) {
            bail!("--instead-of: {} has no key {key}", editor.path().display());
        }
        let uses = self.store.key_uses().await.context("counting the rows of each key")?;
        for used in uses.iter().filter(|used| !editor.has(&used.key_id)) {
            let KeyUse { rows, table, key_id } = used;
            let file = editor.path().display();
            let told =
                format!("{rows} rows of {table} name the key {key_id}, which {file} does not have");
            if leaked.is_none() {
                bail!(
                    "{told}; put it back (from a backup of the keyring), or see `tenant-service keys \
                     status`"
                );
            }
            say(&told);
        }
        let is_left = uses.iter().any(|used| used.key_id != editor.primary());
        if let Some(next) = editor.next() {
            say(&format!("going on with the key {next}, which was added before"));
        } else if leaked.map_or(is_left, |key| key != editor.primary()) {
            say("going on: rows are left that name another key than the primary");
        } else {
            editor.add_next()?;
            let next = editor.next().unwrap_or_default();
            say(&format!("added the key {next} to {}", editor.path().display()));
        }
        Ok(())
    }

    /// Makes the next key the primary, when every replica can open what is sealed by it.
    async fn promote(&self, editor: &mut KeyringEditor) -> anyhow::Result<()> {
        let next = editor.next().unwrap_or_default().to_owned();
        let advice = format!(
            "Where they have copies of {}, give them the new one; then run this again, it goes on \
             from here",
            editor.path().display()
        );
        let held = Fleet::of(self.store)
            .until_all((&format!("hold the key {next}"), &advice), self.plan.patience, |replica| {
                replica.keys.contains(&next)
            })
            .await?;
        editor.promote_next()?;
        self.read()?;
        say(&format!("{held} replicas hold the key {next}; it is the primary now"));
        Ok(())
    }

    /// Waits until nobody seals by another key any more.
    async fn sealed_by(&self, primary: &str) -> anyhow::Result<()> {
        let advice = format!(
            "Where they have copies of {}, give them the new one; then run this again, it goes on \
             from here",
            self.file.path.display()
        );
        let what = format!("seal by the key {primary}");
        Fleet::of(self.store)
            .until_all((&what, &advice), self.plan.patience, |replica| {
                replica.keys.first().is_some_and(|key| key == primary)
            })
            .await?;
        writes_ended(self.store, self.plan.patience).await
    }

    /// Wraps every data key by the primary one; returns how many there were.
    async fn rewrap(&self) -> anyhow::Result<u64> {
        let mut bar = Bar::of(self.left().await?);
        let mut moved = Instant::now();
        loop {
            let left = self.left().await?;
            if left == 0 {
                return Ok(bar.end());
            }
            let (rewrapped, refused) = self.pass(&mut bar).await?;
            if rewrapped > 0 {
                moved = Instant::now();
            } else if refused.len() as u64 >= left {
                let named: Vec<&String> = refused.iter().take(MOST_NAMED).collect();
                bail!(
                    "{} rows are left as they were, for they do not open: {named:?}; all others \
                     have the new key. Repair or delete those (docs/operations.md), then run this \
                     again. A key that has leaked need not wait for that: --instead-of",
                    refused.len(),
                );
            } else if moved.elapsed() > self.plan.patience {
                bail!("{left} rows are left: somebody keeps them locked. Run this again later");
            } else {
                sleep(AGAIN).await;
            }
        }
    }

    /// Once over all rows.
    async fn pass(&self, bar: &mut Bar) -> anyhow::Result<(u64, Vec<String>)> {
        let (mut place, mut total, mut refused) = (Some(WrapPlace::default()), 0, Vec::new());
        while let Some(from) = place {
            let began = Instant::now();
            let limit = BATCH.min(self.plan.rows_per_second.get());
            let WrapStep { rewrapped, refused: errors, next } =
                self.store.rewrap(from, limit).await.context("wrapping data keys anew")?;
            refused.extend(errors.iter().map(|error| chain(error)));
            total += rewrapped;
            bar.add(rewrapped);
            sleep(self.pause(rewrapped, began.elapsed())).await;
            place = next;
        }
        Ok((total, refused))
    }

    /// What the rate leaves; and where the database is slow, for others use it, half of the time.
    fn pause(&self, rows: u64, took: Duration) -> Duration {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let fair = Duration::from_secs(1) * rows / self.plan.rows_per_second.get();
        fair.saturating_sub(took).max(took)
    }

    /// Rows that name another key than the primary.
    async fn left(&self) -> anyhow::Result<u64> {
        let primary = self.keyring.primary();
        let uses = self.store.key_uses().await.context("counting the rows of each key")?;
        let others = uses.iter().filter(|used| used.key_id != primary);
        Ok(others.map(|used| used.rows).sum())
    }
}

/// Waits until every write has ended that is under way now: it may have been sealed by whichever key.
pub(super) async fn writes_ended(store: &dyn Store, patience: Duration) -> anyhow::Result<()> {
    let (mark, began) = (store.mark().await?, Instant::now());
    while store.log_head().await?.snapshot.xmin() <= mark {
        if began.elapsed() > patience {
            bail!(
                "a transaction that began before is still open, and may have sealed by the old \
                 key (see pg_stat_activity); run this again when it has ended"
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
