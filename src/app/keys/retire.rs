//! Keys that nothing needs any more, taken out of the keyring.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::fleet::Fleet;
use super::locked;
use super::rotate::writes_ended;
use crate::app::core::{close_store, open_with};
use crate::app::keyring::existing;
use crate::config::{Database, KeyringFile};
use crate::crypto::KeyringEditor;
use crate::store::Store;

/// How long to wait for replicas, and for writes under way.
const PATIENCE: Duration = Duration::from_mins(1);

/// Takes every key out of the file but the primary and the next one, if no row needs any of them and
/// no replica seals by one. Returns what was done.
///
/// The rows are counted when no row can come to name them any more: the database refuses that from
/// then on, whoever writes it.
///
/// # Errors
/// A row or a replica needs one; nothing has changed then.
pub async fn retire(database: &Database, file: &KeyringFile) -> anyhow::Result<String> {
    let keyring = existing(file)?;
    let (store, _) = open_with(database, Arc::clone(&keyring)).await?;
    let told = run(store.as_ref(), file).await;
    close_store(store.as_ref()).await;
    told
}

async fn run(store: &dyn Store, file: &KeyringFile) -> anyhow::Result<String> {
    let _lock = locked(store).await?;
    let mut editor = KeyringEditor::open(&file.path)?;
    let stays = |id: &str| id == editor.primary() || Some(id) == editor.next();
    let keys = editor.keys().iter().map(|key| key.id.clone());
    let keys: Vec<String> = keys.filter(|id| !stays(id)).collect();
    if keys.is_empty() {
        return Ok("the keyring has no key that could be taken out\n".to_owned());
    }
    unused(store, &keys).await?;
    let advice = "Nothing was changed";
    Fleet::of(store)
        .until_all(("seal by the primary key of the file", advice), PATIENCE, |replica| {
            replica.keys.first().is_some_and(|key| *key == editor.primary())
        })
        .await?;
    store.retire_keys(&keys).await?;
    let checked = async {
        writes_ended(store, PATIENCE).await?;
        unused(store, &keys).await
    };
    if let Err(error) = checked.await {
        store.reinstate_keys(&keys).await.context("allowing rows to name those keys again")?;
        return Err(error);
    }
    editor.remove(&keys)?;
    Ok(format!("took out of {}: {}\n", editor.path().display(), keys.join(", ")))
}

async fn unused(store: &dyn Store, keys: &[String]) -> anyhow::Result<()> {
    let uses = store.key_uses().await.context("counting the rows of each key")?;
    if let Some(used) = uses.iter().find(|used| keys.contains(&used.key_id)) {
        bail!(
            "{} rows of {} need the key {}; `tenant-service keys rotate` gives them the primary one. \
             Nothing was changed",
            used.rows,
            used.table,
            used.key_id
        );
    }
    Ok(())
}
