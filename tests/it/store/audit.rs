//! The audit trail, in both stores.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenant_service::domain::{
    Action, By, CredentialType, Credentials, Entry, Limits, Outcome, TenantPatch,
};
use tenant_service::store::{AuditQuery, AuditRecord, Break, Order, Standing, StoreError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::bed::{ALWAYS, Backend, Bed, CONNECTIONS, by, new_tenant, tenant_id};
use super::tokens::{create, new};

const WHATSAPP: CredentialType = CredentialType::Whatsapp;
const ROWS: &str = "SELECT count(*) FROM tenant_audit";

fn all(order: Order) -> AuditQuery {
    AuditQuery {
        order,
        after: None,
        limit: 200,
        tenant: None,
        action: None,
        outcome: None,
        actor: None,
        from: None,
        to: None,
        limits: Limits::NONE,
    }
}

/// Chains all that there is to chain.
async fn chain(bed: &Bed) {
    while bed.store.chain().await.unwrap().is_some_and(|chained| chained.more) {}
}

/// Up to where the chain holds, if it does.
async fn verify(bed: &Bed) -> Result<i64, Break> {
    let standing: Standing = bed.store.audit_standing().await.unwrap();
    let chain = standing.chain.ok_or(Break::NoChain)?;
    let mut walk = bed.store.walk(&chain)?;
    while walk.at() < chain.head.number {
        let rows = bed.store.chained_after(walk.at()).await.unwrap();
        if rows.is_empty() {
            break;
        }
        for row in rows.iter().take_while(|row| row.number <= Some(chain.head.number)) {
            walk.step(row)?;
        }
    }
    walk.ends(&chain.head)?;
    let rows = standing.beyond + standing.behind;
    if rows > 0 { Err(Break::Outside { rows }) } else { Ok(walk.at()) }
}

/// An entry as one line.
fn line(record: &AuditRecord) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let version = record.version.map_or_else(String::new, |version| format!(" v{version}"));
    let names = record.field_names().unwrap().join(",");
    let (tenant, kind) = (text(&record.tenant_id), text(&record.credential_type));
    format!("{} {tenant} {kind}{version} [{names}] {}", record.action, record.outcome)
}

async fn lines(bed: &Bed) -> Vec<String> {
    chain(bed).await;
    let page = bed.store.audit_page(&all(Order::Oldest)).await.unwrap();
    page.records.iter().map(line).collect()
}

fn entry(n: usize) -> Entry {
    let by = By {
        address: Some(std::net::Ipv4Addr::from(u32::try_from(n).unwrap()).into()),
        request_id: Some(format!("r{n}")),
        ..By::command("test")
    };
    Entry::of(by, Action::CredentialsReveal).to(&tenant_id("t1"))
}

async fn append(bed: &Bed, count: usize) {
    let entries: Vec<Entry> = (0..count).map(entry).collect();
    bed.store.append(&entries).await.unwrap();
}

/// Takes away what keeps a hand from the trail, as the owner of the tables can.
pub(super) async fn unguard(bed: &Bed) {
    let sql = match &bed.backend {
        Backend::Postgres(..) => {
            "ALTER TABLE tenant_audit DISABLE TRIGGER USER; \
             ALTER TABLE tenant_audit_chain DISABLE TRIGGER tenant_audit_chain_update, \
                 DISABLE TRIGGER tenant_audit_chain_delete, \
                 DISABLE TRIGGER tenant_audit_chain_truncate"
        }
        Backend::Sqlite(..) => {
            "DROP TRIGGER tenant_audit_update; DROP TRIGGER tenant_audit_delete; \
             DROP TRIGGER tenant_audit_chain_update; DROP TRIGGER tenant_audit_chain_delete"
        }
    };
    bed.by_hand(sql).await.unwrap();
}

