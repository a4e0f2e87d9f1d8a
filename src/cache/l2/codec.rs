//! How a document looks in Redis: its own JSON, readable by whoever runs `redis-cli get`, with two
//! more members at the end: the revision, and the epoch that says whether it may be believed.

use crate::cache::Document;

const REVISION: &str = ",\"_revision\":";
const EPOCH: &str = ",\"_epoch\":\"";
const ABSENT: &str = "{\"_absent\":true";
const END: &str = "\"}";

/// The text of a document, or of an absence, of this epoch. `None` if the body is no JSON object.
pub fn encode(document: Option<&Document>, epoch: &str) -> Option<String> {
    let Some(document) = document else {
        return Some([ABSENT, EPOCH, epoch, END].concat());
    };
    let body = std::str::from_utf8(&document.body).ok()?.strip_suffix('}')?;
    let etag = std::str::from_utf8(&document.etag).ok()?;
    let revision: i64 = etag.trim_matches('"').parse().ok()?;
    Some([body, REVISION, &revision.to_string(), EPOCH, epoch, END].concat())
}

/// The document, or the absence, that a text of the current epoch holds. The outer `None`: neither.
pub fn decode(text: &str) -> Option<Option<Document>> {
    // Within a JSON string a quote is escaped, so these marks are found only where we put them.
    let (rest, epoch) = text.rsplit_once(EPOCH)?;
    epoch.strip_suffix(END)?;
    if rest == ABSENT {
        return Some(None);
    }
    let (body, revision) = rest.rsplit_once(REVISION)?;
    let revision = revision.parse().ok()?;
    Some(Some(Document::new([body.as_bytes(), b"}"].concat(), revision)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn looks_as_documented() {
        let document = Document::new(br#"{"id":"a"}"#.to_vec(), 7);
        let text = encode(Some(&document), "e1").unwrap();
        assert_eq!(text, r#"{"id":"a","_revision":7,"_epoch":"e1"}"#);
        assert_eq!(encode(None, "e1").unwrap(), r#"{"_absent":true,"_epoch":"e1"}"#);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for text in ["", "{}", r#"{"_lease":"x","_epoch":"e"}"#, r#"{"id":1,"_epoch":"e"}"#] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(name in "\\PC*", revision in 1..i64::MAX, epoch in "[0-9a-f]{16}") {
            // A name may try to look like our members.
            for name in [name, r#"","_revision":9,"_epoch":"e"}"#.to_owned()] {
                let body = serde_json::to_vec(&serde_json::json!({ "name": name })).unwrap();
                let document = Document::new(body, revision);
                let text = encode(Some(&document), &epoch).unwrap();
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
                prop_assert_eq!(decode(&text), Some(Some(document)));
            }
            prop_assert_eq!(decode(&encode(None, &epoch).unwrap()), Some(None));
        }
    }
}
