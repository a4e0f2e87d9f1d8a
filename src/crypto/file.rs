//! The file of a keyring: JSON, for people to look at and programs to keep.
//!
//! ```json
//! {
//!   "primary": "5f0c9d1e2b7a4c38",
//!   "keys": [
//!     {"id": "5f0c9d1e2b7a4c38", "key": "…32 bytes in base64…", "created_at": "2026-01-02T03:04:05Z"}
//!   ]
//! }
//! ```
//!
//! While a key is being replaced, `next` names the one that is to be the primary.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::envelope::{KEY_LEN, Key, NotSealed};
use super::keyring::{Keyring, is_id};
use super::text::secret_lines;

/// Far more than any number of keys takes: a file that is larger is another one.
const LARGEST: u64 = 1 << 20;

/// Why a keyring can't be used. Names the file, and never what is in it.
#[derive(Debug)]
pub struct KeyringError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub reason: Reason,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keyring {}: {}", self.path.display(), self.reason)
    }
}

impl Error for KeyringError {
    /// What is beneath the reason, which has been told.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

/// What is wrong with the file of a keyring.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// There is none.
    #[error(
        "there is no such file. Put the keyring there with which the credentials in the database \
         are sealed, or make one for a database that has none: `tenant-service keys generate --file …`"
    )]
    Missing,
    /// It can't be read.
    #[error("it can't be read")]
    Unreadable(#[source] io::Error),
    /// Others than its owner, and those of its group who read it, have rights on it.
    #[error(
        "its permissions are {mode:03o}, which lets others read it, or change it; \
         `chmod 600` it, and replace its keys if somebody may have read them"
    )]
    Exposed {
        /// As `chmod` writes it.
        mode: u32,
    },
    /// It is not in the form of a keyring.
    #[error("it is no keyring (line {line}, column {column}); restore it from your backup")]
    NoKeyring {
        /// Where that shows.
        line: usize,
        /// Where that shows.
        column: usize,
    },
    /// It is too large to be one.
    #[error("it is no keyring: it is larger than one can be")]
    TooLarge,
    /// An id that is none.
    #[error("the id of key number {0} is not sixteen hexadecimal digits (0-9, a-f)")]
    Id(usize),
    /// Two keys of one id.
    #[error("key number {0} has the id of another one")]
    Duplicate(usize),
    /// A key of another length.
    #[error("key number {0} is not the base64 of 32 bytes")]
    Key(usize),
    /// No key has the primary's id.
    #[error("`primary` is the id of none of its keys")]
    NoPrimary,
    /// `next` is the primary's, or no key's, id.
    #[error("`next` must be the id of one of its keys, and not of the primary")]
    NoNext,
    /// A key that is in use has become another one.
    #[error(
        "its key {id} is another one than before: what was sealed by it would not open. A new key \
         needs a new id"
    )]
    Replaced {
        /// Which one.
        id: String,
    },
    /// A keyring is never written over.
    #[error("it is there already, and was left as it is: nothing sealed by it opens without it")]
    Exists,
    /// It can't be written.
    #[error("it can't be written")]
    Unwritable(#[source] io::Error),
    /// There is no key to be had.
    #[error("no key could be made")]
    NoKey(#[source] NotSealed),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub primary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub id: String,
    key: String,
    pub created_at: Timestamp,
}

impl Entry {
    fn of(id: &str, key: &Key) -> Self {
        let created_at = Timestamp::now().round(Unit::Second).unwrap_or_default();
        Self { id: id.to_owned(), key: BASE64_STANDARD.encode(key.reveal()), created_at }
    }

    /// A new key under a new id.
    pub fn random() -> Result<Self, Reason> {
        random_key().map(|(id, key)| Self::of(&id, &key))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Keyring {
    /// Reads a keyring.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        read(path).and_then(|text| parse(&text)).map_err(|reason| named(path, reason))
    }

    /// Reads the keyring again; says whether it has changed. Where it can't be used, what was there
    /// before stays.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn reload(&self, path: &Path) -> Result<bool, KeyringError> {
        let replaced = |id| named(path, Reason::Replaced { id });
        Self::load(path).and_then(|newer| self.take(newer).map_err(replaced))
    }

    /// Makes a keyring of one new key, which only its owner can read.
    ///
    /// # Errors
    /// See [`Reason`]; [`Reason::Exists`] among them.
    pub fn generate(path: &Path) -> Result<Self, KeyringError> {
        let made = || {
            let (id, key) = random_key()?;
            let keys = vec![Entry::of(&id, &key)];
            create(path, &text_of(&Document { primary: id.clone(), next: None, keys })?)?;
            Ok(Self::of((id, key), Vec::new()))
        };
        made().map_err(|reason| named(path, reason))
    }
}

pub(super) fn named(path: &Path, reason: Reason) -> KeyringError {
    KeyringError { path: path.to_owned(), reason }
}

fn random_key() -> Result<(String, Key), Reason> {
    let id = format!("{:016x}", u64::from_be_bytes(random_id()?));
    Ok((id, Key::random().map_err(Reason::NoKey)?))
}

/// The text of the file.
pub(super) fn text_of(document: &Document) -> Result<Zeroizing<Vec<u8>>, Reason> {
    secret_lines(document).map_err(|_| Reason::Unwritable(ErrorKind::InvalidData.into()))
}

fn random_id() -> Result<[u8; 8], Reason> {
    let key = Key::random().map_err(Reason::NoKey)?;
    let mut id = [0; 8];
    id.copy_from_slice(&key.reveal()[..8]);
    Ok(id)
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let unreadable = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Reason::Missing,
        _ => Reason::Unreadable(error),
    };
    let file = File::open(path).map_err(unreadable)?;
    // Of the file that was opened, whatever the path leads to by now: Kubernetes mounts a secret as
    // a link that moves.
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(mode) = exposed(&metadata) {
        return Err(Reason::Exposed { mode });
    }
    if metadata.len() > LARGEST {
        return Err(Reason::TooLarge);
    }
    // At once: where it grows, it leaves a copy behind.
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(LARGEST).read_to_end(&mut text).map_err(Reason::Unreadable)?;
    Ok(text)
}

