//! Versions of credentials and conditions of writes, in both stores.

use std::time::Duration;

use serde_json::json;
use tenant_service::domain::CredentialType::{Genesys, Whatsapp};
use tenant_service::domain::{
    CredentialType, Credentials, NamedTag, NoVersion, Precondition, Status, Tags, TenantPatch,
    Version, VersionState,
};
use tenant_service::store::{StoreError, StoredCredentials, VersionsPage};

use super::bed::{ALWAYS, Backend, Bed, by, lines, tenant_id};
use super::sealing::dump;
use crate::harness::keyring::hex;

const DAY: Duration = Duration::from_hours(24);

fn version(number: i64) -> Version {
    Version::new(number).unwrap()
}

fn token(text: &str) -> Credentials {
    Credentials::new(Whatsapp, json!({"access_token": text})).unwrap()
}

fn if_match(tag: &str) -> Precondition {
    let tag = NamedTag { opaque: tag.to_owned(), is_weak: false };
    Precondition { if_match: Some(Tags::These(vec![tag])), if_none_match: None }
}

fn if_absent() -> Precondition {
    Precondition { if_match: None, if_none_match: Some(Tags::Any) }
}

async fn current(bed: &Bed, kind: CredentialType) -> Option<StoredCredentials> {
    bed.store.credentials(&tenant_id("t1"), kind).await.unwrap()
}

async fn tag(bed: &Bed) -> String {
    let StoredCredentials { id, version, .. } = current(bed, Whatsapp).await.unwrap();
    format!("{id}.{version}")
}

/// With whatsapp credentials in so many versions.
async fn tenant_with(bed: &Bed, versions: i64) {
    bed.create("t1", "1", "i1").await;
    for version in 1..=versions {
        let value = json!({"access_token": format!("made up {version}")});
        assert_eq!(bed.set("t1", Whatsapp, value).await, version);
    }
}

async fn put(bed: &Bed, text: &str, precondition: &Precondition) -> Result<i64, StoreError> {
    let id = tenant_id("t1");
    let set =
        bed.store.set_credentials(&id, Whatsapp, &token(text), None, precondition, &by()).await;
    set.map(|set| set.unwrap().value.version)
}

async fn states(bed: &Bed) -> Vec<(i64, VersionState)> {
    let page = VersionsPage { limit: 100, before: None };
    let listed = bed.store.versions(&tenant_id("t1"), Whatsapp, page).await.unwrap().unwrap();
    listed.iter().map(|version| (version.version, version.state())).collect()
}

async fn delete(bed: &Bed) {
    bed.store
        .delete_credentials(&tenant_id("t1"), Whatsapp, &ALWAYS, &by())
        .await
        .unwrap()
        .unwrap();
}

async fn undelete(bed: &Bed) -> Result<i64, StoreError> {
    let done = bed.store.undelete_credentials(&tenant_id("t1"), Whatsapp, &ALWAYS, &by()).await;
    done.map(|done| done.unwrap().value.version)
}

async fn destroy(bed: &Bed, which: Option<i64>) -> Result<u64, StoreError> {
    let which = which.map(version);
    let done = bed.store.destroy_versions(&tenant_id("t1"), Whatsapp, which, &ALWAYS, &by()).await;
    done.map(|done| done.unwrap().value)
}

async fn roll_back(bed: &Bed, to: i64) -> Result<i64, StoreError> {
    let done = bed.store.roll_back(&tenant_id("t1"), Whatsapp, version(to), &ALWAYS, &by()).await;
    done.map(|done| done.unwrap().value.version)
}

fn is_none<T: std::fmt::Debug>(done: Result<T, StoreError>, expected: NoVersion) {
    match done {
        Err(StoreError::NoVersion(why)) => assert_eq!(why, expected),
        other => panic!("{other:?}"),
    }
}

fn failed<T: std::fmt::Debug>(done: Result<T, StoreError>, there: Option<&str>) {
    let Err(StoreError::PreconditionFailed { current }) = done else { panic!("{done:?}") };
    assert_eq!(current.as_deref(), there);
}