pub(super) async fn a_write_and_its_entry_are_one(bed: &Bed) {
    let id = tenant_id("t1");
    let mut tenant = new_tenant("t1", "1", "i1");
    let value = json!({"access_token": "hunter2", "more": {"nested-hunter2": 1}});
    let credentials = Credentials::new(WHATSAPP, value).unwrap();
    tenant.credentials = vec![(WHATSAPP, credentials.clone())];
    bed.store.create_tenant(&tenant, &by()).await.unwrap();
    bed.store.set_credentials(&id, WHATSAPP, &credentials, None, &ALWAYS, &by()).await.unwrap();
    let patch = TenantPatch { name: Some("Other".parse().unwrap()), ..TenantPatch::default() };
    bed.store.patch_tenant(&id, &patch, &ALWAYS, &by()).await.unwrap();
    // What comes to nothing enters nothing.
    bed.store.patch_tenant(&id, &patch, &ALWAYS, &by()).await.unwrap();
    assert!(bed.store.create_tenant(&new_tenant("t2", "1", "i2"), &by()).await.is_err());
    assert!(bed.store.delete_tenant(&tenant_id("nobody"), &ALWAYS, &by()).await.unwrap().is_none());
    bed.store.delete_tenant(&id, &ALWAYS, &by()).await.unwrap();
    assert_eq!(
        lines(bed).await,
        [
            "tenant.create t1  [name,status,phone_number_id,genesys_integration_id] ok",
            "credentials.set t1 whatsapp v1 [access_token,more] ok",
            "credentials.set t1 whatsapp v2 [access_token,more] ok",
            "tenant.update t1  [name] ok",
            "tenant.delete t1  [] ok",
        ]
    );
    let page = bed.store.audit_page(&all(Order::Newest)).await.unwrap();
    assert!(!format!("{:?}", page.records).contains("hunter2"));
    let deleted = &page.records[0];
    assert_eq!(
        (deleted.actor_kind.as_str(), deleted.actor_id.as_deref()),
        ("command", Some("test"))
    );
    assert_eq!(deleted.number, Some(5));
    assert_eq!(verify(bed).await, Ok(5));
}

pub(super) async fn a_trail_that_cannot_be_written_stops_writes(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    let before = bed.number(ROWS).await;
    let (deny, allow) = match &bed.backend {
        Backend::Postgres(..) => (
            "ALTER TABLE tenant_audit ADD CONSTRAINT never CHECK (seq < 0) NOT VALID",
            "ALTER TABLE tenant_audit DROP CONSTRAINT never",
        ),
        Backend::Sqlite(..) => (
            "CREATE TRIGGER never BEFORE INSERT ON tenant_audit \
             BEGIN SELECT raise(ABORT, 'never'); END",
            "DROP TRIGGER never",
        ),
    };
    bed.by_hand(deny).await.unwrap();
    let id = tenant_id("t1");
    let credentials = Credentials::new(WHATSAPP, json!({"access_token": "x"})).unwrap();
    let patch = TenantPatch { name: Some("Other".parse().unwrap()), ..TenantPatch::default() };
    let refused = [
        bed.store.create_tenant(&new_tenant("t2", "2", "i2"), &by()).await.err(),
        bed.store.set_credentials(&id, WHATSAPP, &credentials, None, &ALWAYS, &by()).await.err(),
        bed.store.patch_tenant(&id, &patch, &ALWAYS, &by()).await.err(),
        bed.store.delete_tenant(&id, &ALWAYS, &by()).await.err(),
        bed.store.append(&[entry(1)]).await.err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(StoreError::Audit(_))), "{error:?}");
    }
    assert!(bed.store.tenant(&tenant_id("t2")).await.unwrap().is_none());
    assert_eq!(bed.store.tenant(&id).await.unwrap().unwrap().name, "t1");
    assert!(bed.store.credentials(&id, WHATSAPP).await.unwrap().is_none());
    assert_eq!(bed.number(ROWS).await, before);
    bed.by_hand(allow).await.unwrap();
    assert_eq!(bed.set("t1", WHATSAPP, json!({"access_token": "x"})).await, 1);
}

