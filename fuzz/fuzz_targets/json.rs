//! Bodies: whatever is sent, what is let through keeps the limits, and no secret is in a masked answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tenant_service::domain::{CredentialType, Credentials, mask_credentials};
use tenant_service::http::extract::json::{DEPTH_LIMIT, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse(bytes) else { return };
    // What is stricter than serde_json lets nothing through that it would not.
    let lenient: Value = serde_json::from_slice(bytes).expect("JSON is JSON to others too");
    assert_eq!(value, lenient);
    assert!(depth(&value) <= DEPTH_LIMIT);
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(parse(&text).ok().as_ref(), Some(&value), "and read again");
    for kind in CredentialType::ALL {
        let Ok(credentials) = Credentials::new(kind, value.clone()) else { continue };
        let masked = Value::from(mask_credentials(kind, &credentials));
        // Sent back, a masked answer is refused, or changes nothing.
        if let Ok(again) = Credentials::new(kind, masked) {
            assert_eq!(again.reveal(), credentials.reveal(), "a mask has become a secret");
        }
    }
});

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
