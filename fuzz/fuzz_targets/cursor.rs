//! Cursors and messages: what the database, Redis and other replicas write is read, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenant_service::coherence::Snapshot;
use tenant_service::feed::wire::{Acknowledgement, Message};

fuzz_target!(|text: &str| {
    if let Ok(snapshot) = text.parse::<Snapshot>() {
        let written = snapshot.to_string();
        let again: Snapshot = written.parse().expect("what was written is read");
        assert_eq!(again, snapshot);
        // Of what it names, and of what is beside that, both say the same.
        let named = text.split([':', ',']).filter_map(|number| number.parse::<u64>().ok());
        for number in named.flat_map(|n| [n.saturating_sub(1), n, n.saturating_add(1)]) {
            assert_eq!(snapshot.sees(number), again.sees(number));
        }
        assert!(!snapshot.sees(u64::MAX), "it is the past that is seen");
    }
    if let Some(message) = Message::decode(text) {
        let written = message.encode().expect("what was read can be written");
        assert_eq!(Message::decode(&written), Some(message));
    }
    let _: Result<Acknowledgement, _> = serde_json::from_str(text);
});
