//! One value sealed, and opened again where it belongs.
//!
//! A value is encrypted by AES-256-GCM under a *data key*, which is random and used this once. The
//! data key is encrypted (*wrapped*) by AES-256-GCM-SIV under a key of the keyring: that one is used
//! many times, with random nonces, and this mode forgives one that comes twice. Both are bound to
//! whose value it is, so that neither opens anywhere else. What has to change when a key of the
//! keyring is replaced is the wrapped key alone.
//!
//! ```text
//! sealed       format (1) · nonce (12) · ciphertext · tag (16)
//! wrapped_key  format (1) · nonce (12) · encrypted data key (32) · tag (16)
//! ```

use aws_lc_rs::aead::{
    AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::domain::{CredentialType, TenantId, redact};

/// Bytes of every key.
pub const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + NONCE_LEN;

/// The layout above, and the encoding of the associated data.
const FORMAT: u8 = 1;
/// What else these keys are used for begins with other words.
const DOMAIN: &str = "tenant-service credential 1";
const OWN_DOMAIN: &str = "tenant-service own key 1";

/// A key in the clear; zeroed when it is dropped, and without a `Debug`.
pub struct Key(Zeroizing<[u8; KEY_LEN]>);

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<Self, NotSealed> {
        let mut key = Self(Zeroizing::default());
        rand::fill(key.0.as_mut_slice())?;
        Ok(key)
    }

    /// These bytes, if they are as many as a key has.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut key = Self(Zeroizing::default());
        (bytes.len() == KEY_LEN).then(|| key.0.copy_from_slice(bytes))?;
        Some(key)
    }

    /// Whether it is this one, in the same time whatever it is.
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.reveal(), other.reveal()).is_ok()
    }

    /// Its bytes.
    pub fn reveal(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// What sealed bytes are bound to: they open nowhere else.
pub trait Place {
    /// What sets this place apart from any other, beginning with what kind of place it is.
    fn parts(&self) -> Vec<Vec<u8>>;
}

/// Whose value it is.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The credential's row: one that was deleted and made anew is another.
    pub credential: &'a str,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The type.
    pub kind: CredentialType,
    /// The credential's own counter.
    pub version: i64,
}

impl Place for Subject<'_> {
    fn parts(&self) -> Vec<Vec<u8>> {
        vec![
            DOMAIN.into(),
            self.credential.into(),
            self.tenant.as_str().into(),
            self.kind.as_str().into(),
            self.version.to_be_bytes().into(),
        ]
    }
}

/// A key of the service's own that lies in the database, by what it is for.
#[derive(Debug, Clone, Copy)]
pub struct OwnKey(pub &'static str);

impl Place for OwnKey {
    fn parts(&self) -> Vec<Vec<u8>> {
        vec![OWN_DOMAIN.into(), self.0.into()]
    }
}

/// A sealed value, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The value, under the data key.
    pub sealed: Vec<u8>,
    /// Which key of the keyring the data key is wrapped by.
    pub key_id: String,
    /// The data key, under that key.
    pub wrapped_key: Vec<u8>,
}

redact!(Sealed { key_id: |it| it.key_id });

/// Why sealed bytes were not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// They are wrapped by a key that the keyring doesn't have.
    #[error("the keyring has no key {key_id}, by which it is sealed")]
    UnknownKey {
        /// Which one.
        key_id: String,
    },
    /// They are not what was sealed, or not in the place that they were sealed for.
    #[error("it is not what was sealed for this place, or was sealed by another key of this id")]
    Forged,
    /// They are nothing that was ever sealed by this version.
    #[error("it is not in a form that this version seals in")]
    Malformed,
}

/// The cryptographic library, or the system's randomness, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value could not be sealed")]
pub struct NotSealed;

impl From<Unspecified> for NotSealed {
    fn from(Unspecified: Unspecified) -> Self {
        Self
    }
}

/// Seals a value by the key of this id.
///
/// # Errors
/// See [`NotSealed`].
pub fn seal(
    (key_id, key): (&str, &Key),
    place: &impl Place,
    value: &[u8],
) -> Result<Sealed, NotSealed> {
    let data_key = Key::random()?;
    Ok(Sealed {
        sealed: encrypt(&AES_256_GCM, &data_key, &of_value(place), value)?,
        key_id: key_id.to_owned(),
        wrapped_key: wrap((key_id, key), place, &data_key)?,
    })
}

/// Wraps a data key by the key of this id.
///
/// # Errors
/// See [`NotSealed`].
pub fn wrap(
    (key_id, key): (&str, &Key),
    subject: &impl Place,
    data_key: &Key,
) -> Result<Vec<u8>, NotSealed> {
    encrypt(&AES_256_GCM_SIV, key, &of_key(subject, key_id), data_key.reveal())
}