/// The permissions, where they let others in. Its group may read it: that is how Kubernetes hands a
/// secret to a user who is not root.
#[cfg(unix)]
fn exposed(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o027 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn exposed(_: &fs::Metadata) -> Option<u32> {
    None
}

fn parse(text: &[u8]) -> Result<Keyring, Reason> {
    parsed(text).map(|(_, keyring)| keyring)
}

/// The document, and the keyring that it is.
pub(super) fn parsed(text: &[u8]) -> Result<(Document, Keyring), Reason> {
    // Not the error itself: it quotes what it found.
    let document: Document = serde_json::from_slice(text)
        .map_err(|error| Reason::NoKeyring { line: error.line(), column: error.column() })?;
    let (mut primary, mut others, mut ids) = (None, Vec::new(), HashSet::new());
    for (number, entry) in (1..).zip(&document.keys) {
        let Entry { id, key, .. } = entry;
        if !is_id(id) {
            return Err(Reason::Id(number));
        }
        if !ids.insert(id) {
            return Err(Reason::Duplicate(number));
        }
        let key = decoded(key).ok_or(Reason::Key(number))?;
        let named = (id.clone(), key);
        if *id == document.primary {
            primary = Some(named);
        } else {
            others.push(named);
        }
    }
    let primary = primary.ok_or(Reason::NoPrimary)?;
    if document.next.as_ref().is_some_and(|next| *next == primary.0 || !ids.contains(next)) {
        return Err(Reason::NoNext);
    }
    let keyring = Keyring::of(primary, others);
    Ok((document, keyring))
}

fn decoded(text: &str) -> Option<Key> {
    // What the library wants at least, whatever the padding says.
    let mut bytes = Zeroizing::new([0; KEY_LEN + 1]);
    let length = BASE64_STANDARD.decode_slice(text, &mut *bytes).ok()?;
    Key::of(bytes.get(..length)?)
}

/// Creates the file whole or not at all, so that whoever starts at the same time reads no half of
/// it, and replaces none.
fn create(path: &Path, text: &[u8]) -> Result<(), Reason> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", u64::from_be_bytes(random_id()?)));
    let aside = path.with_file_name(name);
    let written = write(&aside, text).and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Reason::Exists),
        written => written.and(removed).and_then(|()| synced(path)).map_err(Reason::Unwritable),
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let (mut folders, mut options) = (DirBuilder::new(), OpenOptions::new());
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        folders.mode(0o700);
        options.mode(0o600);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        folders.recursive(true).create(folder)?;
    }
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Makes the name of a new file outlast a crash, as its content does: what is sealed next depends on
/// both.
pub(super) fn synced(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