pub(super) async fn a_condition_is_about_what_is_there(bed: &Bed) {
    let id = tenant_id("t1");
    tenant_with(bed, 0).await;
    let anything = Precondition { if_match: Some(Tags::Any), if_none_match: None };
    failed(put(bed, "x", &anything).await, None);
    failed(put(bed, "x", &if_match("g.1")).await, None);
    failed(bed.store.undelete_credentials(&id, Whatsapp, &anything, &by()).await, None);
    assert_eq!(put(bed, "one", &if_absent()).await.unwrap(), 1);
    let first = tag(bed).await;
    failed(put(bed, "x", &if_absent()).await, Some(&first));
    assert_eq!(put(bed, "two", &if_match(&first)).await.unwrap(), 2);
    let second = tag(bed).await;

    let before = bed.snapshot().await;
    let stale = if_match(&first);
    failed(put(bed, "x", &stale).await, Some(&second));
    failed(bed.store.roll_back(&id, Whatsapp, version(1), &stale, &by()).await, Some(&second));
    failed(bed.store.delete_credentials(&id, Whatsapp, &stale, &by()).await, Some(&second));
    failed(bed.store.destroy_versions(&id, Whatsapp, None, &stale, &by()).await, Some(&second));
    failed(
        bed.store.destroy_versions(&id, Whatsapp, Some(version(1)), &stale, &by()).await,
        Some(&second),
    );
    // A tenant's is its revision, which every write of its credentials moves as well.
    let revision = bed.store.tenant(&id).await.unwrap().unwrap().revision.to_string();
    let patch = TenantPatch { status: Some(Status::Suspended), ..TenantPatch::default() };
    failed(bed.store.patch_tenant(&id, &patch, &stale, &by()).await, Some(&revision));
    failed(bed.store.delete_tenant(&id, &stale, &by()).await, Some(&revision));
    assert_eq!(bed.since(&before).await, [], "nothing was written");
    assert_eq!(states(bed).await, [(2, VersionState::Current), (1, VersionState::Superseded)]);

    // An absent tenant is absent, whatever the condition.
    let nobody = tenant_id("nobody");
    assert!(bed.store.patch_tenant(&nobody, &patch, &stale, &by()).await.unwrap().is_none());
    assert!(bed.store.delete_tenant(&nobody, &stale, &by()).await.unwrap().is_none());
    let set = bed.store.set_credentials(&nobody, Whatsapp, &token("x"), None, &stale, &by()).await;
    assert!(set.unwrap().is_none());
    assert!(
        bed.store.roll_back(&nobody, Whatsapp, version(1), &stale, &by()).await.unwrap().is_none()
    );
    assert!(
        bed.store.delete_credentials(&nobody, Whatsapp, &stale, &by()).await.unwrap().is_none()
    );
    assert!(
        bed.store.undelete_credentials(&nobody, Whatsapp, &stale, &by()).await.unwrap().is_none()
    );
    assert!(
        bed.store.destroy_versions(&nobody, Whatsapp, None, &stale, &by()).await.unwrap().is_none()
    );

    let done =
        bed.store.patch_tenant(&id, &patch, &if_match(&revision), &by()).await.unwrap().unwrap();
    let revision = if_match(&done.value.revision.to_string());
    bed.store.delete_tenant(&id, &revision, &by()).await.unwrap().unwrap();
}

pub(super) async fn one_of_many_writes_with_a_tag_is_made(bed: &Bed) {
    tenant_with(bed, 1).await;
    let condition = if_match(&tag(bed).await);
    let writes = (0..64).map(|_| put(bed, "next", &condition));
    let done = futures_util::future::join_all(writes).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    let second = tag(bed).await;
    for done in done.into_iter().filter(Result::is_err) {
        failed(done, Some(&second));
    }
    assert_eq!(states(bed).await, [(2, VersionState::Current), (1, VersionState::Superseded)]);
}

