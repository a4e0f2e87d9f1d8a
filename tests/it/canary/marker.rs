//! Secrets that are found again, however they are written.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// What all secrets of a run have in common: letters and digits alone, so that it reads the same
/// as it is, in JSON and in a URL.
pub struct Marker {
    stem: String,
}

/// A place where no secret may be, by its name, and all that is there.
pub struct Haystack {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Haystack {
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl Marker {
    pub fn new() -> Self {
        let random = (0..16).map(|_| fastrand::alphanumeric()).collect::<String>();
        Self::of(&format!("Kn{random}"))
    }

    /// This text, of letters and digits alone.
    pub fn of(stem: &str) -> Self {
        Self { stem: stem.to_owned() }
    }

    /// A secret of its own, with what JSON and URLs have to escape, and with an end that a mask may
    /// show.
    pub fn secret(&self, name: &str) -> String {
        format!("{}-{name} \"\\/+é:0000", self.stem)
    }

    /// Where it is found in there, and how it is written.
    pub fn found_in(&self, bytes: &[u8]) -> Option<String> {
        self.forms().into_iter().find_map(|(form, text)| {
            let at = memmem::find(bytes, text.as_bytes())?;
            let around = &bytes[at.saturating_sub(120)..bytes.len().min(at + 120)];
            Some(format!("{form}: …{}…", String::from_utf8_lossy(around)))
        })
    }

    /// Every way to write it. (As it is, it is in a URL and in JSON as well.)
    fn forms(&self) -> Vec<(String, String)> {
        let hex = escaped(&self.stem, "");
        let mut forms = vec![
            ("as it is".to_owned(), self.stem.clone()),
            ("in hexadecimal digits".to_owned(), hex.to_uppercase()),
            ("in hexadecimal digits".to_owned(), hex),
            ("with every character escaped".to_owned(), escaped(&self.stem, "\\u00")),
            ("with every character escaped".to_owned(), escaped(&self.stem, "%")),
            // As `{:?}` of bytes shows it.
            ("as a list of numbers".to_owned(), {
                let numbers: Vec<String> = self.stem.bytes().map(|byte| byte.to_string()).collect();
                numbers.join(", ")
            }),
        ];
        // A character stands for six bits, so there are three ways to meet it in the middle of a
        // text; those at the ends hang on what is beside it.
        for before in 0..3 {
            let text = [&b"\0\0"[..before], self.stem.as_bytes()].concat();
            let (from, to) = ([0, 2, 3][before], text.len() * 8 / 6);
            for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let form = format!("in base64, {before} off");
                forms.push((form, alphabet.encode(&text)[from..to].to_owned()));
            }
        }
        forms
    }
}

/// Each byte in hexadecimal digits behind `escape`.
fn escaped(text: &str, escape: &str) -> String {
    let digits = text.bytes().map(|byte| format!("{escape}{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

#[test]
fn a_marker_is_found_however_it_is_written() {
    let marker = Marker::new();
    let secret = marker.secret("token");
    let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let bytes = format!("{:?}", secret.as_bytes());
    let hex = escaped(&secret, "");
    let json = serde_json::json!({ "token": secret }).to_string();
    for text in [&secret, &url, &bytes, &hex, &hex.to_uppercase(), &json] {
        assert!(marker.found_in(text.as_bytes()).is_some(), "{text}");
    }
    for before in ["", "a", "ab", "abc", "{\"token\":\""] {
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = alphabet.encode(format!("{before}{secret}"));
            assert!(marker.found_in(text.as_bytes()).is_some(), "{before}: {text}");
        }
    }
    let another = Marker::new().secret("token");
    assert_eq!(marker.found_in(another.as_bytes()), None);
    assert_eq!(marker.found_in(b"***0000"), None);
}
