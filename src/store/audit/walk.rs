//! A walk along the chain: row by row, until one is not what was chained.

use super::{AuditRecord, Chain, Position};
use crate::crypto::{ChainKey, Keyring, Link, Mark, Unopened};

/// Where the chain does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The keyring can't open the chain's key: nothing can be said of it.
    #[error("the key of the chain can't be opened: the keyring has no key {key_id}")]
    NoKey {
        /// Which one it lacks.
        key_id: String,
    },
    /// The chain's key is not what was sealed.
    #[error("the key of the chain is not what was sealed; tenant_audit_chain was changed")]
    ForgedKey,
    /// Where the chain begins is not what was signed.
    #[error("where the chain begins is not signed by this service; rows may have been cut off")]
    Anchor,
    /// Where the chain ends is not what was signed.
    #[error("where the chain ends (row {number}) is not signed by this service, or is another row")]
    Head {
        /// The number of the last row, as it says.
        number: i64,
    },
    /// There are numbers, and nothing that says where the chain begins and ends.
    #[error("rows are numbered, and the row of tenant_audit_chain is gone")]
    NoChain,
    /// Rows are missing.
    #[error("rows {from} to {to} are missing")]
    Missing {
        /// The first one.
        from: i64,
        /// The last one.
        to: i64,
    },
    /// A row is not what was chained: it was changed, or stands in another's place.
    #[error("row {number} is not what was chained: it was changed, put there or moved")]
    Changed {
        /// Its number.
        number: i64,
    },
    /// Rows were put where none can be.
    #[error("there are {rows} numbered rows outside the chain, which the service did not number")]
    Outside {
        /// How many.
        rows: u64,
    },
}

impl From<Unopened> for Break {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::UnknownKey { key_id } => Self::NoKey { key_id },
            Unopened::Forged | Unopened::Malformed => Self::ForgedKey,
        }
    }
}

/// See the module. Has no `Debug`: it holds the key.
pub struct Walk {
    key: ChainKey,
    at: i64,
    link: Link,
}

impl Walk {
    /// A walk that begins where the chain does.
    ///
    /// # Errors
    /// The key does not open, or has not signed where that is.
    pub(in crate::store) fn begin(chain: &Chain, keyring: &Keyring) -> Result<Self, Break> {
        let key = chain.open_key(keyring)?;
        let link = chain.anchor.link(&key, Mark::Anchor).ok_or(Break::Anchor)?;
        Ok(Self { key, at: chain.anchor.number, link })
    }

    /// A walk that begins where the chain ends, to go on with it. `last` is the row there.
    ///
    /// # Errors
    /// As [`Walk::begin`]; or the last row is not the one that the head was signed for.
    pub(in crate::store) fn at_the_end(
        chain: &Chain,
        keyring: &Keyring,
        last: Option<&[u8]>,
    ) -> Result<Self, Break> {
        let Self { key, at, link } = Self::begin(chain, keyring)?;
        let number = chain.head.number;
        let head = chain.head.link(&key, Mark::Head).ok_or(Break::Head { number })?;
        // Where all was pruned, the last row is the anchor.
        let found = if number == at { Some(link.as_bytes()) } else { last };
        match found {
            None => Err(Break::Missing { from: number, to: number }),
            Some(found) if !head.is(found) => Err(Break::Changed { number }),
            Some(_) => Ok(Self { key, at: number, link: head }),
        }
    }

    /// The number of the last row that was found right.
    #[must_use]
    pub const fn at(&self) -> i64 {
        self.at
    }

    /// The chain's hash there.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Goes on over the next row.
    ///
    /// # Errors
    /// It is not the next one, or not what was chained.
    pub fn step(&mut self, record: &AuditRecord) -> Result<(), Break> {
        let number = self.at + 1;
        match record.number {
            Some(found) if found > number => {
                return Err(Break::Missing { from: number, to: found - 1 });
            }
            Some(found) if found == number => {}
            // The database orders them, and no two have the same number.
            Some(_) | None => return Err(Break::Changed { number }),
        }
        let link = self.next(record);
        if !record.hash.as_deref().is_some_and(|hash| link.is(hash)) {
            return Err(Break::Changed { number });
        }
        (self.at, self.link) = (number, link);
        Ok(())
    }

    /// Takes a row that has no place yet into the chain, as the next one.
    pub(in crate::store) fn extend(&mut self, record: &AuditRecord) -> (i64, Link) {
        let link = self.next(record);
        (self.at, self.link) = (self.at + 1, link);
        (self.at, link)
    }

    fn next(&self, record: &AuditRecord) -> Link {
        self.key.link(&self.link, &record.encoded(self.at + 1))
    }

    /// Signs that the chain ends, or begins, here.
    pub(in crate::store) fn sign(&self, mark: Mark) -> Position {
        Position::signed(&self.key, mark, self.at, &self.link)
    }

    /// Whether the chain ends here, having walked up to its head.
    ///
    /// # Errors
    /// The head is not signed, or the row here is not the one that it was signed for.
    pub fn ends(&self, head: &Position) -> Result<(), Break> {
        let number = head.number;
        if self.at < number {
            return Err(Break::Missing { from: self.at + 1, to: number });
        }
        let signed = head.link(&self.key, Mark::Head).ok_or(Break::Head { number })?;
        let is_here = number == self.at && signed.is(self.link.as_bytes());
        if is_here { Ok(()) } else { Err(Break::Head { number }) }
    }
}