pub(super) async fn what_is_made_anew_has_no_old_tag(bed: &Bed) {
    let id = tenant_id("t1");
    tenant_with(bed, 1).await;
    let first = tag(bed).await;
    bed.store.delete_tenant(&id, &ALWAYS, &by()).await.unwrap().unwrap();
    tenant_with(bed, 1).await;
    let second = tag(bed).await;
    assert!(second.ends_with(".1") && second != first, "the same number, another credential");
    failed(put(bed, "x", &if_match(&first)).await, Some(&second));
    // The same where the credentials alone were deleted, here or by hand.
    delete(bed).await;
    failed(put(bed, "x", &if_match(&second)).await, None);
    assert_eq!(put(bed, "x", &ALWAYS).await.unwrap(), 2);
    let third = tag(bed).await;
    bed.by_hand("DELETE FROM tenant_credentials").await.unwrap();
    assert_eq!(put(bed, "x", &if_absent()).await.unwrap(), 3);
    let generation = |tag: &str| tag.split_once('.').unwrap().0.to_owned();
    let fourth = tag(bed).await;
    assert_ne!(generation(&second), generation(&third));
    assert_ne!(generation(&third), generation(&fourth));
}

pub(super) async fn a_rollback_makes_a_new_version(bed: &Bed) {
    let id = tenant_id("t1");
    tenant_with(bed, 3).await;
    let before = bed.snapshot().await;
    assert_eq!(roll_back(bed, 1).await.unwrap(), 4);
    assert_eq!(
        lines(&bed.since(&before).await),
        ["credentials.updated v4: integration:i1 phone:1 tenant:t1 tenant:t1:credentials:whatsapp"]
    );
    assert_eq!(current(bed, Whatsapp).await.unwrap().credentials, token("made up 1"));
    let read = async |number| bed.store.version(&id, Whatsapp, version(number)).await.unwrap();
    for (number, text) in [(1, "made up 1"), (2, "made up 2"), (3, "made up 3"), (4, "made up 1")] {
        let stored = read(number).await.unwrap();
        assert_eq!((stored.version, stored.credentials), (number, token(text)));
    }
    assert!(read(5).await.is_none());
    // To itself it is a version too.
    assert_eq!(roll_back(bed, 4).await.unwrap(), 5);
    is_none(roll_back(bed, 6).await, NoVersion::Unknown);
    // The other type has none.
    let other = bed.store.roll_back(&id, Genesys, version(1), &ALWAYS, &by()).await;
    is_none(other, NoVersion::OfType(Genesys));

    // What a suspended tenant has is not shown, but can be replaced.
    let status = |status| TenantPatch { status: Some(status), ..TenantPatch::default() };
    bed.store.patch_tenant(&id, &status(Status::Suspended), &ALWAYS, &by()).await.unwrap().unwrap();
    assert!(read(1).await.is_none());
    let page = VersionsPage { limit: 1, before: None };
    assert!(bed.store.versions(&id, Whatsapp, page).await.unwrap().is_none());
    assert_eq!(roll_back(bed, 2).await.unwrap(), 6);
    bed.store.patch_tenant(&id, &status(Status::Active), &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(current(bed, Whatsapp).await.unwrap().credentials, token("made up 2"));
}

pub(super) async fn what_was_deleted_can_be_brought_back(bed: &Bed) {
    let id = tenant_id("t1");
    tenant_with(bed, 2).await;
    is_none(undelete(bed).await, NoVersion::Present(Whatsapp));
    let first = current(bed, Whatsapp).await.unwrap().id;
    let before = bed.snapshot().await;
    delete(bed).await;
    assert_eq!(
        lines(&bed.since(&before).await),
        ["credentials.revoked v2: integration:i1 phone:1 tenant:t1 tenant:t1:credentials:whatsapp"]
    );
    assert!(current(bed, Whatsapp).await.is_none());
    // In all its versions, and by no other way.
    for number in [1, 2] {
        assert!(bed.store.version(&id, Whatsapp, version(number)).await.unwrap().is_none());
        is_none(roll_back(bed, number).await, NoVersion::OfType(Whatsapp));
    }
    let again = bed.store.delete_credentials(&id, Whatsapp, &ALWAYS, &by()).await;
    is_none(again, NoVersion::OfType(Whatsapp));
    assert_eq!(states(bed).await, [(2, VersionState::Deleted), (1, VersionState::Deleted)]);

    assert_eq!(undelete(bed).await.unwrap(), 3);
    let back = current(bed, Whatsapp).await.unwrap();
    assert_eq!((back.id, back.credentials), (first, token("made up 2")));
    let superseded = VersionState::Superseded;
    assert_eq!(states(bed).await, [(3, VersionState::Current), (2, superseded), (1, superseded)]);
    assert_eq!(roll_back(bed, 1).await.unwrap(), 4);

    // What is set meanwhile is another credential, which the old versions are none of.
    delete(bed).await;
    assert_eq!(put(bed, "another", &ALWAYS).await.unwrap(), 5);
    is_none(undelete(bed).await, NoVersion::Present(Whatsapp));
    is_none(roll_back(bed, 4).await, NoVersion::Deleted);
    assert!(bed.store.version(&id, Whatsapp, version(4)).await.unwrap().is_none());
    delete(bed).await;
    assert_eq!(undelete(bed).await.unwrap(), 6);
    assert_eq!(current(bed, Whatsapp).await.unwrap().credentials, token("another"));
    let none = bed.store.undelete_credentials(&id, Genesys, &ALWAYS, &by()).await;
    is_none(none, NoVersion::OfType(Genesys));
}

/// The sealed bytes of these versions, and their wrapped keys, as hexadecimal digits.
async fn bytes(bed: &Bed) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["tenant_credentials", "tenant_credential_history"] {
        for column in ["sealed", "wrapped_key"] {
            let digits = match &bed.backend {
                Backend::Postgres(..) => format!("encode({column}, 'hex')"),
                Backend::Sqlite(..) => format!("lower(hex({column}))"),
            };
            let read = format!("SELECT {digits} FROM {table} WHERE sealed IS NOT NULL");
            all.append(&mut bed.texts(&read).await);
        }
    }
    all
}

