//! Credentials, in both stores.

use std::collections::BTreeSet;

use serde_json::json;
use tenant_service::domain::{CredentialType, Credentials};
use tenant_service::store::{GenesysLink, StoreError};
use tokio::task::JoinSet;

use super::bed::{ALWAYS, Bed, by, lines, tenant_id};

const WHATSAPP: CredentialType = CredentialType::Whatsapp;
const GENESYS: CredentialType = CredentialType::Genesys;

const HISTORY: &str = "SELECT count(*) FROM tenant_credential_history";

pub(super) async fn versions_follow_one_another(bed: &Bed) {
    let id = tenant_id("t1");
    bed.create("t1", "1", "i1").await;
    let mut ids = BTreeSet::new();
    for version in 1..=3 {
        let value = json!({"access_token": format!("made up {version}"), "more": {"n": [1.5]}});
        let credentials = Credentials::new(WHATSAPP, value).unwrap();
        let set =
            bed.store.set_credentials(&id, WHATSAPP, &credentials, None, &ALWAYS, &by()).await;
        let set = set.unwrap().unwrap();
        assert_eq!(set.value.version, version);
        assert_eq!(
            lines(&set.changes),
            [format!(
                "credentials.updated v{version}: integration:i1 phone:1 tenant:t1 \
                 tenant:t1:credentials:whatsapp"
            )]
        );
        assert_eq!(set.value.tenant.revision, set.changes[0].seq);
        assert_eq!(set.value.tenant.genesys_integration_id.unwrap().as_str(), "i1");

        let found = bed.store.credentials(&id, WHATSAPP).await.unwrap().unwrap();
        assert_eq!((found.version, &found.id), (version, &set.value.id));
        assert_eq!(found.credentials, credentials);
        ids.insert(found.id);
    }
    // One id through all versions, and it is one.
    assert_eq!(ids.len(), 1);
    assert!(ids.iter().all(|id| id.parse::<uuid::Uuid>().is_ok()), "{ids:?}");
    assert_eq!(bed.number(HISTORY).await, 2);
    assert_eq!(bed.number("SELECT min(version) FROM tenant_credential_history").await, 1);

    // The other type counts for itself, and has an id of its own.
    assert_eq!(bed.set("t1", GENESYS, json!({"clientId": "c"})).await, 1);
    let other = bed.store.credentials(&id, GENESYS).await.unwrap().unwrap();
    assert!(!ids.contains(&other.id));
}

fn link(integration: &str) -> GenesysLink {
    GenesysLink {
        integration_id: integration.parse().unwrap(),
        region: "mypurecloud.ie".parse().unwrap(),
    }
}

pub(super) async fn a_link_changes_the_tenant_in_the_same_transaction(bed: &Bed) {
    let id = tenant_id("t1");
    bed.create("t1", "1", "i1").await;
    let credentials = Credentials::new(GENESYS, json!({"clientId": "c"})).unwrap();
    let set = bed
        .store
        .set_credentials(&id, GENESYS, &credentials, Some(&link("i2")), &ALWAYS, &by())
        .await;
    let set = set.unwrap().unwrap();
    assert_eq!(
        lines(&set.changes),
        [
            "tenant.updated: integration:i1 integration:i2 phone:1 tenant:t1",
            "credentials.updated v1: integration:i2 phone:1 tenant:t1 tenant:t1:credentials:genesys"
        ]
    );
    assert_eq!(set.value.tenant.genesys_integration_id.as_ref().unwrap().as_str(), "i2");
    assert_eq!(set.value.tenant.revision, set.changes[1].seq);
    let tenant = bed.store.tenant(&id).await.unwrap().unwrap();
    assert_eq!(tenant.genesys_integration_id, set.value.tenant.genesys_integration_id);
    assert_eq!(tenant.genesys_region.as_deref(), Some("mypurecloud.ie"));
    assert_eq!(tenant.revision, set.value.tenant.revision);

    // The same link again: no change of the tenant's own.
    let set = bed
        .store
        .set_credentials(&id, GENESYS, &credentials, Some(&link("i2")), &ALWAYS, &by())
        .await;
    let set = set.unwrap().unwrap();
    assert_eq!((set.changes.len(), set.value.version), (1, 2));
}

pub(super) async fn a_link_that_another_has_changes_nothing(bed: &Bed) {
    let id = tenant_id("t1");
    bed.create("t1", "1", "i1").await;
    bed.create("t2", "2", "i2").await;
    bed.set("t1", GENESYS, json!({"clientId": "old"})).await;
    let before = bed.snapshot().await;
    let credentials = Credentials::new(GENESYS, json!({"clientId": "new"})).unwrap();
    let refused = bed
        .store
        .set_credentials(&id, GENESYS, &credentials, Some(&link("i2")), &ALWAYS, &by())
        .await;
    assert!(matches!(refused, Err(StoreError::Duplicate("genesys_integration_id"))));
    assert_eq!(bed.since(&before).await, []);
    let found = bed.store.credentials(&id, GENESYS).await.unwrap().unwrap();
    assert_eq!((found.version, found.credentials.text("clientId")), (1, Some("old")));
    assert_eq!(bed.number(HISTORY).await, 0);
}

pub(super) async fn concurrent_writes_all_succeed(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    let before = bed.snapshot().await;
    let mut writes = JoinSet::new();
    for n in 0..64 {
        let store = bed.store.clone();
        writes.spawn(async move {
            let value = json!({"access_token": format!("made up {n}")});
            let credentials = Credentials::new(WHATSAPP, value).unwrap();
            let set = store
                .set_credentials(&tenant_id("t1"), WHATSAPP, &credentials, None, &ALWAYS, &by())
                .await;
            set.unwrap().unwrap().value.version
        });
    }
    let versions: BTreeSet<_> = writes.join_all().await.into_iter().collect();
    assert_eq!(versions, (1..=64).collect());

    assert_eq!(bed.number("SELECT count(*) FROM tenant_credentials").await, 1);
    assert_eq!(bed.number("SELECT version FROM tenant_credentials").await, 64);
    assert_eq!(bed.number(HISTORY).await, 63);
    assert_eq!(
        bed.number("SELECT count(DISTINCT version) FROM tenant_credential_history").await,
        63
    );
    // Numbered in the order in which they were made, for they are one tenant's.
    let changes = bed.since(&before).await;
    let logged: Vec<_> = changes.iter().filter_map(|change| change.version).collect();
    assert_eq!(logged, (1..=64).collect::<Vec<_>>());
    let tenant = bed.store.tenant(&tenant_id("t1")).await.unwrap().unwrap();
    assert_eq!(tenant.revision, changes[63].seq);
}

pub(super) async fn the_counter_goes_on_after_a_revocation(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    for version in 1..=2 {
        assert_eq!(bed.set("t1", WHATSAPP, json!({"access_token": "made up"})).await, version);
    }
    let before = bed.snapshot().await;
    bed.by_hand("DELETE FROM tenant_credentials").await.unwrap();
    assert_eq!(
        lines(&bed.since(&before).await),
        ["credentials.revoked v2: integration:i1 phone:1 tenant:t1 tenant:t1:credentials:whatsapp"]
    );
    assert!(bed.store.credentials(&tenant_id("t1"), WHATSAPP).await.unwrap().is_none());
    assert_eq!(bed.set("t1", WHATSAPP, json!({"access_token": "made up"})).await, 3);
    assert_eq!(bed.number(HISTORY).await, 2);
}
