//! Tokens: whatever a caller sends as one, what is taken for a token is one, whole and as it was issued.

#![no_main]

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tenant_service::crypto::Pepper;
use tenant_service::domain::{AccessToken, TokenId};
use tenant_service::http::auth::Presented;
use zeroize::Zeroizing;

static PEPPER: LazyLock<Pepper> = LazyLock::new(|| Pepper::of(&[7; 32]).expect("32 bytes"));

#[derive(Debug, Arbitrary)]
struct Input {
    /// Of which a token is issued: nobody comes upon a checksum by chance.
    random: ([u8; 10], [u8; 32]),
    /// Where something else is written into it, and what.
    edit: (usize, char),
    before: Vec<u8>,
    after: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let issued = AccessToken::from_random(input.random.0, &Zeroizing::new(input.random.1));
    let text = issued.reveal();
    let again: AccessToken = text.parse().expect("what was issued is a token");
    assert!(again.reveal() == text && again.id() == issued.id());
    assert!(PEPPER.verifies(&again, &PEPPER.hash(&issued)));
    assert!(!format!("{again:?}").contains(&text[24..]), "a token shows its secret");

    let (at, written) = (input.edit.0 % text.len(), input.edit.1);
    let edited = format!("{}{written}{}", &text[..at], &text[at + 1..]);
    assert_eq!(edited.parse::<AccessToken>().is_ok(), edited == text, "a typo is a token");

    header(&[&input.before, text.as_bytes(), &input.after].concat(), Some(text));
    header(&[input.before, input.after].concat(), None);
});

/// What `Authorization` may hold is that token, or none.
fn header(bytes: &[u8], text: Option<&str>) {
    if let Ok(id) = String::from_utf8_lossy(bytes).parse::<TokenId>() {
        assert_eq!(id.as_str().as_bytes(), bytes);
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.append(header::AUTHORIZATION, value.clone());
    match Presented::by(&headers) {
        Presented::Nothing => panic!("who sends a header is not anonymous"),
        Presented::Token(token) => {
            assert!(text.is_none_or(|text| token.reveal() == text), "another token than was sent");
            let (scheme, rest) = bytes.split_at("Bearer ".len());
            assert!(scheme.eq_ignore_ascii_case(b"Bearer "));
            assert_eq!(rest.trim_ascii(), token.reveal().as_bytes());
        }
        Presented::Unreadable => {
            let good = text.map(|text| format!("Bearer {text}").into_bytes());
            assert_ne!(Some(bytes), good.as_deref(), "a good token is not read");
        }
    }
    headers.append(header::AUTHORIZATION, value);
    assert!(matches!(Presented::by(&headers), Presented::Unreadable), "nobody knows which was meant");
}
