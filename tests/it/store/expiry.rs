//! Credentials that end, in both stores. The database's clock decides, so it is the end that moves.

use futures_util::future::join_all;
use serde_json::json;
use tenant_service::domain::CredentialType::{Genesys, Whatsapp};
use tenant_service::domain::{CredentialType, Credentials, Status, TenantPatch, Version};
use tenant_service::store::{Announced, Expiring, StoreError, VersionsPage};

use super::bed::{ALWAYS, Backend, Bed, by, lines, tenant_id};

const DAY: i32 = 24;
const LATER: &str = "2099-01-02T03:04:05.678Z";

/// So many hours from now, as a column has it.
fn from_now(bed: &Bed, hours: i32) -> String {
    match &bed.backend {
        Backend::Postgres(..) => format!("now() + interval '{hours} hours'"),
        Backend::Sqlite(..) => {
            format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{hours:+} hours')")
        }
    }
}

/// A new end of all credentials.
async fn ends_in(bed: &Bed, hours: i32) {
    let end = from_now(bed, hours);
    bed.by_hand(&format!("UPDATE tenant_credentials SET expires_at = {end}")).await.unwrap();
}

/// The same end, nearer: time has gone by.
async fn wait_until_ends_in(bed: &Bed, hours: i32) {
    let end = from_now(bed, hours);
    let both = format!("expires_at = {end}, announced_expires_at = {end}");
    bed.by_hand(&format!("UPDATE tenant_credentials SET {both}")).await.unwrap();
}

async fn set(bed: &Bed, kind: CredentialType, end: Option<&str>) -> Result<i64, StoreError> {
    let end = end.map(|end| end.parse().unwrap());
    let credentials = Credentials::new(kind, json!({"note": "made up"})).unwrap().expiring(end);
    let id = tenant_id("t1");
    let set = bed.store.set_credentials(&id, kind, &credentials, None, &ALWAYS, &by()).await;
    set.map(|set| set.unwrap().value.version)
}

/// Tells what is to be told: version and days.
async fn tell(bed: &Bed) -> Vec<(i64, i64)> {
    let mut told = Vec::new();
    for (tenant, kind) in bed.store.to_announce(100).await.unwrap() {
        let announced = bed.store.announce(&tenant, kind).await.unwrap().unwrap();
        let Announced { version, days } = announced.value;
        assert_eq!(lines(&announced.changes), [format!("credentials.expiring v{version}: ")]);
        assert_eq!(announced.changes[0].tenant_id.as_deref(), Some(tenant.as_str()));
        told.push((version, days));
        // Once.
        assert!(bed.store.announce(&tenant, kind).await.unwrap().is_none());
    }
    assert!(bed.store.to_announce(100).await.unwrap().is_empty());
    told
}

/// Versions with their ends.
async fn ends(bed: &Bed) -> Vec<(i64, Option<String>)> {
    let page = VersionsPage { limit: 100, before: None };
    let listed = bed.store.versions(&tenant_id("t1"), Whatsapp, page).await.unwrap().unwrap();
    let end = |end: jiff::Timestamp| end.to_string();
    listed.iter().map(|version| (version.version, version.expires_at.map(end))).collect()
}