pub(super) async fn rows_are_only_added(bed: &Bed) {
    append(bed, 3).await;
    chain(bed).await;
    append(bed, 1).await;
    let mut forbidden = vec![
        "UPDATE tenant_audit SET outcome = 'failed'",
        "UPDATE tenant_audit SET outcome = 'failed', number = 4, hash = '' WHERE number IS NULL",
        "UPDATE tenant_audit SET number = number + 10 WHERE number = 3",
        "UPDATE tenant_audit SET number = NULL, hash = NULL WHERE number = 3",
        "DELETE FROM tenant_audit WHERE number = 1",
        "DELETE FROM tenant_audit WHERE number IS NULL",
        "UPDATE tenant_audit_chain SET head = 2",
        "DELETE FROM tenant_audit_chain",
    ];
    if matches!(bed.backend, Backend::Postgres(..)) {
        forbidden.extend(["TRUNCATE tenant_audit", "TRUNCATE tenant_audit_chain"]);
        // Which turns ordinary triggers off.
        forbidden.push("SET session_replication_role = replica; DELETE FROM tenant_audit");
    }
    for sql in forbidden {
        assert!(bed.by_hand(sql).await.is_err(), "{sql}");
    }
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(4));
}

pub(super) async fn each_kind_of_tampering_is_found(bed: &Bed) {
    append(bed, 8).await;
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(8));
    unguard(bed).await;
    bed.by_hand(
        "CREATE TABLE kept AS SELECT * FROM tenant_audit; \
         CREATE TABLE kept_chain AS SELECT * FROM tenant_audit_chain",
    )
    .await
    .unwrap();
    let missing = |from, to| Break::Missing { from, to };
    let changed = |number| Break::Changed { number };
    let cases = [
        ("UPDATE tenant_audit SET outcome = 'denied' WHERE number = 3", changed(3)),
        ("UPDATE tenant_audit SET address = NULL WHERE number = 8", changed(8)),
        ("UPDATE tenant_audit SET times = 2 WHERE number = 1", changed(1)),
        ("DELETE FROM tenant_audit WHERE number IN (4, 5)", missing(4, 5)),
        ("DELETE FROM tenant_audit WHERE number = 1", missing(1, 1)),
        ("DELETE FROM tenant_audit WHERE number > 6", missing(7, 8)),
        ("DELETE FROM tenant_audit", missing(1, 8)),
        // Two rows change places.
        (
            "UPDATE tenant_audit SET number = -1 WHERE number = 2; \
             UPDATE tenant_audit SET number = 2 WHERE number = 3; \
             UPDATE tenant_audit SET number = 3 WHERE number = -1",
            changed(2),
        ),
        // One is put in, and all behind it move on.
        (
            "UPDATE tenant_audit SET number = -number WHERE number > 4; \
             UPDATE tenant_audit SET number = 1 - number WHERE number < 0; \
             INSERT INTO tenant_audit (actor_kind, action, outcome, number, hash) \
             SELECT actor_kind, action, outcome, 5, hash FROM kept WHERE number = 4",
            changed(5),
        ),
        (
            "INSERT INTO tenant_audit (actor_kind, action, outcome, number, hash) \
             SELECT actor_kind, action, outcome, 9, hash FROM kept WHERE number = 4",
            Break::Outside { rows: 1 },
        ),
        // The end is cut off, and the head moved to fit.
        (
            "DELETE FROM tenant_audit WHERE number > 6; UPDATE tenant_audit_chain SET head = 6, \
             head_hash = (SELECT hash FROM kept WHERE number = 6)",
            Break::Head { number: 6 },
        ),
        // So is the beginning.
        (
            "DELETE FROM tenant_audit WHERE number < 3; UPDATE tenant_audit_chain SET anchor = 2, \
             anchor_hash = (SELECT hash FROM kept WHERE number = 2)",
            Break::Anchor,
        ),
        ("UPDATE tenant_audit_chain SET sealed = wrapped_key", Break::ForgedKey),
        (
            "UPDATE tenant_audit_chain SET key_id = '0123456789abcdef'",
            Break::NoKey { key_id: "0123456789abcdef".to_owned() },
        ),
        ("DELETE FROM tenant_audit_chain", Break::NoChain),
    ];
    for (tamper, found) in cases {
        bed.by_hand(tamper).await.unwrap();
        assert_eq!(verify(bed).await, Err(found), "{tamper}");
        bed.by_hand(
            "DELETE FROM tenant_audit; INSERT INTO tenant_audit SELECT * FROM kept; \
             DELETE FROM tenant_audit_chain; \
             INSERT INTO tenant_audit_chain SELECT * FROM kept_chain",
        )
        .await
        .unwrap();
        assert_eq!(verify(bed).await, Ok(8), "undone: {tamper}");
    }
}

