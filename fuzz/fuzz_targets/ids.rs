//! Ids and keys: what is accepted is of the documented form, and is itself again as text.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use tenant_service::domain::{CacheKey, IntegrationId, PhoneNumberId, Region, Scopes, TenantId};

fuzz_target!(|text: &str| {
    if let Some(id) = same_again::<TenantId>(text) {
        let mut bytes = id.bytes();
        let is_first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        assert!(is_first && id.len() <= 50);
        assert!(bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)));
    }
    if let Some(id) = same_again::<PhoneNumberId>(text) {
        assert!((1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()));
    }
    if let Some(id) = same_again::<IntegrationId>(text) {
        assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    same_again::<CacheKey>(text);
    // Other ways to write the same are read too, so it is the second text that stays.
    if let Ok(region) = text.parse::<Region>() {
        assert_eq!(same_again::<Region>(&region.to_string()), Some(region.to_string()));
    }
    if let Ok(scopes) = text.parse::<Scopes>() {
        same_again::<Scopes>(&scopes.to_string()).expect("what was written is read");
    }
});

/// The text of what was read, which is the text that it was read from.
fn same_again<T: FromStr + Display>(text: &str) -> Option<String> {
    let read = text.parse::<T>().ok()?.to_string();
    assert_eq!(read, text);
    Some(read)
}