pub(super) async fn an_end_is_that_of_its_version(bed: &Bed) {
    let (id, later) = (tenant_id("t1"), Some(LATER.to_owned()));
    bed.create("t1", "1", "i1").await;
    set(bed, Whatsapp, Some(LATER)).await.unwrap();
    assert_eq!(ends(bed).await, [(1, later.clone())]);
    // Each write says it anew.
    set(bed, Whatsapp, None).await.unwrap();
    assert_eq!(ends(bed).await, [(2, None), (1, later.clone())]);
    let roll_back = async |to| {
        let to = Version::new(to).unwrap();
        bed.store.roll_back(&id, Whatsapp, to, &ALWAYS, &by()).await.unwrap().unwrap();
        ends(bed).await[0].clone()
    };
    assert_eq!(roll_back(1).await, (3, later.clone()));
    assert_eq!(roll_back(2).await, (4, None));
    assert_eq!(roll_back(3).await, (5, later.clone()));

    // Deleted, brought back.
    bed.store.delete_credentials(&id, Whatsapp, &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(ends(bed).await[0], (5, later.clone()));
    bed.store.undelete_credentials(&id, Whatsapp, &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(ends(bed).await[0], (6, later.clone()));
    let which = Version::new(6);
    bed.store.destroy_versions(&id, Whatsapp, which, &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(ends(bed).await[0], (6, later), "when it was to end stays known");

    // An end that has passed is none of what is made now.
    assert_eq!(set(bed, Whatsapp, None).await.unwrap(), 7);
    let past = from_now(bed, -1);
    let by_hand = format!("UPDATE tenant_credential_history SET expires_at = {past}");
    set(bed, Whatsapp, Some(LATER)).await.unwrap();
    set(bed, Whatsapp, None).await.unwrap();
    bed.by_hand(&by_hand).await.unwrap();
    assert_eq!(roll_back(8).await, (10, None));
    ends_in(bed, -1).await;
    bed.store.delete_credentials(&id, Whatsapp, &ALWAYS, &by()).await.unwrap().unwrap();
    bed.store.undelete_credentials(&id, Whatsapp, &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(ends(bed).await[0], (11, None));
}

pub(super) async fn an_end_lies_ahead(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    set(bed, Whatsapp, None).await.unwrap();
    let before = bed.snapshot().await;
    for kind in [Whatsapp, Genesys] {
        let refused = set(bed, kind, Some("2020-01-02T03:04:05Z")).await;
        let Err(StoreError::Invalid(invalid)) = refused else { panic!("{refused:?}") };
        assert_eq!(invalid.to_string(), "expires_at: must be in the future");
    }
    assert!(bed.since(&before).await.is_empty());
    assert_eq!(ends(bed).await, [(1, None)]);
    // By hand, it may lie anywhere, but it is a moment.
    let forms: &[&str] = match &bed.backend {
        Backend::Postgres(..) => &["'infinity'", "'-infinity'"],
        Backend::Sqlite(..) => &[
            "'2030-01-02'",
            "'2030-01-02T03:04:05Z'",
            "'2030-01-02T03:04:05.678+01:00'",
            "'2030-13-02T03:04:05.678Z'",
            "'soon'",
        ],
    };
    for form in forms {
        let by_hand = format!("UPDATE tenant_credentials SET expires_at = {form}");
        assert!(bed.by_hand(&by_hand).await.is_err(), "{form}");
    }
}

pub(super) async fn each_number_of_days_is_told_once(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    set(bed, Whatsapp, Some(LATER)).await.unwrap();
    let row = "SELECT CAST(revision AS text) FROM tenants \
               UNION ALL SELECT CAST(updated_at AS text) FROM tenant_credentials";
    let (unchanged, before) = (bed.texts(row).await, bed.snapshot().await);
    ends_in(bed, 31 * DAY).await;
    assert_eq!(tell(bed).await, []);
    for (hours, days) in [(30 * DAY - 1, 30), (7 * DAY - 1, 7), (DAY - 1, 1)] {
        wait_until_ends_in(bed, hours).await;
        assert_eq!(tell(bed).await, [(1, days)], "{hours} hours");
        wait_until_ends_in(bed, hours - 2).await;
        assert_eq!(tell(bed).await, []);
    }
    // Neither when it has ended, nor when a clock goes back.
    for hours in [-1, 2 * DAY, 20 * DAY, DAY - 1, -100 * DAY] {
        wait_until_ends_in(bed, hours).await;
        assert_eq!(tell(bed).await, [], "{hours} hours");
    }
    let logged = lines(&bed.since(&before).await);
    assert_eq!(logged, ["credentials.expiring v1: "; 3]);
    assert_eq!(bed.texts(row).await, unchanged, "nothing that an entity tag is made of");

    // Another end begins anew, and so does another version; the nearest number of days is told.
    ends_in(bed, 3 * DAY).await;
    assert_eq!(tell(bed).await, [(1, 7)]);
    ends_in(bed, 2 * DAY).await;
    assert_eq!(tell(bed).await, [(1, 7)]);
    wait_until_ends_in(bed, 1).await;
    assert_eq!(tell(bed).await, [(1, 1)]);
    // What has ended before anybody could tell is told late rather than never.
    ends_in(bed, -1).await;
    assert_eq!(tell(bed).await, [(1, 1)]);
    set(bed, Whatsapp, None).await.unwrap();
    assert_eq!(tell(bed).await, []);
    ends_in(bed, 1).await;
    assert_eq!(tell(bed).await, [(2, 1)]);
    // The same end, of another version.
    let keep = bed.texts("SELECT CAST(expires_at AS text) FROM tenant_credentials").await;
    set(bed, Whatsapp, None).await.unwrap();
    let again = format!("UPDATE tenant_credentials SET expires_at = '{}'", keep[0]);
    bed.by_hand(&again).await.unwrap();
    assert_eq!(tell(bed).await, [(3, 1)]);
}

pub(super) async fn of_a_suspended_tenant_nothing_is_told(bed: &Bed) {
    let id = tenant_id("t1");
    bed.create("t1", "1", "i1").await;
    set(bed, Whatsapp, None).await.unwrap();
    ends_in(bed, 1).await;
    let status = |status| TenantPatch { status: Some(status), ..TenantPatch::default() };
    bed.store.patch_tenant(&id, &status(Status::Suspended), &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(tell(bed).await, []);
    assert!(bed.store.announce(&id, Whatsapp).await.unwrap().is_none());
    assert_eq!(bed.store.expiring().await.unwrap().within_1_day, 0);
    bed.store.patch_tenant(&id, &status(Status::Active), &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(bed.store.expiring().await.unwrap().within_1_day, 1);
    assert_eq!(tell(bed).await, [(1, 1)]);
}

pub(super) async fn whoever_tells_it_is_told_once(bed: &Bed) {
    for n in 1..=20 {
        let id = format!("t{n}");
        bed.create(&id, "", "").await;
        bed.set(&id, Whatsapp, json!({"note": "made up"})).await;
        bed.set(&id, Genesys, json!({"note": "made up"})).await;
    }
    ends_in(bed, 5 * DAY).await;
    let before = bed.snapshot().await;
    let tellers = (0..8).map(|_| async {
        let mut told = 0;
        // Until nothing is left: a tenant that another one has locked is passed over.
        loop {
            let found = bed.store.to_announce(100).await.unwrap();
            if found.is_empty() {
                return told;
            }
            for (tenant, kind) in found {
                let announced = bed.store.announce(&tenant, kind).await.unwrap();
                told += usize::from(announced.is_some());
            }
        }
    });
    let told: usize = join_all(tellers).await.iter().sum();
    let logged = bed.since(&before).await;
    assert_eq!((told, logged.len()), (40, 40));
    assert!(logged.iter().all(|change| change.keys.is_empty()));
}

pub(super) async fn those_that_end_are_counted(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    let none = Expiring { within_30_days: 0, within_7_days: 0, within_1_day: 0, expired: 0 };
    assert_eq!(bed.store.expiring().await.unwrap(), none);
    set(bed, Whatsapp, None).await.unwrap();
    set(bed, Genesys, Some(LATER)).await.unwrap();
    assert_eq!(bed.store.expiring().await.unwrap(), none);
    for (hours, thirty, seven, one, expired) in [
        (31 * DAY, 0, 0, 0, 0),
        (30 * DAY - 1, 2, 0, 0, 0),
        (7 * DAY - 1, 2, 2, 0, 0),
        (DAY - 1, 2, 2, 2, 0),
        (-1, 0, 0, 0, 2),
    ] {
        ends_in(bed, hours).await;
        let expected =
            Expiring { within_30_days: thirty, within_7_days: seven, within_1_day: one, expired };
        assert_eq!(bed.store.expiring().await.unwrap(), expected, "{hours} hours");
    }
}

/// A tenant that somebody keeps locked holds up no other.
#[tokio::test]
async fn a_tenant_that_is_written_is_left_to_the_next_time() {
    use sqlx::Connection;

    let bed = Bed::postgres().await;
    let Backend::Postgres(_, database) = &bed.backend else { unreachable!() };
    for id in ["t1", "t2"] {
        bed.create(id, "", "").await;
        bed.set(id, Whatsapp, json!({"note": "made up"})).await;
    }
    ends_in(&bed, 1).await;
    let mut writer = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut write = writer.begin().await.unwrap();
    let lock = "SELECT id FROM tenants WHERE id = 't1' FOR NO KEY UPDATE";
    sqlx::query(lock).execute(&mut *write).await.unwrap();
    let announce = async |id| bed.store.announce(&tenant_id(id), Whatsapp).await.unwrap();
    assert!(announce("t1").await.is_none());
    assert!(announce("t2").await.is_some());
    write.rollback().await.unwrap();
    let renamed = TenantPatch { name: Some("Another".parse().unwrap()), ..TenantPatch::default() };
    let last = bed.store.patch_tenant(&tenant_id("t1"), &renamed, &ALWAYS, &by()).await;
    let last = last.unwrap().unwrap().xid;
    let announced = announce("t1").await.unwrap();
    assert_eq!(announced.after, Some(last), "the changes of one tenant follow one another");
}