/// Neither a dump nor, where the store promises it, a file has any of these.
async fn is_nowhere(bed: &Bed, gone: &[String]) {
    let mut dumps = vec![dump(bed).await.to_lowercase()];
    match &bed.backend {
        Backend::Sqlite(store, _) => {
            for file in store.path().parent().unwrap().read_dir().unwrap() {
                // What is there for as long as a connection is may be gone by now.
                dumps.extend(std::fs::read(file.unwrap().path()).ok().map(|bytes| hex(&bytes)));
            }
        }
        Backend::Postgres(_, database) => {
            let dump = std::process::Command::new("pg_dump").arg(&database.url).output();
            // Where there is no such program, the tables above are all there is to look at.
            if let Ok(dump) = dump {
                assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
                dumps.push(String::from_utf8(dump.stdout).unwrap());
            }
        }
    }
    for bytes in gone {
        assert!(bytes.len() > 50 && dumps.iter().all(|dump| !dump.contains(bytes)), "{bytes}");
    }
}

pub(super) async fn of_what_is_destroyed_nothing_is_left(bed: &Bed) {
    tenant_with(bed, 3).await;
    bed.set("t1", Genesys, json!({"clientSecret": "stays"})).await;
    let before = bytes(bed).await;
    // One that was superseded: nobody has it cached, and nothing is logged.
    let log = bed.snapshot().await;
    assert_eq!(destroy(bed, Some(2)).await.unwrap(), 1);
    assert_eq!(bed.since(&log).await, []);
    let gone = |after: &[String]| -> Vec<String> {
        before.iter().filter(|bytes| !after.contains(bytes)).cloned().collect()
    };
    let after = bytes(bed).await;
    assert_eq!((before.len(), gone(&after).len()), (8, 2), "its bytes, and its key");
    is_nowhere(bed, &gone(&after)).await;
    assert_eq!(destroy(bed, Some(2)).await.unwrap(), 0, "it was before");
    is_none(destroy(bed, Some(4)).await, NoVersion::Unknown);
    is_none(roll_back(bed, 2).await, NoVersion::Destroyed);
    let read = bed.store.version(&tenant_id("t1"), Whatsapp, version(2)).await;
    is_none(read, NoVersion::Destroyed);

    // The current one: it is revoked, and nothing brings it back.
    assert_eq!(destroy(bed, Some(3)).await.unwrap(), 1);
    assert_eq!(
        lines(&bed.since(&log).await),
        ["credentials.revoked v3: integration:i1 phone:1 tenant:t1 tenant:t1:credentials:whatsapp"]
    );
    assert!(current(bed, Whatsapp).await.is_none());
    is_none(undelete(bed).await, NoVersion::Destroyed);
    let destroyed = VersionState::Destroyed;
    assert_eq!(states(bed).await, [(3, destroyed), (2, destroyed), (1, VersionState::Deleted)]);
    is_nowhere(bed, &gone(&bytes(bed).await)).await;

    // All of them: of a credential that was deleted, and of the one that is there.
    assert_eq!(put(bed, "another", &ALWAYS).await.unwrap(), 4);
    let before = bytes(bed).await;
    assert_eq!(destroy(bed, None).await.unwrap(), 2);
    assert!(current(bed, Whatsapp).await.is_none());
    let after = bytes(bed).await;
    assert_eq!((before.len(), after.len()), (6, 2), "the other type's");
    let gone: Vec<String> = before.into_iter().filter(|it| !after.contains(it)).collect();
    is_nowhere(bed, &gone).await;
    assert_eq!(destroy(bed, None).await.unwrap(), 0);
    let keys = "SELECT count(*) FROM tenant_credential_history WHERE key_id IS NOT NULL";
    assert_eq!(bed.number(keys).await, 0);
    let id = tenant_id("t1");
    let none = bed.store.destroy_versions(&id, Genesys, Some(version(9)), &ALWAYS, &by()).await;
    is_none(none, NoVersion::Unknown);
    assert_eq!(current(bed, Genesys).await.unwrap().version, 1);
    assert_eq!(put(bed, "after all", &ALWAYS).await.unwrap(), 5, "no number is given twice");
}

