//! Tests of L1 that need its inside.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

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
        entries.insert(key(number), document(number), HOUR);
    }
    for number in 1_000..30_000 {
        assert!(entries.get(&key(number)).is_none());
        entries.insert(key(number), Cached::Document(None), HOUR);
    }
    let left = (0..1_000).filter(|&number| entries.get(&key(number)).is_some()).count();
    assert_eq!(left, 1_000);
    assert!(entries.len() < 2_000, "absences are bounded: {}", entries.len());
}

#[test]
fn an_absence_that_becomes_a_value_and_goes_leaves_nothing() {
    let entries = Entries::new(1 << 20);
    entries.insert(key(1), Cached::Document(None), HOUR);
    assert!(!entries.get(&key(1)).unwrap().is_present());
    entries.insert(key(1), document(1), HOUR);
    assert!(entries.get(&key(1)).unwrap().is_present());
    assert!(entries.remove(&key(1)));
    assert!(entries.get(&key(1)).is_none());
    assert!(!entries.remove(&key(1)));
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
    assert_eq!(l1.clear().free(), [100, 10, 1, 0]);
    assert_eq!(l1.clear().free(), [0; 4]);
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
