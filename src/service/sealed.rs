//! Credentials as replicas share them by way of Redis: sealed, as they are in the database.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::cache::Document;
use crate::crypto::Sealed;
use crate::store::{SealedCredentials, StoredCredentials};

/// What is written: all that it takes to open it with the keyring, and nothing to open it without.
#[derive(Serialize, Deserialize)]
struct Body {
    id: String,
    version: i64,
    key_id: String,
    wrapped_key: String,
    sealed: String,
}

/// The document for Redis.
///
/// # Errors
/// It can't be serialised, which nothing causes.
pub(super) fn document(stored: &StoredCredentials) -> serde_json::Result<Document> {
    let StoredCredentials { id, version, sealed, .. } = stored;
    let body = Body {
        id: id.clone(),
        version: *version,
        key_id: sealed.key_id.clone(),
        wrapped_key: BASE64_STANDARD.encode(&sealed.wrapped_key),
        sealed: BASE64_STANDARD.encode(&sealed.sealed),
    };
    Ok(Document::new(serde_json::to_vec(&body)?, *version))
}

/// What a document holds; `None` of one that is not of this kind.
pub(super) fn read(document: &Document) -> Option<SealedCredentials> {
    let Body { id, version, key_id, wrapped_key, sealed } =
        serde_json::from_slice(&document.body).ok()?;
    let sealed = Sealed {
        sealed: BASE64_STANDARD.decode(sealed).ok()?,
        key_id,
        wrapped_key: BASE64_STANDARD.decode(wrapped_key).ok()?,
    };
    Some(SealedCredentials { id, version, sealed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CredentialType, Credentials};

    #[test]
    fn what_is_shared_is_what_is_stored_and_nothing_in_the_clear() {
        let value = serde_json::json!({"clientId": "hunter2", "clientSecret": "hunter2"});
        let stored = StoredCredentials {
            id: "c".into(),
            version: 7,
            credentials: Credentials::new(CredentialType::Genesys, value).unwrap(),
            sealed: Sealed {
                sealed: vec![1, 2, 3],
                key_id: "00112233aabbccdd".into(),
                wrapped_key: vec![4, 5],
            },
        };
        let document = document(&stored).unwrap();
        assert_eq!(
            document.body,
            r#"{"id":"c","version":7,"key_id":"00112233aabbccdd","wrapped_key":"BAU=","sealed":"AQID"}"#
        );
        let read_again = read(&document).unwrap();
        assert_eq!((&*read_again.id, read_again.version), ("c", 7));
        assert_eq!(read_again.sealed, stored.sealed);
        for other in [&b"{}"[..], br#"{"id":"c","access_token":"x"}"#, b""] {
            assert!(read(&Document::new(other.to_vec(), 7)).is_none());
        }
    }
}
