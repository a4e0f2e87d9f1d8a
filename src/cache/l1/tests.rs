//! Tests of L1 that need its inside.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// An entry that outlasts the test.
fn lasting(cached: Cached) -> Entry {
    Entry::new(cached, clock::now().plus(HOUR))
}

fn key(number: usize) -> CacheKey {
    format!("phone:{number}").parse().unwrap()
}

fn document(number: usize) -> Cached {
    let body = format!("{{\"id\":\"{number:0>180}\"}}");
    Cached::Document(Some(Document::new(body.into_bytes(), 1)))
}

#[test]
fn numbers_asked_for_at_random_displace_no_value() {
    let entries = Entries::new(1 << 20);
    for number in 0..1_000 {
        entries.insert(key(number), lasting(document(number)));
    }
    for number in 1_000..30_000 {
        assert!(entries.get(&key(number)).is_none());
        entries.insert(key(number), lasting(Cached::Document(None)));
    }
    let left = (0..1_000).filter(|&number| entries.get(&key(number)).is_some()).count();
    assert_eq!(left, 1_000);
    assert!(entries.len() < 2_000, "absences are bounded: {}", entries.len());
}

#[test]
fn an_absence_that_becomes_a_value_and_goes_leaves_nothing() {
    let entries = Entries::new(1 << 20);
    entries.insert(key(1), lasting(Cached::Document(None)));
    let is_present = || entries.get(&key(1))?.at(clock::now()).map(|cached| cached.is_present());
    assert_eq!(is_present(), Some(false));
    entries.insert(key(1), lasting(document(1)));
    assert_eq!(is_present(), Some(true));
    assert!(entries.remove(&key(1)).is_some());
    assert!(entries.get(&key(1)).is_none());
    assert!(entries.remove(&key(1)).is_none());
}

#[test]
fn what_is_dropped_is_counted_by_kind() {
    let l1 = L1::new(1 << 20);
    let fill = |key: &str, cached: Cached| {
        let key: CacheKey = key.parse().unwrap();
        let Entered::Lead(began, _) = l1.enter(&key) else { panic!("nothing was there") };
        assert!(l1.fill(&key, began, cached, HOUR));
        l1.land(&key, began);
    };
    for number in 0..100 {
        fill(&format!("phone:{number}"), document(number));
    }
    for number in 0..10 {
        fill(&format!("integration:{number}"), Cached::Document(None));
    }
    fill("tenant:a", document(1));
    assert_eq!(l1.clear().free(), [100, 10, 1, 0, 0]);
    assert_eq!(l1.clear().free(), [0; 5]);
    assert!(l1.get(&key(1)).is_none());
}

/// Freeing takes long where there is much. A request that was reading when everything was replaced
/// must not be the one that does it.
#[test]
fn whoever_reads_while_everything_is_dropped_frees_nothing() {
    let l1 = L1::new(1 << 20);
    let reader = l1.entries.load_full();
    let evicted = l1.clear();
    let (tell, told) = mpsc::channel();
    let freeing = std::thread::spawn(move || {
        evicted.free();
        tell.send(()).unwrap();
    });
    let early = told.recv_timeout(Duration::from_millis(100));
    assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout), "freed under a reader");
    drop(reader);
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    freeing.join().unwrap();
}

/// However unlike the entries are, and whatever becomes of them.
#[test]
fn the_capacity_is_not_overshot() {
    let entries = Entries::new(1 << 20);
    for number in 0..50_000_usize {
        let body = vec![b'x'; (number % 97) * 100];
        let cached = match number % 3 {
            0 => Cached::Document(None),
            _ => Cached::Document(Some(Document::new(body, 1))),
        };
        entries.insert(key(number % 7_000), lasting(cached));
        if number % 5 == 0 {
            entries.remove(&key(number / 2 % 7_000));
        }
        assert!(entries.weight() <= 1 << 20, "{} after {number}", entries.weight());
    }
    assert!(entries.weight() > 1 << 19, "it is used: {}", entries.weight());
}

#[test]
fn what_has_expired_is_not_there_and_not_evicted() {
    let l1 = L1::new(1 << 20);
    for (ttl, is_there) in [(HOUR, true), (Duration::ZERO, false)] {
        let Entered::Lead(began, _) = l1.enter(&key(1)) else { panic!("nothing was there") };
        assert!(l1.fill(&key(1), began, document(1), ttl));
        l1.land(&key(1), began);
        assert_eq!(l1.get(&key(1)).is_some(), is_there);
        assert_eq!(matches!(l1.enter(&key(1)), Entered::Hit(_)), is_there);
        assert_eq!(l1.evict(&key(1)), is_there);
    }
}
