//! What was denied or came to nothing, counted: whoever is refused a thousand times a second must not
//! fill the disk with it.
//!
//! What is alike (the actor, the address, the action and the outcome) is one note. The first one of a
//! minute is due at once, those that follow at the minute's end, together. There are so many notes a
//! minute; what is not alike any of them is counted by action and outcome alone. So a replica writes
//! a few hundred rows a minute at most, and none is lost but in its details.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::domain::{Actor, By, Entry, FieldNames, Outcome};

/// How long what is alike is counted together.
const WINDOW: Duration = Duration::from_mins(1);
/// Notes of one window that have an actor and an address.
const MOST: usize = 256;

type Key = (Actor, Option<IpAddr>, &'static str, Outcome);

struct Note {
    /// Its count is of what has not been written.
    entry: Entry,
    /// Whether a row of it was written in this window.
    is_written: bool,
}

/// See the module.
pub(super) struct Notes {
    began: Instant,
    notes: HashMap<Key, Note>,
}

impl Notes {
    pub(super) fn begin(now: Instant) -> Self {
        Self { began: now, notes: HashMap::new() }
    }

    /// Counts an entry.
    pub(super) fn add(&mut self, entry: Entry) {
        self.count(entry);
    }

    /// Counts what could not be written once more; it is due at once.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.count(entry).is_written = false;
    }

    fn count(&mut self, entry: Entry) -> &mut Note {
        let mut key = (
            entry.by.actor.clone(),
            entry.by.address.map(network),
            entry.action.as_str(),
            entry.outcome,
        );
        let mut entry = entry;
        if self.notes.len() >= MOST && !self.notes.contains_key(&key) {
            (key.0, key.1) = (Actor::Several, None);
            let by = By { actor: Actor::Several, address: None, request_id: None };
            // Of several, nothing else is the same.
            let Entry { action, outcome, times, .. } = entry;
            entry = Entry { times, ..Entry::of(by, action).ending(outcome) };
        }
        match self.notes.entry(key) {
            Occupied(note) => {
                let note = note.into_mut();
                note.count(&entry);
                note
            }
            Vacant(place) => place.insert(Note { entry, is_written: false }),
        }
    }

    /// What is to be written now, and counts it as written. `is_last`: all of it.
    pub(super) fn take_due(&mut self, now: Instant, is_last: bool) -> Vec<Entry> {
        let is_over = is_last || now.duration_since(self.began) >= WINDOW;
        let mut due = Vec::new();
        for note in self.notes.values_mut() {
            if note.entry.times > 0 && (is_over || !note.is_written) {
                due.push(note.entry.clone());
                (note.entry.times, note.is_written) = (0, true);
            }
        }
        if is_over {
            *self = Self::begin(now);
        }
        due
    }
}

impl Note {
    /// Counts another one that is alike. What is not the same in both, the sum does not say; but it names
    /// the first request, to look for in the log.
    fn count(&mut self, other: &Entry) {
        let times = self.entry.times + other.times;
        if self.entry.times == 0 {
            self.entry = other.clone();
        } else {
            let entry = &mut self.entry;
            entry.tenant.take_if(|tenant| other.tenant.as_ref() != Some(tenant));
            entry.kind.take_if(|kind| other.kind != Some(*kind));
            entry.version.take_if(|version| other.version != Some(*version));
            entry.token.take_if(|token| other.token.as_ref() != Some(token));
            if entry.by.address != other.by.address {
                entry.by.address = entry.by.address.map(network);
            }
            if entry.fields != other.fields {
                entry.fields = FieldNames::default();
            }
        }
        self.entry.times = times;
    }
}

