//! Tenants, in both stores.

use serde_json::{Map, Value, json};
use tenant_service::domain::{
    ChangeKind, CredentialType, Credentials, Edit, Limits, Lookup, NewTenant, SETTINGS_DEPTH,
    SETTINGS_LIMIT, Settings, Status, Tenant, TenantPatch,
};
use tenant_service::store::{Page, StoreError};

use super::bed::{ALWAYS, Bed, by, lines, new_tenant, tenant_id};

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { unreachable!("an object was given") };
    fields
}

/// What a look-up finds of this tenant.
fn lookup(tenant: &Tenant) -> Lookup {
    Lookup {
        id: tenant.id.clone(),
        name: tenant.name.clone(),
        phone_number_id: tenant.phone_number_id.clone(),
        genesys_integration_id: tenant.genesys_integration_id.clone(),
        status: tenant.status,
        revision: tenant.revision,
    }
}

pub(super) async fn a_tenant_is_found_by_each_of_its_names(bed: &Bed) {
    let wanted = NewTenant {
        name: "Ünïcode & Söhne '\"".parse().unwrap(),
        email: Some("ops@example.org".parse().unwrap()),
        display_phone_number: Some("+49 30 1".parse().unwrap()),
        genesys_org_id: Some("org".parse().unwrap()),
        genesys_region: Some("aps1".parse().unwrap()),
        settings: Settings::new(object(json!({"a": {"b": [1, 2.5, null, "ß"]}}))).unwrap(),
        ..new_tenant("t1", "111", "i-1")
    };
    let created = bed.store.create_tenant(&wanted, &by()).await.unwrap();
    let tenant = &created.value;
    assert_eq!(tenant.id, wanted.id);
    assert_eq!(tenant.name, wanted.name.as_str());
    assert_eq!(tenant.email.as_deref(), Some("ops@example.org"));
    assert_eq!(tenant.status, Status::Active);
    assert_eq!(tenant.phone_number_id, wanted.phone_number_id);
    assert_eq!(tenant.display_phone_number.as_deref(), Some("+49 30 1"));
    assert_eq!(tenant.genesys_integration_id, wanted.genesys_integration_id);
    assert_eq!(tenant.genesys_org_id.as_deref(), Some("org"));
    assert_eq!(tenant.genesys_region.as_deref(), Some("aps1.pure.cloud"));
    assert_eq!(&tenant.settings, wanted.settings.as_object());

    assert_eq!(lines(&created.changes), ["tenant.created: integration:i-1 phone:111 tenant:t1"]);
    assert_eq!(created.changes[0].tenant_id.as_deref(), Some("t1"));
    assert_eq!(tenant.revision, created.changes[0].seq);

    let by_phone = bed.store.tenant_by_phone(&"111".parse().unwrap()).await.unwrap();
    let by_integration = bed.store.tenant_by_integration(&"i-1".parse().unwrap()).await.unwrap();
    for found in [by_phone, by_integration] {
        assert_eq!(found, Some(lookup(tenant)));
    }
    assert_eq!(bed.store.tenant(&tenant_id("t1")).await.unwrap().as_ref(), Some(tenant));
    bed.store.ping().await.unwrap();
}

pub(super) async fn absence_is_no_error(bed: &Bed) {
    assert!(bed.store.is_empty().await.unwrap());
    let nobody = tenant_id("nobody");
    let whatsapp = CredentialType::Whatsapp;
    let credentials = Credentials::new(whatsapp, json!({"access_token": "made up"})).unwrap();
    assert!(bed.store.tenant_by_phone(&"1".parse().unwrap()).await.unwrap().is_none());
    assert!(bed.store.tenant_by_integration(&"i".parse().unwrap()).await.unwrap().is_none());
    assert!(bed.store.tenant(&nobody).await.unwrap().is_none());
    assert!(bed.store.credentials(&nobody, whatsapp).await.unwrap().is_none());
    assert!(
        bed.store
            .patch_tenant(&nobody, &TenantPatch::default(), &ALWAYS, &by())
            .await
            .unwrap()
            .is_none()
    );
    assert!(bed.store.delete_tenant(&nobody, &ALWAYS, &by()).await.unwrap().is_none());
    let set =
        bed.store.set_credentials(&nobody, whatsapp, &credentials, None, &ALWAYS, &by()).await;
    assert!(set.unwrap().is_none());

    bed.create("t1", "", "").await;
    assert!(!bed.store.is_empty().await.unwrap());
    assert!(bed.store.credentials(&tenant_id("t1"), whatsapp).await.unwrap().is_none());
}

