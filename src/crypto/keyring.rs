//! The keys that data keys are wrapped by.

use std::fmt;

use zeroize::Zeroizing;

use super::envelope::{self, Key, NotSealed, Place, Sealed, Unopened};

/// Keys by their ids. One of them, the primary, seals; each of them opens what it has sealed.
pub struct Keyring {
    /// The first one is the primary.
    keys: Vec<(String, Key)>,
}

impl Keyring {
    /// A keyring of one key at least.
    pub(super) fn of(primary: (String, Key), others: Vec<(String, Key)>) -> Self {
        let mut keys = vec![primary];
        keys.extend(others);
        Self { keys }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn primary(&self) -> &str {
        &self.keys[0].0
    }

    /// How many keys there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.keys.len()
    }

    /// Seals a value, by the primary key.
    ///
    /// # Errors
    /// See [`NotSealed`].
    pub fn seal(&self, place: &impl Place, value: &[u8]) -> Result<Sealed, NotSealed> {
        let (id, key) = &self.keys[0];
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
        // What is no id was put there by somebody else, and belongs in no error.
        if !is_id(&sealed.key_id) {
            return Err(Unopened::Malformed);
        }
        let Some((_, key)) = self.keys.iter().find(|(id, _)| *id == sealed.key_id) else {
            return Err(Unopened::UnknownKey { key_id: sealed.key_id.clone() });
        };
        envelope::open(key, place, sealed)
    }
}

/// Ids are sixteen hexadecimal digits: random, so that no two files have one in common.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|(id, _)| id);
        f.debug_list().entries(ids).finish()
    }
}
