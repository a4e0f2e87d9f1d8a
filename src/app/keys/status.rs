//! Which key is needed by what, and held by whom.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use serde::Serialize;

use super::fleet::Fleet;
use crate::app::keyring::existing;
use crate::app::verify::open_read_only;
use crate::config::{Database, KeyringFile};
use crate::crypto::KeyringEditor;
use crate::store::Store;

/// What `keys status` says.
#[derive(Debug, Serialize)]
pub struct KeyReport {
    keyring: String,
    keys: Vec<KeyLine>,
    replicas: Vec<ReplicaLine>,
    /// Rows that no key of the file opens.
    unopenable: u64,
}

#[derive(Debug, Serialize)]
struct KeyLine {
    id: String,
    /// `primary`, `next`, `decrypt-only`, or `missing`: rows name it, and the file does not have it.
    state: &'static str,
    created_at: Option<String>,
    /// By table.
    rows: BTreeMap<&'static str, u64>,
    /// Replicas that hold it.
    held_by: usize,
}

#[derive(Debug, Serialize)]
struct ReplicaLine {
    instance: String,
    primary: Option<String>,
    keys: Vec<String>,
}

impl KeyReport {
    /// Whether some key of the file opens every row.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.unopenable == 0
    }
}

/// Compares the file with the rows and the replicas. Changes nothing.
///
/// # Errors
/// The keyring can't be used, or the database can't be read.
pub async fn status(database: &Database, file: &KeyringFile) -> anyhow::Result<KeyReport> {
    let store = open_read_only(database, existing(file)?)?;
    let report = report(store.as_ref(), &KeyringEditor::open(&file.path)?).await;
    crate::app::close_store(store.as_ref()).await;
    report
}

async fn report(store: &dyn Store, editor: &KeyringEditor) -> anyhow::Result<KeyReport> {
    let what = "reading the database (has it been migrated, and may this role read it?)";
    let replicas = Fleet::of(store).alive().await.context(what)?;
    let mut rows: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for used in store.key_uses().await.context(what)? {
        *rows.entry(used.key_id).or_default().entry(used.table).or_default() += used.rows;
    }
    let held_by = |id: &str| {
        replicas.iter().filter(|replica| replica.keys.iter().any(|key| key == id)).count()
    };
    let mut keys = Vec::new();
    for key in editor.keys() {
        let state = match &*key.id {
            id if id == editor.primary() => "primary",
            id if Some(id) == editor.next() => "next",
            _ => "decrypt-only",
        };
        keys.push(KeyLine {
            state,
            created_at: Some(key.created_at.to_string()),
            rows: rows.remove(&key.id).unwrap_or_default(),
            held_by: held_by(&key.id),
            id: key.id.clone(),
        });
    }
    let unopenable = rows.values().flat_map(BTreeMap::values).sum();
    for (id, rows) in rows {
        let held_by = held_by(&id);
        keys.push(KeyLine { id, state: "missing", created_at: None, rows, held_by });
    }
    let replica = |replica: crate::store::Replica| ReplicaLine {
        instance: replica.instance,
        primary: replica.keys.first().cloned(),
        keys: replica.keys,
    };
    Ok(KeyReport {
        keyring: editor.path().display().to_string(),
        keys,
        replicas: replicas.into_iter().map(replica).collect(),
        unopenable,
    })
}

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.keyring)?;
        let total = self.replicas.len();
        for key in &self.keys {
            let created = key.created_at.as_deref().unwrap_or("-");
            writeln!(
                f,
                "  {}  {:12}  {created:20}  held by {} of {total} replicas",
                // What stands in a row may be anything.
                key.id.escape_debug(),
                key.state,
                key.held_by
            )?;
            for (table, rows) in &key.rows {
                writeln!(f, "      {rows} rows of {table}")?;
            }
        }
        for replica in &self.replicas {
            let primary = replica.primary.as_deref().unwrap_or("a key that it does not tell");
            writeln!(f, "  {} seals by {primary}", replica.instance)?;
        }
        if self.unopenable > 0 {
            writeln!(f, "{} rows name a key that this keyring does not have", self.unopenable)?;
        }
        Ok(())
    }
}