pub(super) async fn a_tenant_is_created_with_its_credentials(bed: &Bed) {
    let whatsapp = (CredentialType::Whatsapp, json!({"access_token": "made up", "n": [1.5]}));
    let genesys = (CredentialType::Genesys, json!({"clientId": "c"}));
    let credentials = [whatsapp, genesys]
        .map(|(kind, value)| (kind, Credentials::new(kind, value).unwrap()))
        .to_vec();
    let wanted = NewTenant { credentials: credentials.clone(), ..new_tenant("t1", "1", "i1") };
    let created = bed.store.create_tenant(&wanted, &by()).await.unwrap();
    let keys = "integration:i1 phone:1 tenant:t1";
    assert_eq!(
        lines(&created.changes),
        [
            format!("tenant.created: {keys}"),
            format!("credentials.updated v1: {keys} tenant:t1:credentials:whatsapp"),
            format!("credentials.updated v1: {keys} tenant:t1:credentials:genesys"),
        ]
    );
    assert_eq!(created.value.revision, created.changes[2].seq);
    for (kind, credentials) in &credentials {
        let found = bed.store.credentials(&created.value.id, *kind).await.unwrap().unwrap();
        assert_eq!((found.version, &found.credentials), (1, credentials));
    }
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credential_history").await, 0);

    // Refused, it leaves nothing behind, nor touches what there is.
    let before = bed.snapshot().await;
    for (id, phone) in [("t1", "2"), ("t2", "1")] {
        let again = NewTenant { credentials: credentials.clone(), ..new_tenant(id, phone, "") };
        assert!(bed.store.create_tenant(&again, &by()).await.is_err(), "{id}");
    }
    assert_eq!(bed.since(&before).await, []);
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credentials").await, 2);
}

pub(super) async fn a_duplicate_names_its_field_and_changes_nothing(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    bed.create("t2", "2", "i2").await;
    // Suspended, it keeps its numbers.
    let suspended = TenantPatch { status: Some(Status::Suspended), ..TenantPatch::default() };
    bed.store.patch_tenant(&tenant_id("t1"), &suspended, &ALWAYS, &by()).await.unwrap();
    let before = bed.snapshot().await;

    let creations =
        [("t1", "3", "i3", "id"), ("t3", "1", "i3", "phone_number_id"), ("t3", "3", "i1", "")];
    for (id, phone, integration, field) in creations {
        let refused = bed.store.create_tenant(&new_tenant(id, phone, integration), &by()).await;
        let field = if field.is_empty() { "genesys_integration_id" } else { field };
        assert!(matches!(refused, Err(StoreError::Duplicate(named)) if named == field));
    }
    let phone =
        TenantPatch { phone_number_id: Edit::Set("1".parse().unwrap()), ..TenantPatch::default() };
    let integration = TenantPatch {
        genesys_integration_id: Edit::Set("i1".parse().unwrap()),
        ..TenantPatch::default()
    };
    for (patch, field) in [(phone, "phone_number_id"), (integration, "genesys_integration_id")] {
        let refused = bed.store.patch_tenant(&tenant_id("t2"), &patch, &ALWAYS, &by()).await;
        assert!(matches!(refused, Err(StoreError::Duplicate(named)) if named == field));
    }
    assert_eq!(bed.since(&before).await, []);
    assert!(bed.store.tenant(&tenant_id("t3")).await.unwrap().is_none());
}

