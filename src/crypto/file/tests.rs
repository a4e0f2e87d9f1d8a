//! What a keyring's file may be.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::*;
use crate::crypto::{Subject, Unopened};
use crate::domain::CredentialType;

const ONE: &str = "00112233aabbccdd";
const TWO: &str = "ffeeddccbbaa9988";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn entry(id: &str, byte: u8) -> Value {
    let key = BASE64_STANDARD.encode([byte; KEY_LEN]);
    json!({"id": id, "key": key, "created_at": "2026-01-02T03:04:05Z"})
}

fn parsed_as(document: &Value) -> Result<Keyring, Reason> {
    parse(document.to_string().as_bytes())
}

#[test]
fn a_generated_keyring_is_its_owners_alone_and_is_never_replaced() {
    let folder = folder();
    let path = folder.path().join("deep/keyring.json");
    let made = Keyring::generate(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read(&path).unwrap();

    let again = Keyring::generate(&path).unwrap_err();
    assert!(matches!(again.reason, Reason::Exists), "{again:?}");
    assert_eq!(fs::read(&path).unwrap(), text);
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

    let tenant = "acme".parse().unwrap();
    let kind = CredentialType::Genesys;
    let subject = Subject { credential: "c", tenant: &tenant, kind, version: 1 };
    let sealed = made.seal(&subject, b"value").unwrap();
    let loaded = Keyring::load(&path).unwrap();
    assert_eq!(loaded.primary(), made.primary());
    assert_eq!(**loaded.open(&subject, &sealed).unwrap(), *b"value");
    let other = Keyring::generate(&folder.path().join("other.json")).unwrap();
    let unknown = Unopened::UnknownKey { key_id: made.primary() };
    assert_eq!(other.open(&subject, &sealed), Err(unknown));
}

#[test]
fn of_those_who_generate_at_once_one_does() {
    let folder = folder();
    let path = folder.path().join("keyring.json");
    let made: Vec<bool> = std::thread::scope(|scope| {
        let makers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Keyring::generate(&path).is_ok())).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    Keyring::load(&path).unwrap();
}

#[test]
fn each_key_opens_and_the_primary_seals() {
    let both = json!({"primary": TWO, "keys": [entry(ONE, 1), entry(TWO, 2)]});
    let both = parsed_as(&both).unwrap();
    let old = parsed_as(&json!({"primary": ONE, "keys": [entry(ONE, 1)]})).unwrap();
    let tenant = "acme".parse().unwrap();
    let kind = CredentialType::Genesys;
    let subject = Subject { credential: "c", tenant: &tenant, kind, version: 1 };
    let of_old = old.seal(&subject, b"value").unwrap();
    assert_eq!(**both.open(&subject, &of_old).unwrap(), *b"value");
    let of_both = both.seal(&subject, b"value").unwrap();
    assert_eq!((of_both.key_id.as_str(), &*both.primary(), both.size()), (TWO, TWO, 2));
    assert!(matches!(old.open(&subject, &of_both), Err(Unopened::UnknownKey { .. })));
    // Whatever stands in the column, an error repeats no more than an id.
    let odd = crate::crypto::Sealed { key_id: "hunter2".into(), ..of_both };
    assert_eq!(both.open(&subject, &odd), Err(Unopened::Malformed));
}

#[test]
fn what_is_no_keyring_is_refused() {
    let keys = |keys: Value| parsed_as(&json!({"primary": ONE, "keys": keys})).unwrap_err();
    assert!(matches!(keys(json!([])), Reason::NoPrimary));
    assert!(matches!(keys(json!([entry(TWO, 1)])), Reason::NoPrimary));
    assert!(matches!(keys(json!([entry(ONE, 1), entry(ONE, 1)])), Reason::Duplicate(2)));
    assert!(matches!(keys(json!([entry("A", 1)])), Reason::Id(1)));
    assert!(matches!(keys(json!([entry(&ONE.to_uppercase(), 1)])), Reason::Id(1)));
    for length in [0, 16, 31, 33, 64] {
        let mut short = entry(ONE, 1);
        short["key"] = BASE64_STANDARD.encode(vec![1; length]).into();
        assert!(matches!(keys(json!([short])), Reason::Key(1)), "{length}");
    }
    let mut unknown = entry(ONE, 1);
    unknown["note"] = "hunter2".into();
    for refused in [
        keys(json!([unknown])),
        keys(json!(["hunter2"])),
        parsed_as(&json!({"primary": ONE, "keys": [entry(ONE, 1)], "hunter2": 1})).unwrap_err(),
        parsed_as(&json!({"keys": [entry(ONE, 1)]})).unwrap_err(),
        parse(b"hunter2").unwrap_err(),
        parse(b"").unwrap_err(),
    ] {
        assert!(matches!(refused, Reason::NoKeyring { .. }), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
}

#[test]
fn a_file_that_others_can_read_or_change_is_refused() {
    let folder = folder();
    let path = folder.path().join("keyring.json");
    Keyring::generate(&path).unwrap();
    for (mode, refused) in [
        (0o600, false),
        (0o400, false),
        // Kubernetes', with an fsGroup.
        (0o440, false),
        (0o640, false),
        (0o660, true),
        (0o644, true),
        (0o604, true),
        (0o602, true),
        (0o601, true),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match Keyring::load(&path) {
            Ok(_) => assert!(!refused, "{mode:o}"),
            Err(error) => {
                assert!(refused, "{mode:o}: {error}");
                assert!(matches!(error.reason, Reason::Exposed { .. }), "{error:?}");
                assert!(error.to_string().contains("chmod 600"), "{error}");
            }
        }
    }
}

#[test]
fn a_file_that_is_not_there_or_is_another_one_is_named() {
    let folder = folder();
    let path = folder.path().join("keyring.json");
    let missing = Keyring::load(&path).unwrap_err();
    assert!(matches!(missing.reason, Reason::Missing));
    assert!(missing.to_string().contains(path.to_str().unwrap()), "{missing}");
    assert!(missing.to_string().contains("tenant-service keys generate"), "{missing}");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let unreadable = Keyring::load(folder.path()).unwrap_err();
    assert!(matches!(unreadable.reason, Reason::Unreadable(_)), "{unreadable:?}");

    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true), 0o600);
    let large = usize::try_from(LARGEST).unwrap() + 1;
    options.open(&path).unwrap().write_all(&vec![b' '; large]).unwrap();
    assert!(matches!(Keyring::load(&path).unwrap_err().reason, Reason::TooLarge));
}
