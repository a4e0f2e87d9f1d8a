//! The keyring's file, changed while others read it.
//!
//! Each change reads the file, writes the new one aside, and renames it: who reads has the one or
//! the other, and so has who starts after a crash. The folder is locked meanwhile, so that of two
//! changes at once none is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::file::{Document, Entry, KeyringError, Reason, named, parsed, read, synced, text_of};

/// A key of the file, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The file of a keyring, for whoever replaces its keys.
#[derive(Debug, Clone)]
pub struct KeyringEditor {
    /// As it was named.
    path: PathBuf,
    /// Where it is: who renames a link replaces the link.
    real: PathBuf,
    primary: String,
    next: Option<String>,
    keys: Vec<KeyEntry>,
}

impl KeyringEditor {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn open(path: &Path) -> Result<Self, KeyringError> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let document = document(&real).map_err(|reason| named(path, reason))?;
        Ok(Self::of(path.to_owned(), real, &document))
    }

    fn of(path: PathBuf, real: PathBuf, document: &Document) -> Self {
        let entry = |entry: &Entry| KeyEntry { id: entry.id.clone(), created_at: entry.created_at };
        Self {
            path,
            real,
            primary: document.primary.clone(),
            next: document.next.clone(),
            keys: document.keys.iter().map(entry).collect(),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn primary(&self) -> &str {
        &self.primary
    }

    /// The id of the key that is to be the primary.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Its keys, in the order of the file.
    #[must_use]
    pub fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// Whether it has a key of this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Adds a new key that opens and does not seal yet: the [`next`](Self::next) one. If there is
    /// one already, it stays that.
    ///
    /// # Errors
    /// The file can't be written, or be read any more.
    pub fn add_next(&mut self) -> Result<(), KeyringError> {
        self.change(|document| {
            if document.next.is_none() {
                let entry = Entry::random()?;
                document.next = Some(entry.id.clone());
                document.keys.push(entry);
            }
            Ok(())
        })
    }

    /// Makes the next key the primary.
    ///
    /// # Errors
    /// The file can't be written, or be read any more.
    pub fn promote_next(&mut self) -> Result<(), KeyringError> {
        self.change(|document| {
            document.primary = document.next.take().unwrap_or_else(|| document.primary.clone());
            Ok(())
        })
    }

    /// Takes these keys out of the file; never the primary, nor the next one.
    ///
    /// # Errors
    /// The file can't be written, or be read any more.
    pub fn remove(&mut self, ids: &[String]) -> Result<(), KeyringError> {
        self.change(|document| {
            let Document { primary, next, keys } = document;
            keys.retain(|key| {
                !ids.contains(&key.id) || key.id == *primary || Some(&key.id) == next.as_ref()
            });
            Ok(())
        })
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Document) -> Result<(), Reason>,
    ) -> Result<(), KeyringError> {
        let changed = || {
            let _locked = locked(&self.real).map_err(Reason::Unwritable)?;
            let mut document = document(&self.real)?;
            let before = text_of(&document)?;
            change(&mut document)?;
            let text = text_of(&document)?;
            if text != before {
                // What can't be read again must not be written.
                parsed(&text)?;
                replace(&self.real, &text).map_err(Reason::Unwritable)?;
            }
            Ok(document)
        };
        let document = changed().map_err(|reason| named(&self.path, reason))?;
        *self = Self::of(self.path.clone(), self.real.clone(), &document);
        Ok(())
    }
}