pub(super) async fn a_patch_merges(bed: &Bed) {
    let created = bed.create("t1", "1", "i1").await.value;
    let patch = TenantPatch {
        name: Some("New".parse().unwrap()),
        email: Edit::Set("a@b".parse().unwrap()),
        phone_number_id: Edit::Set("2".parse().unwrap()),
        display_phone_number: Edit::Set("two".parse().unwrap()),
        genesys_integration_id: Edit::Clear,
        genesys_org_id: Edit::Set("org".parse().unwrap()),
        genesys_region: Edit::Set("mypurecloud.de".parse().unwrap()),
        settings: Edit::Set(object(json!({"keep": 1, "drop": 2, "deep": {"a": 1, "b": 2}}))),
        ..TenantPatch::default()
    };
    let patched =
        bed.store.patch_tenant(&created.id, &patch, &ALWAYS, &by()).await.unwrap().unwrap();
    let expected = "tenant.updated: integration:i1 phone:1 phone:2 tenant:t1";
    assert_eq!(lines(&patched.changes), [expected]);
    let tenant = patched.value;
    assert_eq!((tenant.name.as_str(), tenant.email.as_deref()), ("New", Some("a@b")));
    assert_eq!(tenant.phone_number_id.unwrap().as_str(), "2");
    assert_eq!(tenant.genesys_integration_id, None);
    assert_eq!(tenant.genesys_org_id.as_deref(), Some("org"));
    assert_eq!(tenant.genesys_region.as_deref(), Some("mypurecloud.de"));
    assert_eq!(tenant.revision, patched.changes[0].seq);
    assert_eq!(tenant.created_at, created.created_at);
    assert!(tenant.updated_at >= created.updated_at);

    let patch = TenantPatch {
        email: Edit::Clear,
        settings: Edit::Set(object(json!({"drop": null, "deep": {"a": null, "c": 3}}))),
        ..TenantPatch::default()
    };
    let tenant =
        bed.store.patch_tenant(&created.id, &patch, &ALWAYS, &by()).await.unwrap().unwrap().value;
    assert_eq!(Value::Object(tenant.settings), json!({"keep": 1, "deep": {"b": 2, "c": 3}}));
    assert_eq!((tenant.email, tenant.name.as_str()), (None, "New"));
    assert!(bed.store.tenant_by_phone(&"1".parse().unwrap()).await.unwrap().is_none());

    let patch = TenantPatch { settings: Edit::Clear, ..TenantPatch::default() };
    let tenant =
        bed.store.patch_tenant(&created.id, &patch, &ALWAYS, &by()).await.unwrap().unwrap().value;
    assert_eq!(tenant.settings, Map::new());
}

/// Each patch is small, and what they come to is not.
pub(super) async fn settings_that_grow_too_large_change_nothing(bed: &Bed) {
    let id = bed.create("t1", "1", "i1").await.value.id;
    let settings = |value| TenantPatch {
        name: Some("New".parse().unwrap()),
        settings: Edit::Set(object(value)),
        ..TenantPatch::default()
    };
    let half = "x".repeat(SETTINGS_LIMIT / 2);
    let first = bed.store.patch_tenant(&id, &settings(json!({"a": half})), &ALWAYS, &by()).await;
    let first = first.unwrap().unwrap().value;
    let deep = (0..SETTINGS_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    for refused in [json!({"b": half}), json!({"b": deep})] {
        let before = bed.snapshot().await;
        let refused =
            bed.store.patch_tenant(&id, &settings(refused), &ALWAYS, &by()).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Invalid(invalid) if invalid.field == "settings"));
        assert_eq!(bed.since(&before).await, []);
        assert_eq!(bed.store.tenant(&id).await.unwrap().as_ref(), Some(&first));
    }
    let swapped =
        bed.store.patch_tenant(&id, &settings(json!({"a": null, "b": half})), &ALWAYS, &by()).await;
    assert!(swapped.is_ok(), "what a patch removes makes room");

    // Larger than is allowed, by hand: other fields can be patched, and the settings made smaller.
    let large = json!({"a": "x".repeat(SETTINGS_LIMIT), "b": 1}).to_string();
    bed.by_hand(&format!("UPDATE tenants SET settings = '{large}'")).await.unwrap();
    let name = TenantPatch { name: Some("Newer".parse().unwrap()), ..TenantPatch::default() };
    bed.store.patch_tenant(&id, &name, &ALWAYS, &by()).await.unwrap();
    let still = bed.store.patch_tenant(&id, &settings(json!({"b": null})), &ALWAYS, &by()).await;
    assert!(matches!(still, Err(StoreError::Invalid(_))));
    bed.store.patch_tenant(&id, &settings(json!({"a": null})), &ALWAYS, &by()).await.unwrap();
}