pub(super) async fn what_was_deleted_long_ago_is_destroyed(bed: &Bed) {
    let id = tenant_id("t1");
    let moment = |days| match &bed.backend {
        Backend::Postgres(..) => format!("now() - interval '{days} days'"),
        Backend::Sqlite(..) => format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{days} days')"),
    };
    let age = async |days: u32| {
        let deleted = format!("deleted_at = {} WHERE deleted_at IS NOT NULL", moment(days));
        bed.by_hand(&format!("UPDATE tenant_credential_history SET {deleted}")).await.unwrap();
    };
    tenant_with(bed, 3).await;
    bed.set("t1", Genesys, json!({"clientSecret": "stays"})).await;
    bed.set("t1", Genesys, json!({"clientSecret": "stays too"})).await;
    delete(bed).await;
    age(29).await;
    assert_eq!(bed.store.destroy_deleted(30 * DAY).await.unwrap(), Some(0));
    // Brought back in time, its versions are kept for good.
    assert_eq!(undelete(bed).await.unwrap(), 4);
    age(40).await;
    assert_eq!(bed.store.destroy_deleted(30 * DAY).await.unwrap(), Some(0));
    assert_eq!(roll_back(bed, 1).await.unwrap(), 5);

    delete(bed).await;
    age(31).await;
    // What came after it is another credential.
    assert_eq!(put(bed, "another", &ALWAYS).await.unwrap(), 6);
    let before = bytes(bed).await;
    assert_eq!(bed.store.destroy_deleted(30 * DAY).await.unwrap(), Some(5));
    assert_eq!(bed.store.destroy_deleted(30 * DAY).await.unwrap(), Some(0));
    let after = bytes(bed).await;
    let gone: Vec<String> = before.into_iter().filter(|it| !after.contains(it)).collect();
    assert_eq!(gone.len(), 10);
    is_nowhere(bed, &gone).await;
    let states = states(bed).await;
    assert_eq!(states[0], (6, VersionState::Current));
    assert!(states[1..].iter().all(|(_, state)| *state == VersionState::Destroyed), "{states:?}");
    let first = bed.store.version(&id, Genesys, version(1)).await.unwrap().unwrap();
    assert_eq!(first.credentials.text("clientSecret"), Some("stays"));

    delete(bed).await;
    age(31).await;
    assert_eq!(bed.store.destroy_deleted(30 * DAY).await.unwrap(), Some(1));
    is_none(undelete(bed).await, NoVersion::Destroyed);
    let entries = "SELECT actor_kind || ' ' || outcome || ' ' || times FROM tenant_audit
         WHERE action = 'credentials.destroy' ORDER BY seq";
    assert_eq!(bed.texts(entries).await, ["system ok 5", "system ok 1"]);
}