fn document(path: &Path) -> Result<Document, Reason> {
    read(path).and_then(|text| parsed(&text)).map(|(document, _)| document)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Held until it is closed, and by no more than one process.
fn locked(path: &Path) -> io::Result<File> {
    let folder = File::open(folder_of(path))?;
    folder.lock()?;
    Ok(folder)
}

/// Puts a new file in the place of the one that is there, with its owner and its permissions.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Always the same: what a process that was killed has left is gone with the next change.
    name.push(".new");
    let aside = path.with_file_name(name);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    let written = (|| {
        file.write_all(text)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            let (made, owner) = (file.metadata()?, (before.uid(), before.gid()));
            if (made.uid(), made.gid()) != owner {
                // Else the replicas could not read it any more.
                fchown(&file, Some(owner.0), Some(owner.1))?;
            }
        }
        file.set_permissions(before.permissions())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // The failure counts, whatever becomes of what was written aside.
        drop(fs::remove_file(&aside));
    }
    written.and_then(|()| synced(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::crypto::{Keyring, Subject};
    use crate::domain::CredentialType;

    fn made() -> (tempfile::TempDir, PathBuf, Keyring) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.json");
        let keyring = Keyring::generate(&path).unwrap();
        (folder, path, keyring)
    }

    #[test]
    fn a_key_is_replaced_in_steps_and_what_was_sealed_opens_at_each() {
        let (_folder, path, keyring) = made();
        let tenant = "acme".parse().unwrap();
        let kind = CredentialType::Genesys;
        let subject = Subject { credential: "c", tenant: &tenant, kind, version: 1 };
        let old = keyring.primary();
        let sealed = keyring.seal(&subject, b"value").unwrap();
        let mut editor = KeyringEditor::open(&path).unwrap();

        editor.add_next().unwrap();
        let new = editor.next().unwrap().to_owned();
        editor.add_next().unwrap();
        assert_eq!((editor.primary(), editor.next(), editor.keys().len()), (&*old, Some(&*new), 2));
        assert!(keyring.reload(&path).unwrap());
        assert!(!keyring.reload(&path).unwrap());
        assert_eq!(keyring.ids(), [old.clone(), new.clone()]);
        assert_eq!(keyring.seal(&subject, b"").unwrap().key_id, old);

        editor.promote_next().unwrap();
        editor.promote_next().unwrap();
        assert_eq!((editor.primary(), editor.next()), (&*new, None));
        assert!(keyring.reload(&path).unwrap());
        assert_eq!(keyring.ids(), [new.clone(), old.clone()]);
        assert_eq!(**keyring.open(&subject, &sealed).unwrap(), *b"value");
        let (key_id, wrapped_key) =
            keyring.rewrap(&subject, &sealed.key_id, &sealed.wrapped_key).unwrap();
        let sealed = crate::crypto::Sealed { key_id, wrapped_key, ..sealed };

        editor.remove(&[old.clone(), new.clone()]).unwrap();
        assert!(editor.has(&new) && !editor.has(&old), "the primary stays");
        assert!(keyring.reload(&path).unwrap());
        assert_eq!(**keyring.open(&subject, &sealed).unwrap(), *b"value");
    }

    #[test]
    fn a_data_key_is_wrapped_anew_in_its_place_alone() {
        let (_folder, path, keyring) = made();
        let tenant = "acme".parse().unwrap();
        let kind = CredentialType::Genesys;
        let subject = Subject { credential: "c", tenant: &tenant, kind, version: 1 };
        let sealed = keyring.seal(&subject, b"value").unwrap();
        let moved = Subject { version: 2, ..subject };
        assert!(keyring.rewrap(&moved, &sealed.key_id, &sealed.wrapped_key).is_err());
        let mut editor = KeyringEditor::open(&path).unwrap();
        editor.add_next().unwrap();
        let next = editor.next().unwrap();
        keyring.reload(&path).unwrap();
        assert!(keyring.rewrap(&subject, next, &sealed.wrapped_key).is_err());
    }

    #[test]
    fn the_file_keeps_its_permissions_and_its_link() {
        let (folder, path, _) = made();
        let link = folder.path().join("link.json");
        symlink(&path, &link).unwrap();
        fs::write(folder.path().join("keyring.json.new"), "of one that was killed").unwrap();
        for mode in [0o600, 0o640, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut editor = KeyringEditor::open(&link).unwrap();
            editor.add_next().unwrap();
            editor.promote_next().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert!(link.is_symlink());
        assert_eq!(Keyring::load(&path).unwrap().size(), 4);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn of_changes_at_once_none_is_lost() {
        let (_folder, path, _) = made();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut editor = KeyringEditor::open(&path).unwrap();
                    editor.add_next().unwrap();
                    editor.promote_next().unwrap();
                });
            }
        });
        let editor = KeyringEditor::open(&path).unwrap();
        // Who found that there is a next one has added none.
        assert_eq!(editor.next(), None);
        assert!(editor.keys().len() > 1);
        let keyring = Keyring::load(&path).unwrap();
        assert_eq!(keyring.primary(), editor.primary());
    }

    #[test]
    fn a_broken_file_changes_nothing_that_is_held() {
        let (folder, path, keyring) = made();
        let text = fs::read_to_string(&path).unwrap();
        let other = folder.path().join("other.json");
        Keyring::generate(&other).unwrap();
        let key = |text: &str| {
            let document: serde_json::Value = serde_json::from_str(text).unwrap();
            document["keys"][0]["key"].as_str().unwrap().to_owned()
        };
        let swapped = text.replace(&key(&text), &key(&fs::read_to_string(&other).unwrap()));
        let ids = keyring.ids();
        for broken in ["", "{}", &text[..40], &swapped] {
            fs::write(&path, broken).unwrap();
            assert!(keyring.reload(&path).is_err());
            assert_eq!(keyring.ids(), ids);
        }
        let error = keyring.reload(&path).unwrap_err();
        assert!(matches!(&error.reason, Reason::Replaced { id } if *id == ids[0]), "{error}");
        fs::write(&path, &text).unwrap();
        assert!(!keyring.reload(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(keyring.reload(&path).is_err());
        let next = text.replacen("\"keys\"", "\"next\": \"00112233aabbccdd\",\n  \"keys\"", 1);
        assert!(matches!(parsed(next.as_bytes()).err().unwrap(), Reason::NoNext));
    }
}
