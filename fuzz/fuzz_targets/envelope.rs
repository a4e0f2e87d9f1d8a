//! Sealed values: they open where they belong, as they were; nothing else ever opens.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tenant_service::crypto::envelope::{Key, open, seal};
use tenant_service::crypto::{Sealed, Subject};
use tenant_service::domain::{CredentialType, TenantId};

const KEY_ID: &str = "0123456789abcdef";
static KEY: LazyLock<Key> = LazyLock::new(|| Key::random().expect("randomness"));
static TENANT: LazyLock<TenantId> = LazyLock::new(|| "t1".parse().expect("an id"));

#[derive(Debug, Arbitrary)]
struct Input {
    value: Vec<u8>,
    row: String,
    version: i64,
    /// What is written over the sealed bytes, and over the wrapped key.
    forged: (Vec<u8>, Vec<u8>),
    /// Which bit is turned.
    bit: usize,
    other_row: String,
    other_version: i64,
}

fuzz_target!(|input: Input| {
    let subject = Subject {
        credential: &input.row,
        tenant: &TENANT,
        kind: CredentialType::Whatsapp,
        version: input.version,
    };
    let sealed = seal((KEY_ID, &KEY), &subject, &input.value).expect("randomness");
    assert_eq!(*open(&KEY, &subject, &sealed).expect("it is as it was"), input.value);

    let forged = Sealed { sealed: input.forged.0, ..sealed.clone() };
    assert!(open(&KEY, &subject, &forged).is_err());
    let forged = Sealed { wrapped_key: input.forged.1, ..sealed.clone() };
    assert!(open(&KEY, &subject, &forged).is_err());
    let mut turned = sealed.clone();
    let bits = (turned.sealed.len() + turned.wrapped_key.len()) * 8;
    let bit = input.bit % bits;
    let byte = match turned.sealed.get_mut(bit / 8) {
        Some(byte) => byte,
        None => &mut turned.wrapped_key[bit / 8 - sealed.sealed.len()],
    };
    *byte ^= 1 << (bit % 8);
    assert!(open(&KEY, &subject, &turned).is_err());

    let elsewhere = [
        Subject { kind: CredentialType::Genesys, ..subject },
        Subject { credential: &input.other_row, ..subject },
        Subject { version: input.other_version, ..subject },
    ];
    for other in elsewhere {
        let is_same = (other.credential, other.version, other.kind)
            == (subject.credential, subject.version, subject.kind);
        assert_eq!(open(&KEY, &other, &sealed).is_ok(), is_same);
    }
});