pub(super) async fn a_broken_chain_is_not_gone_on_with(bed: &Bed) {
    append(bed, 4).await;
    chain(bed).await;
    unguard(bed).await;
    bed.by_hand("DELETE FROM tenant_audit WHERE number = 4").await.unwrap();
    append(bed, 1).await;
    let refused = bed.store.chain().await;
    assert!(
        matches!(refused, Err(StoreError::Chain(Break::Missing { from: 4, to: 4 }))),
        "{refused:?}"
    );
    assert_eq!(bed.number("SELECT count(*) FROM tenant_audit WHERE number IS NULL").await, 1);
    bed.by_hand("DELETE FROM tenant_audit_chain").await.unwrap();
    let refused = bed.store.chain().await;
    assert!(matches!(refused, Err(StoreError::Chain(Break::NoChain))), "{refused:?}");
}

/// What the chain is gone on from is the row at its end, signed as that.
pub(super) async fn an_end_that_was_moved_is_not_gone_on_from(bed: &Bed) {
    append(bed, 4).await;
    chain(bed).await;
    unguard(bed).await;
    append(bed, 1).await;
    bed.by_hand("CREATE TABLE kept_chain AS SELECT * FROM tenant_audit_chain").await.unwrap();
    for (tamper, undo, found) in [
        (
            "UPDATE tenant_audit_chain SET head = 3, \
             head_hash = (SELECT hash FROM tenant_audit WHERE number = 3)",
            "DELETE FROM tenant_audit_chain; INSERT INTO tenant_audit_chain SELECT * FROM kept_chain",
            Break::Head { number: 3 },
        ),
        (
            "UPDATE tenant_audit SET hash = (SELECT head_mac FROM kept_chain) WHERE number = 4",
            "UPDATE tenant_audit SET hash = (SELECT head_hash FROM kept_chain) WHERE number = 4",
            Break::Changed { number: 4 },
        ),
    ] {
        bed.by_hand(tamper).await.unwrap();
        let refused = bed.store.chain().await;
        assert!(matches!(&refused, Err(StoreError::Chain(it)) if *it == found), "{refused:?}");
        bed.by_hand(undo).await.unwrap();
    }
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(5));
}

/// Whoever puts an old state back and lets the service go on from there has two chains under one key, and
/// an end for each. The end of one is none of the other.
pub(super) async fn the_end_of_another_history_is_found(bed: &Bed) {
    append(bed, 3).await;
    chain(bed).await;
    unguard(bed).await;
    let keep = "CREATE TABLE kept_chain AS SELECT * FROM tenant_audit_chain";
    bed.by_hand(keep).await.unwrap();
    append(bed, 1).await;
    chain(bed).await;
    bed.by_hand(
        "CREATE TABLE kept_end AS SELECT * FROM tenant_audit_chain; \
         DELETE FROM tenant_audit WHERE number = 4; \
         DELETE FROM tenant_audit_chain; INSERT INTO tenant_audit_chain SELECT * FROM kept_chain",
    )
    .await
    .unwrap();
    append(bed, 1).await;
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(4));
    let other =
        "DELETE FROM tenant_audit_chain; INSERT INTO tenant_audit_chain SELECT * FROM kept_end";
    bed.by_hand(other).await.unwrap();
    assert_eq!(verify(bed).await, Err(Break::Head { number: 4 }));
    let refused = bed.store.chain().await;
    let is_it = matches!(&refused, Err(StoreError::Chain(Break::Changed { number: 4 })));
    assert!(is_it, "{refused:?}");
}

/// What is sealed for something else does not open as the chain's key.
pub(super) async fn another_key_of_the_service_is_not_the_chain_s(bed: &Bed) {
    create(bed, &new(Limits::NONE)).await;
    chain(bed).await;
    unguard(bed).await;
    let columns = ["sealed", "key_id", "wrapped_key"];
    let values = columns.map(|name| format!("{name} = (SELECT {name} FROM tenant_token_pepper)"));
    let sql = format!("UPDATE tenant_audit_chain SET {}", values.join(", "));
    bed.by_hand(&sql).await.unwrap();
    assert_eq!(verify(bed).await, Err(Break::ForgedKey));
}

