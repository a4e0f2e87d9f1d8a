//! What holds a secret does not show it by its `Debug`.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use static_assertions::{assert_impl_all, assert_not_impl_any};
use tenant_service::cache::CredentialViews;
use tenant_service::cache::l2::{L2, Source};
use tenant_service::crypto::envelope::Key;
use tenant_service::crypto::{ChainKey, Keyring, Pepper, Sealed};
use tenant_service::domain::{AccessToken, Credentials, MetaView, Redacted, TokenHash};
use tenant_service::http::auth::Presented;
use tenant_service::http::extract::{Fields, JsonBody, MergePatch, Query};
use tenant_service::store::Postgres;

use crate::layers::sources;

// Does not compile if one of them gets a `Debug` that is not `redact!`'s.
assert_impl_all!(AccessToken: Redacted);
assert_impl_all!(CredentialViews: Redacted);
assert_impl_all!(Credentials: Redacted);
assert_impl_all!(Fields: Redacted);
assert_impl_all!(Keyring: Redacted);
assert_impl_all!(L2: Redacted);
assert_impl_all!(Pepper: Redacted);
assert_impl_all!(Postgres: Redacted);
assert_impl_all!(Query: Redacted);
assert_impl_all!(Sealed: Redacted);
assert_impl_all!(Source: Redacted);
assert_impl_all!(TokenHash: Redacted);
// These have none, and need none.
assert_not_impl_any!(ChainKey: Debug);
assert_not_impl_any!(JsonBody: Debug);
assert_not_impl_any!(Key: Debug);
assert_not_impl_any!(MergePatch: Debug);
assert_not_impl_any!(MetaView<'static>: Debug);
assert_not_impl_any!(Presented: Debug);

/// What shows itself, and may be a secret: bytes that are zeroed, keys, and the drivers' settings, which
/// have passwords.
const BARE: [&str; 7] = [
    "Zeroizing<",
    "hmac::Key",
    "LessSafeKey",
    "PgConnectOptions",
    "ConnectionInfo",
    "CertifiedKey",
    "OsString",
];

/// The names of types that derive `Debug`, and have something of `BARE` in them.
fn showing(source: &str) -> Vec<&str> {
    let items = source.split("#[derive(").skip(1);
    let found = items.filter_map(|rest| {
        let (derived, rest) = rest.split_once(")]")?;
        derived.split([',', ' ', '\n']).any(|name| name == "Debug").then_some(())?;
        let at = ["struct ", "enum "].iter().filter_map(|word| rest.find(word)).min()?;
        let item = &rest[at..];
        // A tuple or a unit ends at its semicolon, before any other item.
        let end = item.find("\n}").unwrap_or(item.len());
        let end = item.find(";\n").map_or(end, |semicolon| semicolon.min(end));
        let item = &item[..end];
        BARE.iter().any(|bare| item.contains(bare)).then_some(())?;
        item.split([' ', '(', '{', '<', ';']).nth(1)
    });
    found.collect()
}

#[test]
fn whatever_derives_debug_holds_no_bare_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut found) = (Vec::new(), Vec::new());
    sources(&root, &mut files);
    assert!(files.len() > 100, "the sources are found: {}", files.len());
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        found.extend(showing(&source).iter().map(|name| format!("{}: {name}", file.display())));
    }
    assert!(found.is_empty(), "use redact! instead of deriving Debug:\n{}", found.join("\n"));
}

#[test]
fn the_check_itself_finds_them() {
    let source = "
#[derive(Clone)]
pub struct NotShown(Zeroizing<String>);

#[derive(Debug, Clone)]
/// Its text.
pub struct Shown(Zeroizing<String>);

#[derive(Debug)]
struct Harmless;

#[derive(Debug)]
enum Among<T> {
    One { of: ConnectionInfo },
}

#[derive(Debug)]
struct Wrapped<T> {
    keyring: Keyring,
}
pub struct Next(hmac::Key);
";
    assert_eq!(showing(source), ["Shown", "Among"]);
}
