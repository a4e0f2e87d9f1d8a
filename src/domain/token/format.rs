//! What a token looks like:
//!
//! ```text
//! ts_live_  0123456789abcdef  …43 characters…  abc123
//! prefix    public id         secret           checksum
//! ```
//!
//! Always 73 characters of `[0-9A-Za-z_]`, which a double click selects as a whole and no shell, URL or
//! header has to escape. The id is 16 digits of base 36, the secret 256 random bits in base 62, and the
//! checksum the CRC-32 of all before it in base 62. The checksum keeps nothing secret: it tells a
//! mistyped token, or a secret scanner's false alarm, without asking anybody.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::super::{Invalid, redact};

const PREFIX: &str = "ts_live_";
const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// The id is written in the first so many characters of the alphabet.
const ID_BASE: u32 = 36;
const SECRET_BASE: u32 = 62;
const ID_LEN: usize = 16;
const SECRET_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const LEN: usize = PREFIX.len() + ID_LEN + SECRET_LEN + CHECKSUM_LEN;

/// The public part of a token: names it in lists, logs and the audit trail. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let accepted = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        if text.len() == ID_LEN && text.bytes().all(accepted) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new("id", "must be the id of a token: 16 characters of 0-9 a-z"))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no token, or not as it was issued: a character is wrong, missing or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: it begins with ts_live_, has 73 characters, and ends in a checksum")]
pub struct NotAToken;

/// A whole token, secret included. Zeroed when it is dropped; `Debug` shows its id alone.
#[derive(Clone)]
pub struct AccessToken {
    id: TokenId,
    text: Zeroizing<String>,
}

impl AccessToken {
    /// The token of these random bytes: 80 bits make the id, 256 the secret.
    #[must_use]
    pub fn from_random(id: [u8; 10], secret: &Zeroizing<[u8; 32]>) -> Self {
        // All of it at once: a text that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(LEN));
        text.push_str(PREFIX);
        write_digits(&mut text, &mut Zeroizing::new(id.to_vec()), ID_BASE, ID_LEN);
        let id = TokenId(text[PREFIX.len()..].into());
        let mut secret = Zeroizing::new(secret.to_vec());
        write_digits(&mut text, &mut secret, SECRET_BASE, SECRET_LEN);
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self { id, text }
    }

    /// Which token it is.
    #[must_use]
    pub const fn id(&self) -> &TokenId {
        &self.id
    }

    /// All of it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl FromStr for AccessToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let is_one = text.len() == LEN && text.is_ascii() && text.starts_with(PREFIX);
        if !is_one {
            return Err(NotAToken);
        }
        let (body, given) = text.split_at(LEN - CHECKSUM_LEN);
        let rest = &body[PREFIX.len()..];
        if !rest.bytes().all(|b| b.is_ascii_alphanumeric()) || checksum(body) != given {
            return Err(NotAToken);
        }
        let id = rest[..ID_LEN].parse().map_err(|_| NotAToken)?;
        let mut copy = Zeroizing::new(String::with_capacity(LEN));
        copy.push_str(text);
        Ok(Self { id, text: copy })
    }
}

redact!(AccessToken { id: |it| it.id.as_str() });

/// Writes a number, given by its bytes (which are used up), as so many digits. The most significant
/// ones come last; of a random number that says nothing.
fn write_digits(text: &mut String, number: &mut [u8], base: u32, digits: usize) {
    for _ in 0..digits {
        let mut remainder = 0;
        for byte in number.iter_mut() {
            let value = remainder << 8 | u32::from(*byte);
            // Less than 256, for the remainder before it was less than the base.
            *byte = u8::try_from(value / base).unwrap_or(u8::MAX);
            remainder = value % base;
        }
        let digit = usize::try_from(remainder).unwrap_or_default();
        text.push(char::from(ALPHABET[digit]));
    }
}

fn checksum(body: &str) -> String {
    let mut text = String::with_capacity(CHECKSUM_LEN);
    let mut number = crc32fast::hash(body.as_bytes()).to_be_bytes();
    write_digits(&mut text, &mut number, SECRET_BASE, CHECKSUM_LEN);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(id: [u8; 10], secret: [u8; 32]) -> AccessToken {
        AccessToken::from_random(id, &Zeroizing::new(secret))
    }

    /// So that tokens of this version are tokens to all that come after it.
    #[test]
    fn the_format_is_kept() {
        let lowest = token([0; 10], [0; 32]);
        assert_eq!(lowest.reveal().len(), 73);
        let (id, secret) = ("0".repeat(16), "0".repeat(43));
        assert_eq!(lowest.reveal(), format!("ts_live_{id}{secret}{}", &lowest.reveal()[67..]));
        let highest = token([255; 10], [255; 32]);
        assert_eq!(
            highest.reveal(),
            "ts_live_3jhh9x072amr2vg51Px8WoR5J2acUNJh7gll8MwzwhMy1la1zo6aDWKSJHYA0pVL2"
        );
        for token in [&lowest, &highest] {
            assert_eq!(token.reveal().parse::<AccessToken>().unwrap().id(), token.id());
        }
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let shown = format!("{:?}", token([1; 10], [2; 32]));
        let token = token([1; 10], [2; 32]);
        assert!(shown.contains(token.id().as_str()));
        assert!(!shown.contains(&token.reveal()[30..40]), "{shown}");
    }

    #[test]
    fn ids_are_lower_case() {
        for bad in
            ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdefg", "0123456789abcd/."]
        {
            assert!(bad.parse::<TokenId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(id: [u8; 10], secret: [u8; 32]) {
            let token = token(id, secret);
            let text = token.reveal();
            prop_assert!(text.len() == LEN && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            let read: AccessToken = text.parse().unwrap();
            prop_assert_eq!(read.id(), token.id());
            prop_assert_eq!(read.reveal(), text);
        }

        /// Each bit of what is random counts: two numbers never have the same digits.
        #[test]
        fn no_two_secrets_look_alike(secret: [u8; 32], bit in 0..256_usize) {
            let mut other = secret;
            other[bit / 8] ^= 1 << (bit % 8);
            let (one, other) = (token([0; 10], secret), token([0; 10], other));
            prop_assert_ne!(&one.reveal()[24..67], &other.reveal()[24..67]);
        }

        /// CRC-32 finds every single wrong character, and every two that were exchanged side by side.
        #[test]
        fn a_mistyped_token_is_none(id: [u8; 10], secret: [u8; 32], at in 8..LEN, with in "[0-9A-Za-z]") {
            let text = token(id, secret).reveal().to_owned();
            let mut typed = text.clone();
            typed.replace_range(at..=at, &with);
            prop_assert_eq!(typed.parse::<AccessToken>().is_ok(), typed == text);
            let mut swapped = text.clone().into_bytes();
            swapped.swap(at - 1, at);
            let swapped = String::from_utf8(swapped).unwrap();
            prop_assert_eq!(swapped.parse::<AccessToken>().is_ok(), swapped == text);
            prop_assert!(text[..at].parse::<AccessToken>().is_err());
            let longer = format!("{text}{with}");
            prop_assert!(longer.parse::<AccessToken>().is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,80}", tail in ".{65}") {
            let _ = text.parse::<AccessToken>();
            let tailed = format!("ts_live_{tail}");
            let _ = tailed.parse::<AccessToken>();
        }
    }
}