/// The data key that was wrapped by the key of this id.
///
/// # Errors
/// See [`Unopened`]; not [`Unopened::UnknownKey`].
pub fn unwrap(
    (key_id, key): (&str, &Key),
    subject: &impl Place,
    wrapped_key: &[u8],
) -> Result<Key, Unopened> {
    let unwrapped = decrypt(&AES_256_GCM_SIV, key, &of_key(subject, key_id), wrapped_key)?;
    Key::of(&unwrapped).ok_or(Unopened::Malformed)
}

/// Opens a value by the key that `sealed` names.
///
/// # Errors
/// See [`Unopened`]; not [`Unopened::UnknownKey`].
pub fn open(
    key: &Key,
    place: &impl Place,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let data_key = unwrap((&sealed.key_id, key), place, &sealed.wrapped_key)?;
    decrypt(&AES_256_GCM, &data_key, &of_value(place), &sealed.sealed)
}

fn encrypt(
    algorithm: &'static Algorithm,
    key: &Key,
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, NotSealed> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.reveal())?);
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce)?;
    // All at once: where a vector grows, it leaves a copy of the plaintext behind.
    let mut bytes = Vec::with_capacity(HEAD_LEN + plain.len() + TAG_LEN);
    bytes.push(FORMAT);
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut bytes[HEAD_LEN..])?;
    bytes.extend_from_slice(tag.as_ref());
    Ok(bytes)
}

fn decrypt(
    algorithm: &'static Algorithm,
    key: &Key,
    aad: &[u8],
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_LEN) else {
        return Err(Unopened::Malformed);
    };
    if head[0] != FORMAT || rest.len() < TAG_LEN {
        return Err(Unopened::Malformed);
    }
    let forged = |Unspecified| Unopened::Forged;
    let nonce = Nonce::try_assume_unique_for_key(&head[1..]).map_err(forged)?;
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.reveal()).map_err(forged)?);
    let mut plain = Zeroizing::new(rest.to_vec());
    let length = key.open_in_place(nonce, Aad::from(aad), &mut plain).map_err(forged)?.len();
    plain.truncate(length);
    Ok(plain)
}

/// What the value is bound to.
fn of_value(place: &impl Place) -> Vec<u8> {
    associated("value", place, "")
}

/// What the wrapped key is bound to.
fn of_key(place: &impl Place, key_id: &str) -> Vec<u8> {
    associated("key", place, key_id)
}