/// Two at once, each of which fits what it saw: the second is judged by what the first has left.
pub(super) async fn settings_that_grow_at_once_are_bounded_as_well(bed: &Bed) {
    let id = bed.create("t1", "1", "i1").await.value.id;
    let part = "x".repeat(SETTINGS_LIMIT / 4);
    let patch = |number: usize| TenantPatch {
        settings: Edit::Set(object(json!({ format!("key-{number}"): part }))),
        ..TenantPatch::default()
    };
    let patches: Vec<_> = (0..8).map(patch).collect();
    let by = by();
    let all = patches.iter().map(|patch| bed.store.patch_tenant(&id, patch, &ALWAYS, &by));
    let outcomes = futures_util::future::join_all(all).await;
    let refused = outcomes.iter().filter(|done| matches!(done, Err(StoreError::Invalid(_))));
    assert_eq!((outcomes.iter().filter(|done| done.is_ok()).count(), refused.count()), (3, 5));
    let stored = bed.store.tenant(&id).await.unwrap().unwrap().settings;
    assert_eq!(stored.len(), 3);
    assert!(Settings::new(stored).is_ok());
}

pub(super) async fn a_patch_that_changes_nothing_logs_nothing(bed: &Bed) {
    let created = bed.create("t1", "1", "i1").await.value;
    let before = bed.snapshot().await;
    let same = TenantPatch {
        name: Some("t1".parse().unwrap()),
        phone_number_id: Edit::Set("1".parse().unwrap()),
        email: Edit::Clear,
        settings: Edit::Set(object(json!({"absent": null}))),
        ..TenantPatch::default()
    };
    let done = bed.store.patch_tenant(&created.id, &same, &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!((done.changes, done.value), (vec![], created));
    assert_eq!(bed.since(&before).await, []);
}

pub(super) async fn a_suspended_tenant_does_not_resolve(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    bed.set("t1", CredentialType::Whatsapp, json!({"access_token": "made up"})).await;
    let (id, phone, integration) = (tenant_id("t1"), "1".parse().unwrap(), "i1".parse().unwrap());
    for (status, resolves) in [(Status::Suspended, false), (Status::Active, true)] {
        let patch = TenantPatch { status: Some(status), ..TenantPatch::default() };
        let patched = bed.store.patch_tenant(&id, &patch, &ALWAYS, &by()).await.unwrap().unwrap();
        assert_eq!(
            lines(&patched.changes),
            ["tenant.updated: integration:i1 phone:1 tenant:t1 tenant:t1:credentials:genesys \
              tenant:t1:credentials:whatsapp"]
        );
        let found = bed.store.tenant_by_phone(&phone).await.unwrap();
        assert_eq!(found.is_some(), resolves);
        let found = bed.store.tenant_by_integration(&integration).await.unwrap();
        assert_eq!(found.is_some(), resolves);
        let found = bed.store.credentials(&id, CredentialType::Whatsapp).await.unwrap();
        assert_eq!(found.is_some(), resolves);
        assert_eq!(bed.store.tenant(&id).await.unwrap().unwrap().status, status);
    }
}

pub(super) async fn a_phone_that_moves_names_both_tenants(bed: &Bed) {
    bed.create("t1", "1", "i1").await;
    bed.create("t2", "2", "").await;
    let before = bed.snapshot().await;
    let none = TenantPatch { phone_number_id: Edit::Clear, ..TenantPatch::default() };
    let set =
        TenantPatch { phone_number_id: Edit::Set("1".parse().unwrap()), ..TenantPatch::default() };
    bed.store.patch_tenant(&tenant_id("t1"), &none, &ALWAYS, &by()).await.unwrap();
    bed.store.patch_tenant(&tenant_id("t2"), &set, &ALWAYS, &by()).await.unwrap();
    let found = bed.store.tenant_by_phone(&"1".parse().unwrap()).await.unwrap();
    assert_eq!(found.unwrap().id, tenant_id("t2"));
    assert_eq!(
        lines(&bed.since(&before).await),
        [
            "tenant.updated: integration:i1 phone:1 tenant:t1",
            "tenant.updated: phone:1 phone:2 tenant:t2"
        ]
    );
}

pub(super) async fn a_deleted_tenant_takes_everything_with_it(bed: &Bed) {
    let first = bed.create("t1", "1", "i1").await.value;
    let whatsapp = CredentialType::Whatsapp;
    for _ in 0..2 {
        bed.set("t1", whatsapp, json!({"access_token": "made up"})).await;
    }
    let last = bed.store.tenant(&first.id).await.unwrap().unwrap();
    let deleted = bed.store.delete_tenant(&first.id, &ALWAYS, &by()).await.unwrap().unwrap();
    let mut kinds = lines(&deleted.changes);
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "credentials.revoked v2: tenant:t1 tenant:t1:credentials:whatsapp",
            "tenant.deleted: integration:i1 phone:1 tenant:t1 tenant:t1:credentials:genesys \
             tenant:t1:credentials:whatsapp"
        ]
    );
    assert!(bed.store.tenant(&first.id).await.unwrap().is_none());
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credentials").await, 0);
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credential_history").await, 0);

    // The id comes back, the revision does not, nor the secrets.
    let again = bed.create("t1", "1", "").await;
    assert_eq!(again.changes[0].kind, ChangeKind::TenantCreated);
    assert!(deleted.changes.iter().all(|change| change.seq > last.revision));
    assert!(deleted.changes.iter().all(|change| change.seq < again.value.revision));
    assert!(bed.store.credentials(&first.id, whatsapp).await.unwrap().is_none());
    assert_eq!(bed.set("t1", whatsapp, json!({"access_token": "new"})).await, 1);
}