pub(super) async fn what_is_pruned_leaves_a_signed_beginning(bed: &Bed) {
    append(bed, 6).await;
    chain(bed).await;
    let year = Duration::from_hours(24 * 365);
    assert_eq!(bed.store.prune_audit(year).await.unwrap(), Some(0));
    append(bed, 2).await;
    // What is not chained is not pruned, however old it is.
    assert_eq!(bed.store.prune_audit(Duration::ZERO).await.unwrap(), Some(6));
    assert_eq!(bed.number(ROWS).await, 2);
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(8));
    let page = bed.store.audit_page(&all(Order::Oldest)).await.unwrap();
    let numbers: Vec<_> = page.records.iter().filter_map(|record| record.number).collect();
    assert_eq!(numbers, [7, 8]);
    // All of it, and the chain goes on all the same.
    assert_eq!(bed.store.prune_audit(Duration::ZERO).await.unwrap(), Some(2));
    append(bed, 1).await;
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(9));

    // Evidence is not pruned.
    unguard(bed).await;
    bed.by_hand("UPDATE tenant_audit SET outcome = 'denied'").await.unwrap();
    let refused = bed.store.prune_audit(Duration::ZERO).await;
    assert!(matches!(refused, Err(StoreError::Chain(Break::Changed { number: 9 }))), "{refused:?}");
    assert_eq!(bed.number(ROWS).await, 1);
}

pub(super) async fn pages_are_filtered_and_go_on(bed: &Bed) {
    append(bed, 5).await;
    bed.store.append(&[entry(9).ending(Outcome::Denied)]).await.unwrap();
    bed.create("t2", "2", "i2").await;
    // Without a number there is no place to show it in.
    assert!(bed.store.audit_page(&all(Order::Newest)).await.unwrap().records.is_empty());
    chain(bed).await;
    let numbers = async |query: &AuditQuery| {
        let page = bed.store.audit_page(query).await.unwrap();
        let numbers: Vec<i64> = page.records.iter().filter_map(|record| record.number).collect();
        (numbers, page.last, page.more)
    };
    let first = AuditQuery { limit: 3, ..all(Order::Oldest) };
    assert_eq!(numbers(&first).await, (vec![1, 2, 3], Some(3), true));
    let next = AuditQuery { after: Some(3), ..first.clone() };
    assert_eq!(numbers(&next).await, (vec![4, 5, 6], Some(6), true));
    let last = AuditQuery { after: Some(6), ..first };
    assert_eq!(numbers(&last).await, (vec![7], Some(7), false));
    let end = AuditQuery { after: Some(7), ..last };
    assert_eq!(numbers(&end).await, (vec![], None, false));
    let newest = AuditQuery { limit: 2, ..all(Order::Newest) };
    assert_eq!(numbers(&newest).await, (vec![7, 6], Some(6), true));
    let next = AuditQuery { after: Some(2), ..newest };
    assert_eq!(numbers(&next).await, (vec![1], Some(1), false));

    let denied = AuditQuery { outcome: Some("denied".into()), ..all(Order::Oldest) };
    assert_eq!(numbers(&denied).await, (vec![6], Some(7), false));
    let created = AuditQuery { action: Some("tenant.create".into()), ..all(Order::Newest) };
    assert_eq!(numbers(&created).await, (vec![7], Some(1), false));
    let of_t2 = AuditQuery { tenant: Some(tenant_id("t2")), ..all(Order::Newest) };
    assert_eq!(numbers(&of_t2).await, (vec![7], Some(7), false));
    let of_nobody = AuditQuery { actor: Some("nobody".into()), ..all(Order::Newest) };
    assert_eq!(numbers(&of_nobody).await.0, Vec::<i64>::new());
    let of_tests = AuditQuery { actor: Some("test".into()), ..all(Order::Newest) };
    assert_eq!(numbers(&of_tests).await.0.len(), 7);
    let later =
        AuditQuery { from: Some("2100-01-01T00:00:00Z".parse().unwrap()), ..all(Order::Newest) };
    assert_eq!(numbers(&later).await.0, Vec::<i64>::new());
    let sooner = AuditQuery { to: later.from, from: None, ..later };
    assert_eq!(numbers(&sooner).await.0.len(), 7);
}