/// Each part after its length: no two lists of parts give the same bytes.
fn associated(what: &str, place: &impl Place, key_id: &str) -> Vec<u8> {
    let mut parts = place.parts();
    parts.insert(1, what.into());
    parts.push(key_id.into());
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "00112233aabbccdd";

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn key(byte: u8) -> Key {
        Key::of(&[byte; KEY_LEN]).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_and_never_looks_the_same() {
        let acme = tenant("acme");
        let kind = CredentialType::Genesys;
        let subject = Subject { credential: "c", tenant: &acme, kind, version: 1 };
        let seal = || seal((ID, &key(1)), &subject, b"hunter2").unwrap();
        let (one, other) = (seal(), seal());
        assert_eq!(**open(&key(1), &subject, &one).unwrap(), *b"hunter2");
        assert_ne!(one.sealed, other.sealed);
        assert_ne!(one.wrapped_key, other.wrapped_key);
        // A data key is of one value.
        let mixed = Sealed { sealed: other.sealed, ..one.clone() };
        assert_eq!(open(&key(1), &subject, &mixed), Err(Unopened::Forged));
        assert_eq!(open(&key(2), &subject, &one), Err(Unopened::Forged));
        assert!(!format!("{one:?}").contains("sealed:"));
    }

    /// So that what was sealed by this version opens in all that come after it.
    #[test]
    fn the_layout_is_kept() {
        let acme = tenant("acme");
        let kind = CredentialType::Whatsapp;
        let subject = Subject { credential: "c", tenant: &acme, kind, version: 258 };
        let expected = b"\0\0\0\0\0\0\0\x1btenant-service credential 1\
            \0\0\0\0\0\0\0\x03key\0\0\0\0\0\0\0\x01c\0\0\0\0\0\0\0\x04acme\
            \0\0\0\0\0\0\0\x08whatsapp\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\x01\x02\
            \0\0\0\0\0\0\0\x0200";
        assert_eq!(of_key(&subject, "00"), expected);
        let sealed = seal((ID, &key(7)), &subject, b"{}").unwrap();
        assert_eq!((sealed.sealed.len(), sealed.sealed[0]), (1 + 12 + 2 + 16, 1));
        assert_eq!((sealed.wrapped_key.len(), sealed.wrapped_key[0]), (1 + 12 + 32 + 16, 1));
    }

    /// As for credentials; and none opens as another.
    #[test]
    fn an_own_key_is_bound_to_what_it_is_for() {
        let (pepper, chain) = (OwnKey("pepper"), OwnKey("chain"));
        let expected = b"\0\0\0\0\0\0\0\x18tenant-service own key 1\
            \0\0\0\0\0\0\0\x03key\0\0\0\0\0\0\0\x06pepper\0\0\0\0\0\0\0\x0200";
        assert_eq!(of_key(&pepper, "00"), expected);
        let acme = tenant("acme");
        let kind = CredentialType::Genesys;
        let subject = Subject { credential: "c", tenant: &acme, kind, version: 1 };
        let sealed = seal((ID, &key(1)), &pepper, b"hunter2").unwrap();
        assert_eq!(**open(&key(1), &pepper, &sealed).unwrap(), *b"hunter2");
        assert_eq!(open(&key(1), &chain, &sealed), Err(Unopened::Forged));
        assert_eq!(open(&key(1), &subject, &sealed), Err(Unopened::Forged));
        let credential = seal((ID, &key(1)), &subject, b"hunter2").unwrap();
        assert_eq!(open(&key(1), &pepper, &credential), Err(Unopened::Forged));
    }

    #[test]
    fn what_is_too_short_or_of_another_format_is_malformed() {
        let acme = tenant("acme");
        let kind = CredentialType::Whatsapp;
        let subject = Subject { credential: "c", tenant: &acme, kind, version: 1 };
        let sealed = seal((ID, &key(1)), &subject, b"").unwrap();
        let open = |sealed: &Sealed| open(&key(1), &subject, sealed);
        assert_eq!(**open(&sealed).unwrap(), *b"");
        for length in 0..HEAD_LEN + TAG_LEN {
            let short = Sealed { sealed: sealed.sealed[..length].into(), ..sealed.clone() };
            assert_eq!(open(&short), Err(Unopened::Malformed));
            let short =
                Sealed { wrapped_key: sealed.wrapped_key[..length].into(), ..sealed.clone() };
            assert_eq!(open(&short), Err(Unopened::Malformed));
        }
        let mut later = sealed.clone();
        later.sealed[0] = 2;
        assert_eq!(open(&later), Err(Unopened::Malformed));
    }

    fn any_subject() -> impl Strategy<Value = (String, TenantId, CredentialType, i64)> {
        let kind = prop_oneof![Just(CredentialType::Whatsapp), Just(CredentialType::Genesys)];
        let tenant = "[a-z][a-z0-9]{0,3}".prop_map(|id| tenant(&id));
        ("[a-z0-9]{0,4}", tenant, kind, 1..4_i64)
    }

    proptest! {
        /// Short alphabets, so that two of them often differ in one part, or by where one part ends.
        #[test]
        fn no_other_place_opens(
            one in any_subject(), other in any_subject(), value in any::<Vec<u8>>(),
        ) {
            let subject = |of: &(String, TenantId, CredentialType, i64)| {
                let of = of.clone();
                move |open: &dyn Fn(&Subject<'_>) -> bool| {
                    open(&Subject { credential: &of.0, tenant: &of.1, kind: of.2, version: of.3 })
                }
            };
            let (credential, tenant, kind, version) = one.clone();
            let place = Subject { credential: &credential, tenant: &tenant, kind, version };
            let sealed = seal((ID, &key(1)), &place, &value).unwrap();
            let opens = |subject: &Subject<'_>| {
                open(&key(1), subject, &sealed).is_ok_and(|opened| *opened == value)
            };
            prop_assert!(subject(&one)(&opens));
            prop_assert_eq!(subject(&other)(&opens), one == other);
            // Each part alone.
            let mut parts = [one.clone(), one.clone(), one.clone(), one.clone()];
            parts[0].0.push('x');
            parts[1].1 = format!("{tenant}x").parse().unwrap();
            parts[2].2 = if kind == CredentialType::Genesys {
                CredentialType::Whatsapp
            } else {
                CredentialType::Genesys
            };
            parts[3].3 += 1;
            for moved in &parts {
                prop_assert!(!subject(moved)(&opens), "{:?}", moved);
            }
            let renamed = Sealed { key_id: "00112233aabbccde".into(), ..sealed.clone() };
            prop_assert_eq!(open(&key(1), &place, &renamed), Err(Unopened::Forged));
        }

        #[test]
        fn no_flipped_bit_opens(value in prop::collection::vec(any::<u8>(), 0..40), bit in 0..8_u8) {
            let acme = tenant("acme");
            let kind = CredentialType::Genesys;
            let subject = Subject { credential: "c", tenant: &acme, kind, version: 1 };
            let sealed = seal((ID, &key(1)), &subject, &value).unwrap();
            for at in 0..sealed.sealed.len() {
                let mut flipped = sealed.clone();
                flipped.sealed[at] ^= 1 << bit;
                prop_assert!(open(&key(1), &subject, &flipped).is_err(), "sealed: {}", at);
            }
            for at in 0..sealed.wrapped_key.len() {
                let mut flipped = sealed.clone();
                flipped.wrapped_key[at] ^= 1 << bit;
                prop_assert!(open(&key(1), &subject, &flipped).is_err(), "wrapped key: {}", at);
            }
        }
    }
}