/// Whoever has one address of IPv6 has a network of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Action, Scope};

    fn denied(address: &str) -> Entry {
        let by = By {
            actor: Actor::Anonymous,
            address: Some(address.parse().unwrap()),
            request_id: Some("r".into()),
        };
        Entry::of(by, Action::Access(Scope::TenantsRead)).ending(Outcome::Denied)
    }

    fn times(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.times).collect()
    }

    #[test]
    fn what_is_alike_is_one_row_at_once_and_one_at_the_end() {
        let begin = Instant::now();
        let mut notes = Notes::begin(begin);
        notes.add(denied("1.2.3.4"));
        assert_eq!(times(&notes.take_due(begin, false)), [1]);
        for _ in 0..1_000 {
            notes.add(denied("1.2.3.4"));
        }
        assert!(notes.take_due(begin + WINDOW / 2, false).is_empty());
        notes.add(denied("1.2.3.5"));
        assert_eq!(times(&notes.take_due(begin + WINDOW / 2, false)), [1]);
        assert_eq!(times(&notes.take_due(begin + WINDOW, false)), [1_000]);
        // The next minute is another one.
        notes.add(denied("1.2.3.4"));
        assert_eq!(times(&notes.take_due(begin + WINDOW, false)), [1]);
        notes.add(denied("1.2.3.4"));
        assert_eq!(times(&notes.take_due(begin + WINDOW, true)), [1], "all of it, at the end");
    }

    #[test]
    fn what_could_not_be_written_is_due_again() {
        let begin = Instant::now();
        let mut notes = Notes::begin(begin);
        notes.add(denied("1.2.3.4"));
        notes.add(denied("1.2.3.4"));
        let due = notes.take_due(begin, false);
        notes.add(denied("1.2.3.4"));
        for entry in due {
            notes.put_back(entry);
        }
        assert_eq!(times(&notes.take_due(begin, false)), [3]);
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_and_counted() {
        let begin = Instant::now();
        let mut notes = Notes::begin(begin);
        for n in 0..100_000_u32 {
            notes.add(denied(&std::net::Ipv4Addr::from(n).to_string()));
        }
        let due = notes.take_due(begin, false);
        assert_eq!(due.len(), MOST + 1);
        assert_eq!(times(&due).iter().sum::<u64>(), 100_000);
        let rest = due.iter().find(|entry| entry.by.actor == Actor::Several).unwrap();
        assert_eq!((rest.by.address, rest.times), (None, 100_000 - MOST as u64));
        // Of IPv6 a network is one.
        let mut notes = Notes::begin(begin);
        for n in 0..100 {
            notes.add(denied(&format!("2001:db8::{n}")));
        }
        assert_eq!(times(&notes.take_due(begin, false)), [100]);
    }

    #[test]
    fn a_sum_says_only_what_is_the_same_in_all() {
        let begin = Instant::now();
        let mut notes = Notes::begin(begin);
        let to = |tenant: &str| denied("1.2.3.4").to(&tenant.parse().unwrap());
        notes.add(to("a"));
        notes.add(to("a"));
        let due = notes.take_due(begin, false);
        assert_eq!(due[0].tenant.as_ref().unwrap().as_str(), "a");
        notes.add(to("a"));
        notes.add(to("b"));
        let due = notes.take_due(begin, true);
        assert_eq!((due[0].times, &due[0].tenant), (2, &None));

        let of = |token: &str, version, field| Entry {
            token: token.parse().ok(),
            version: Some(version),
            fields: FieldNames::of([field]),
            ..denied("1.2.3.4")
        };
        let mut notes = Notes::begin(begin);
        let first = of("0123456789abcdef", 1, "name");
        for _ in 0..2 {
            notes.add(first.clone());
        }
        let due = notes.take_due(begin, true).remove(0);
        let same = (due.times, &due.token, due.version, &due.fields);
        assert_eq!(same, (2, &first.token, Some(1), &first.fields));
        notes.add(first);
        notes.add(of("fedcba9876543210", 2, "scopes"));
        let due = notes.take_due(begin, true).remove(0);
        let none = FieldNames::default();
        assert_eq!((due.times, due.token, due.version, due.fields), (2, None, None, none));

        // Nor whose address it was, in a network.
        let mut notes = Notes::begin(begin);
        notes.add(denied("2001:db8::1"));
        notes.add(denied("2001:db8::1"));
        let due = notes.take_due(begin, true).remove(0);
        assert_eq!(due.by, denied("2001:db8::1").by);
        notes.add(denied("2001:db8::1"));
        notes.add(denied("2001:db8::2"));
        let due = notes.take_due(begin, true).remove(0);
        assert_eq!(due.by.address, "2001:db8::".parse().ok());
    }
}