pub(super) async fn a_list_is_ordered_and_paged(bed: &Bed) {
    // Not in the order of their ids, and one beyond what fits a page.
    for id in ["c", "B", "a"] {
        bed.create(id, "", "").await;
    }
    let at_once = "2026-01-01T00:00:00.000Z";
    bed.by_hand(&format!("UPDATE tenants SET created_at = '{at_once}' WHERE id <> 'c'"))
        .await
        .unwrap();
    let suspended = TenantPatch { status: Some(Status::Suspended), ..TenantPatch::default() };
    bed.store.patch_tenant(&tenant_id("a"), &suspended, &ALWAYS, &by()).await.unwrap();

    for (limit, offset, status, ids, total) in [
        (10, 0, None, &["B", "a", "c"][..], 3),
        (2, 0, None, &["B", "a"][..], 3),
        (2, 2, None, &["c"][..], 3),
        (2, u64::MAX, None, &[][..], 3),
        (0, 0, None, &[][..], 3),
        (10, 0, Some(Status::Active), &["B", "c"][..], 2),
        (10, 0, Some(Status::Suspended), &["a"][..], 1),
    ] {
        let found = bed.store.tenants(Page { limit, offset, status }, &Limits::NONE).await;
        let (page, found) = found.unwrap();
        let found_ids: Vec<_> = page.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!((&found_ids[..], found), (ids, total));
    }
}
