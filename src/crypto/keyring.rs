//! The keys that data keys are wrapped by.

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use super::envelope::{self, Key, NotSealed, Place, Sealed, Unopened};
use crate::domain::redact;

/// Keys by their ids. One of them, the primary, seals; each of them opens what it has sealed.
///
/// What the keys are may change while others seal and open: see [`Keyring::reload`]. Who asks has
/// those of one moment, without a lock.
pub struct Keyring {
    keys: ArcSwap<Keys>,
}

/// At least one; the first one is the primary.
struct Keys(Vec<(String, Key)>);

impl Keys {
    fn primary(&self) -> &(String, Key) {
        &self.0[0]
    }

    /// The key of this id.
    fn get(&self, key_id: &str) -> Result<&Key, Unopened> {
        // What is no id was put there by somebody else, and belongs in no error.
        if !is_id(key_id) {
            return Err(Unopened::Malformed);
        }
        let found = self.0.iter().find(|(id, _)| id == key_id).map(|(_, key)| key);
        found.ok_or_else(|| Unopened::UnknownKey { key_id: key_id.to_owned() })
    }
}

impl Keyring {
    /// A keyring of one key at least.
    pub(super) fn of(primary: (String, Key), others: Vec<(String, Key)>) -> Self {
        let mut keys = vec![primary];
        keys.extend(others);
        Self { keys: ArcSwap::from_pointee(Keys(keys)) }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn primary(&self) -> String {
        self.keys.load().primary().0.clone()
    }

    /// The ids of all keys, the primary's first.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.keys.load().0.iter().map(|(id, _)| id.clone()).collect()
    }

    /// How many keys there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.keys.load().0.len()
    }

    /// Takes the keys of another keyring over, unless one of them has the id of a key that is here
    /// and is another: then that id is returned, and nothing has changed. Says whether there was
    /// anything to be changed.
    pub(super) fn take(&self, newer: Self) -> Result<bool, String> {
        let (held, newer) = (self.keys.load(), newer.keys.into_inner());
        for (id, key) in &newer.0 {
            if held.get(id).is_ok_and(|held| !held.is(key)) {
                return Err(id.clone());
            }
        }
        let ids = |keys: &Keys| keys.0.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        if ids(&held) == ids(&newer) {
            return Ok(false);
        }
        self.keys.store(newer);
        Ok(true)
    }

    /// Seals a value, by the primary key.
    ///
    /// # Errors
    /// See [`NotSealed`].
    pub fn seal(&self, place: &impl Place, value: &[u8]) -> Result<Sealed, NotSealed> {
        let keys = self.keys.load();
        let (id, key) = keys.primary();
        envelope::seal((id, key), place, value)
    }

    /// Opens a value, by whichever key it was sealed with.
    ///
    /// # Errors
    /// See [`Unopened`].
    pub fn open(
        &self,
        place: &impl Place,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        envelope::open(self.keys.load().get(&sealed.key_id)?, place, sealed)
    }

    /// Wraps the data key of a sealed value anew, by the primary key; returns that key's id and the
    /// wrapped key. The value itself is neither needed nor opened.
    ///
    /// # Errors
    /// See [`Rewrap`].
    pub fn rewrap(
        &self,
        subject: &impl Place,
        key_id: &str,
        wrapped_key: &[u8],
    ) -> Result<(String, Vec<u8>), Rewrap> {
        let keys = self.keys.load();
        let (id, key) = keys.primary();
        let data_key = envelope::unwrap((key_id, keys.get(key_id)?), subject, wrapped_key)?;
        Ok((id.clone(), envelope::wrap((id, key), subject, &data_key)?))
    }
}

/// Why a data key was not wrapped anew.
#[derive(Debug, thiserror::Error)]
pub enum Rewrap {
    /// It could not be unwrapped.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// It could not be wrapped.
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
}

/// Ids are sixteen hexadecimal digits: random, so that no two files have one in common.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

redact!(Keyring { ids: |it| it.keys.load().0.iter().map(|(id, _)| id).collect::<Vec<_>>() });