pub(super) async fn versions_are_listed_in_pages(bed: &Bed) {
    tenant_with(bed, 5).await;
    let id = tenant_id("t1");
    let list = async |kind, limit, before: Option<i64>| {
        let page = VersionsPage { limit, before: before.map(version) };
        bed.store.versions(&id, kind, page).await.unwrap()
    };
    let all = list(Whatsapp, 100, None).await.unwrap();
    assert_eq!(all.iter().map(|one| one.version).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
    assert_eq!(all[0].tag(), tag(bed).await);
    assert!(all[0].superseded_at.is_none() && all.iter().all(|one| one.deleted_at.is_none()));
    for pair in all.windows(2) {
        let [newer, older] = pair else { unreachable!("two at a time") };
        assert_eq!(older.generation, newer.generation);
        assert!(older.valid_from <= newer.valid_from);
        assert!(older.superseded_at.unwrap() >= older.valid_from);
    }
    assert_eq!(list(Whatsapp, 2, None).await.unwrap(), all[..2]);
    assert_eq!(list(Whatsapp, 2, Some(4)).await.unwrap(), all[2..4]);
    assert_eq!(list(Whatsapp, 2, Some(2)).await.unwrap(), all[4..]);
    assert_eq!(list(Whatsapp, 2, Some(1)).await.unwrap(), []);
    assert!(list(Genesys, 2, None).await.is_none());
    let page = VersionsPage { limit: 2, before: None };
    assert!(bed.store.versions(&tenant_id("nobody"), Whatsapp, page).await.unwrap().is_none());
}

/// What was deleted by hand under an older version has its retention too.
pub(super) async fn what_was_deleted_before_is_known_as_deleted(bed: &Bed) {
    let bed = bed.unmigrated().await;
    bed.migrate_to(4).await;
    let row = |version| crate::harness::keyring::Row { tenant: "t1", kind: Whatsapp, version };
    bed.by_hand("INSERT INTO tenants (id, name) VALUES ('t1', 'T')").await.unwrap();
    bed.by_hand("INSERT INTO tenant_sealing DEFAULT VALUES").await.unwrap();
    bed.by_hand(&bed.insert_sealed(row(1), "{\"access_token\": \"one\"}")).await.unwrap();
    bed.by_hand("DELETE FROM tenant_credentials").await.unwrap();
    bed.migrate().await.unwrap();
    assert_eq!(states(&bed).await, [(1, VersionState::Deleted)]);
    assert_eq!(undelete(&bed).await.unwrap(), 2);
    assert_eq!(current(&bed, Whatsapp).await.unwrap().credentials, token("one"));
}
