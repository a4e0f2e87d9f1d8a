//! The key by which tokens are hashed, and new tokens.
//!
//! A token has 256 random bits, so nobody finds it by trying; the key (the *pepper*) is there so that
//! hashes in a dump can't even be compared with a token that somebody has found elsewhere.

use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use super::envelope::{KEY_LEN, NotSealed};
use crate::domain::{AccessToken, TokenHash, redact};

/// See the module. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

impl Pepper {
    /// The bytes of a new one, to be sealed.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<Zeroizing<Vec<u8>>, NotSealed> {
        let mut bytes = Zeroizing::new(vec![0; KEY_LEN]);
        rand::fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The one of these bytes, if they are as many as it has.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY_LEN).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// One that no token was ever hashed with: to take as long over a token that nobody has issued as
    /// over one whose secret is wrong.
    #[must_use]
    pub fn decoy() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &[0; KEY_LEN]))
    }

    /// What a token is known by.
    #[must_use]
    pub fn hash(&self, token: &AccessToken) -> TokenHash {
        let tag = hmac::sign(&self.0, token.reveal().as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(tag.as_ref());
        TokenHash(hash)
    }

    /// Whether it is the token of this hash. Takes as long whichever byte differs.
    #[must_use]
    pub fn verifies(&self, token: &AccessToken, hash: &TokenHash) -> bool {
        hmac::verify(&self.0, token.reveal().as_bytes(), &hash.0).is_ok()
    }
}

redact!(Pepper);

/// A new token.
///
/// # Errors
/// The system has no randomness.
pub fn new_token() -> Result<AccessToken, NotSealed> {
    let (mut id, mut secret) = ([0; 10], Zeroizing::new([0; 32]));
    rand::fill(&mut id)?;
    rand::fill(secret.as_mut_slice())?;
    Ok(AccessToken::from_random(id, &secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 has no key of our length; this is HMAC-SHA256 as another implementation computes it.
    #[test]
    fn a_hash_is_of_one_token_under_one_pepper() {
        let token = AccessToken::from_random([1; 10], &Zeroizing::new([2; 32]));
        let pepper = Pepper::of(&[7; 32]).unwrap();
        let hash = pepper.hash(&token);
        let expected = [
            0x4e, 0x79, 0x40, 0x74, 0xb2, 0x9d, 0x5e, 0x2d, 0x30, 0x25, 0x5e, 0xef, 0x4a, 0xf0,
            0x5c, 0x64, 0x9d, 0xbb, 0x61, 0x8e, 0x1d, 0xbe, 0xec, 0xd9, 0x9d, 0xc5, 0x4d, 0xa1,
            0x7a, 0xfa, 0x6d, 0x2d,
        ];
        assert_eq!(hash.0, expected);
        assert!(pepper.verifies(&token, &hash));
        assert!(!Pepper::of(&[8; 32]).unwrap().verifies(&token, &hash));
        assert!(!Pepper::decoy().verifies(&token, &hash));
        let other = AccessToken::from_random([1; 10], &Zeroizing::new([3; 32]));
        assert!(!pepper.verifies(&other, &hash));
        for byte in 0..32 {
            let mut wrong = hash;
            wrong.0[byte] ^= 1;
            assert!(!pepper.verifies(&token, &wrong));
        }
        assert!(Pepper::of(&[7; 31]).is_none());
    }

    #[test]
    fn nothing_of_it_is_shown_and_no_two_are_alike() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert!(one.id() != other.id() && one.reveal() != other.reveal());
        assert_ne!(Pepper::random().unwrap(), Pepper::random().unwrap());
        let pepper = Pepper::of(&[7; 32]).unwrap();
        assert_eq!(format!("{pepper:?} {:?}", pepper.hash(&one)), "Pepper { .. } TokenHash { .. }");
    }
}
