//! A chain of records: each link is a keyed hash over the one before it and the record.
//!
//! Keyed, because a chain that anybody can compute anybody can compute anew: whoever can write to the
//! database does not have the key. (Who has both, can; see `docs/security.md`.)
//!
//! ```text
//! link   format (1) · HMAC-SHA-256 (32)
//! ```

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::envelope::{KEY_LEN, NotSealed};

const FORMAT: u8 = 1;
const MAC_LEN: usize = 32;
/// What links are hashes of, and signatures; neither can be taken for the other.
const ROW: &[u8] = b"tenant-service audit row 1";
const ANCHOR: &[u8] = b"tenant-service audit anchor 1";
const HEAD: &[u8] = b"tenant-service audit head 1";

/// The hash of a chain up to a record.
#[derive(Clone, Copy)]
pub struct Link([u8; 1 + MAC_LEN]);

impl Link {
    /// Of a chain without a record.
    pub const NONE: Self = {
        let mut bytes = [0; 1 + MAC_LEN];
        bytes[0] = FORMAT;
        Self(bytes)
    };

    /// These bytes, if they are a link of this version.
    #[must_use]
    pub fn stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().filter(|bytes: &[u8; 1 + MAC_LEN]| bytes[0] == FORMAT).map(Self)
    }

    /// Its bytes, to be stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether these bytes are this link. Takes as long wherever they differ.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, bytes).is_ok()
    }
}

impl fmt::Display for Link {
    /// Hexadecimal digits, for people to keep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a signature says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Records up to here may be gone.
    Anchor,
    /// The chain ends here.
    Head,
}

/// The key of a chain. Has no `Debug`.
pub struct ChainKey(hmac::Key);

impl ChainKey {
    /// The bytes of a new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn draw() -> Result<Zeroizing<Vec<u8>>, NotSealed> {
        let mut bytes = Zeroizing::new(vec![0; KEY_LEN]);
        rand::fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The key of these bytes, if they are as many as a key has.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY_LEN).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The link of a record behind another link.
    #[must_use]
    pub fn link(&self, before: &Link, record: &[u8]) -> Link {
        self.hash([ROW, before.as_bytes(), record])
    }

    /// The signature under what is said of a link.
    #[must_use]
    pub fn sign(&self, mark: Mark, number: i64, link: &Link) -> Link {
        let mark = if mark == Mark::Anchor { ANCHOR } else { HEAD };
        self.hash([mark, &number.to_be_bytes(), link.as_bytes()])
    }

    /// Each part after its length: no two lists of parts give the same bytes.
    fn hash(&self, parts: [&[u8]; 3]) -> Link {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 1 + MAC_LEN];
        bytes[0] = FORMAT;
        bytes[1..].copy_from_slice(context.sign().as_ref());
        Link(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ChainKey {
        ChainKey::of(&[byte; KEY_LEN]).unwrap()
    }

    /// So that what was chained by this version is found right by all that come after it. The hashes were
    /// computed by another program.
    #[test]
    fn the_layout_is_kept() {
        let link = key(7).link(&Link::NONE, b"record");
        let expected = "01a2ba3578e0fef13c593c80a52cff942eaf26aae1aeb5d9b679aab60ecf6af6e2";
        assert_eq!(link.to_string(), expected);
        let head = key(7).sign(Mark::Head, 1, &link);
        let expected = "01385d0432942dc3a21621044adbd1a7d04ea501769823b3d35c7e622b94db8dda";
        assert_eq!(head.to_string(), expected);
    }

    #[test]
    fn a_link_depends_on_all_that_it_is_made_of() {
        let (one, other) = (key(1).link(&Link::NONE, b"a"), key(1).link(&Link::NONE, b"b"));
        let all = [
            one,
            other,
            key(2).link(&Link::NONE, b"a"),
            key(1).link(&one, b"a"),
            key(1).sign(Mark::Head, 1, &one),
            key(1).sign(Mark::Anchor, 1, &one),
            key(1).sign(Mark::Head, 2, &one),
            key(1).sign(Mark::Head, 1, &other),
        ];
        for (at, link) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|before| !before.is(link.as_bytes())), "{at}");
            assert!(Link::stored(link.as_bytes()).unwrap().is(link.as_bytes()));
        }
        assert!(Link::stored(&[FORMAT; MAC_LEN]).is_none());
        assert!(Link::stored(&[2; 1 + MAC_LEN]).is_none());
        assert!(ChainKey::of(b"short").is_none());
    }
}