/// Rows commit in another order than they draw their numbers, one transaction stays open throughout, and two
/// replicas chain at the same time.
pub(super) async fn concurrent_writers_leave_one_chain(bed: &Bed) {
    for n in 0..8 {
        bed.create(&format!("t{n}"), &format!("{n}"), &format!("i{n}")).await;
    }
    let held = match &bed.backend {
        Backend::Postgres(_, database) => {
            let mut held = database.pool().await.begin().await.unwrap();
            let insert = "INSERT INTO tenant_audit (actor_kind, action, outcome) \
                          VALUES ('command', 'held', 'ok')";
            sqlx::query(insert).execute(&mut *held).await.unwrap();
            Some(held)
        }
        Backend::Sqlite(..) => None,
    };
    // As many at a time as have a connection, beside those that chain: whoever waits for one longer than
    // two seconds is refused, and how fast the machine is, is not what is looked at.
    let at_once = match &bed.backend {
        Backend::Postgres(..) => CONNECTIONS as usize - 2,
        Backend::Sqlite(..) => 4,
    };
    let places = Arc::new(Semaphore::new(at_once));
    let mut writers = JoinSet::new();
    for n in 0..32 {
        let (store, places) = (bed.store.clone(), Arc::clone(&places));
        writers.spawn(async move {
            let id = tenant_id(&format!("t{}", n % 8));
            for _ in 0..5 {
                let _place = places.acquire().await.unwrap();
                let credentials = Credentials::new(WHATSAPP, json!({"access_token": "x"})).unwrap();
                let set =
                    store.set_credentials(&id, WHATSAPP, &credentials, None, &ALWAYS, &by()).await;
                set.unwrap().unwrap();
                store.append(&[entry(n)]).await.unwrap();
            }
        });
    }
    let mut chainers = JoinSet::new();
    for _ in 0..2 {
        let store = bed.store.clone();
        chainers.spawn(async move {
            loop {
                store.chain().await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    writers.join_all().await;
    let chained = async || bed.store.audit_standing().await.unwrap().unchained == 0;
    let deadline = Duration::from_secs(30);
    crate::harness::eventually(deadline, "what is committed is chained", chained).await;
    // Nobody has waited for the one that is still open; it comes last, and is not left out.
    assert_eq!(verify(bed).await, Ok(8 + 32 * 10));
    if let Some(held) = held {
        held.commit().await.unwrap();
        crate::harness::eventually(deadline, "the late one is chained", chained).await;
        assert_eq!(verify(bed).await, Ok(8 + 32 * 10 + 1));
        let last = bed.texts("SELECT action FROM tenant_audit ORDER BY number DESC LIMIT 1").await;
        assert_eq!(last, ["held"]);
    }
    chainers.shutdown().await;
    assert_eq!(
        bed.number("SELECT count(DISTINCT number) FROM tenant_audit").await,
        bed.number(ROWS).await
    );
}

/// What somebody puts there by hand must not keep what follows it from being chained.
pub(super) async fn a_row_that_cannot_be_read_does_not_stop_the_chain(bed: &Bed) {
    let sql = match &bed.backend {
        Backend::Postgres(..) => {
            "INSERT INTO tenant_audit (actor_kind, action, outcome, fields, occurred_at) \
             VALUES ('x', '', '', ARRAY[NULL], 'infinity')"
        }
        Backend::Sqlite(..) => {
            "INSERT INTO tenant_audit (actor_kind, action, outcome, fields, occurred_at) \
             VALUES ('x', '', '', '[null]', 'infinity')"
        }
    };
    bed.by_hand(sql).await.unwrap();
    append(bed, 1).await;
    chain(bed).await;
    assert_eq!(verify(bed).await, Ok(2));
    assert_eq!(bed.store.audit_page(&all(Order::Newest)).await.unwrap().records.len(), 2);
}
