//! Tokens, in both stores.

use std::time::Duration;

use jiff::Timestamp;
use tenant_service::crypto::new_token;
use tenant_service::domain::{
    AccessToken, CredentialType, Limits, NewToken, Scope, Scopes, TokenStanding,
};
use tenant_service::store::{StoreError, TokenPage, Written};
use tokio::task::JoinSet;

use super::bed::{Backend, Bed, by, lines, tenant_id};

const PEPPERS: &str = "SELECT count(*) FROM tenant_token_pepper";

pub(super) fn new(limits: Limits) -> NewToken {
    NewToken {
        name: "n".parse().unwrap(),
        description: None,
        scopes: Scopes::NONE.with(Scope::LookupRead).with(Scope::AuditRead),
        limits,
        expires_at: None,
        created_by: "cli".to_owned(),
    }
}

fn tenants(ids: &[&str]) -> Limits {
    Limits::new(Some(ids.iter().map(|id| tenant_id(id)).collect()), None)
}

pub(super) async fn create(bed: &Bed, token: &NewToken) -> AccessToken {
    let secret = new_token().unwrap();
    bed.store.create_token(token, &secret, &by()).await.unwrap();
    secret
}

pub(super) async fn a_token_is_stored_as_a_hash(bed: &Bed) {
    assert!(bed.store.pepper().await.unwrap().is_none());
    let limits = Limits::new(Some(vec![tenant_id("a")]), Some(vec![CredentialType::Genesys]));
    let expires_at = "2099-01-02T03:04:05.000Z".parse().ok();
    let token = NewToken { expires_at, ..new(limits.clone()) };
    let secret = new_token().unwrap();
    let made = bed.store.create_token(&token, &secret, &by()).await.unwrap();
    assert_eq!(lines(&made.changes), [format!("tokens.created: token:{}", secret.id())]);
    assert!(made.changes[0].tenant_id.is_none() && made.after.is_none());

    let issued = bed.store.token(secret.id()).await.unwrap().unwrap();
    assert_eq!(issued.token, made.value.token);
    assert_eq!((&issued.token.limits, issued.token.expires_at), (&limits, expires_at));
    assert_eq!(issued.token.scopes, token.scopes);
    let pepper = bed.store.pepper().await.unwrap().unwrap();
    assert!(pepper.verifies(&secret, &issued.hash));
    assert!(!pepper.verifies(&new_token().unwrap(), &issued.hash));
    let record = bed.store.token_record(secret.id()).await.unwrap().unwrap();
    assert_eq!(record, made.value);
    assert!(bed.store.token(new_token().unwrap().id()).await.unwrap().is_none());
}

/// The first tokens are made at once, and there is one pepper.
pub(super) async fn the_first_tokens_may_come_at_once(bed: &Bed) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = std::sync::Arc::clone(&bed.store);
        tasks.spawn(async move {
            let secret = new_token().unwrap();
            store.create_token(&new(Limits::NONE), &secret, &by()).await.unwrap();
            secret
        });
    }
    let secrets = tasks.join_all().await;
    assert_eq!(bed.number(PEPPERS).await, 1);
    let pepper = bed.store.pepper().await.unwrap().unwrap();
    for secret in secrets {
        let issued = bed.store.token(secret.id()).await.unwrap().unwrap();
        assert!(pepper.verifies(&secret, &issued.hash));
    }
}

pub(super) async fn a_revoked_token_stays_so(bed: &Bed) {
    let secret = create(bed, &new(Limits::NONE)).await;
    let revoked = bed.store.revoke_token(secret.id(), &by()).await.unwrap().unwrap();
    assert_eq!(lines(&revoked.changes), [format!("tokens.revoked: token:{}", secret.id())]);
    assert_eq!(revoked.value.token.standing(Timestamp::now), TokenStanding::Revoked);
    let again = bed.store.revoke_token(secret.id(), &by()).await.unwrap().unwrap();
    assert_eq!((again.changes.len(), again.value), (0, revoked.value));
    assert!(bed.store.revoke_token(new_token().unwrap().id(), &by()).await.unwrap().is_none());
    let rotated = rotate(bed, &secret, 60).await;
    assert!(matches!(rotated, Err(StoreError::Inactive)));
}

type Rotation = Result<Option<(Written<()>, tenant_service::store::Rotated)>, StoreError>;

async fn rotate(bed: &Bed, secret: &AccessToken, seconds: u64) -> Rotation {
    let (next, overlap) = (new_token().unwrap(), Duration::from_secs(seconds));
    let rotated = bed.store.rotate_token(secret.id(), &next, overlap, &by()).await?;
    Ok(rotated.map(|written| {
        let (value, written) = written.take();
        (written, value)
    }))
}

pub(super) async fn a_replaced_token_ends_with_the_overlap(bed: &Bed) {
    let expires_at = Some(Timestamp::now() + jiff::SignedDuration::from_hours(10));
    let secret = create(bed, &NewToken { expires_at, ..new(tenants(&["a"])) }).await;
    let (written, rotated) = rotate(bed, &secret, 3600).await.unwrap().unwrap();
    let (old, new) = (rotated.old, rotated.new);
    let mut expected = [
        format!("tokens.created: token:{}", new.token.id),
        format!("tokens.updated: token:{}", secret.id()),
    ];
    expected.sort();
    let mut logged = lines(&written.changes);
    logged.sort();
    assert_eq!(logged, expected);
    assert_eq!(old.replaced_by.as_ref(), Some(&new.token.id));
    assert_eq!((&new.token.scopes, &new.token.limits), (&old.token.scopes, &old.token.limits));
    let from_now = |end: Option<Timestamp>| end.unwrap().duration_since(Timestamp::now()).as_secs();
    assert!((3_500..=3_600).contains(&from_now(old.token.expires_at)));
    assert!((35_900..=36_000).contains(&from_now(new.token.expires_at)));
    assert!(matches!(rotate(bed, &secret, 60).await, Err(StoreError::Inactive)));

    // It ends when it was to end, if that is sooner; and at once without an overlap.
    let expires_at = Some(Timestamp::now() + jiff::SignedDuration::from_mins(10));
    let brief = create(bed, &NewToken { expires_at, ..self::new(Limits::NONE) }).await;
    let (_, rotated) = rotate(bed, &brief, 3600).await.unwrap().unwrap();
    assert!((500..=600).contains(&from_now(rotated.old.token.expires_at)));
    let endless = create(bed, &self::new(Limits::NONE)).await;
    let (_, rotated) = rotate(bed, &endless, 0).await.unwrap().unwrap();
    assert_eq!(rotated.old.token.standing(Timestamp::now), TokenStanding::Revoked);
    assert_eq!((rotated.old.token.expires_at, rotated.new.token.expires_at), (None, None));
}

pub(super) async fn a_list_of_tokens_is_of_those_within_the_limits(bed: &Bed) {
    let types = |types: &[CredentialType]| Limits::new(None, Some(types.to_vec()));
    let all = [
        Limits::NONE,
        tenants(&["a"]),
        tenants(&["a", "b"]),
        tenants(&["c"]),
        types(&[CredentialType::Genesys]),
    ];
    let mut ids = Vec::new();
    for limits in &all {
        ids.push(create(bed, &new(limits.clone())).await.id().clone());
    }
    for within in &all {
        let page = TokenPage { limit: 10, offset: 0 };
        let (found, total) = bed.store.tokens(page, within).await.unwrap();
        let expected = all.iter().zip(&ids).filter(|(limits, _)| limits.are_within(within));
        let expected: Vec<_> = expected.map(|(_, id)| id).collect();
        let found: Vec<_> = found.iter().map(|record| &record.token.id).collect();
        assert_eq!((&found, total), (&expected, expected.len() as u64), "{within:?}");
    }
    let page = TokenPage { limit: 2, offset: 1 };
    let (found, total) = bed.store.tokens(page, &Limits::NONE).await.unwrap();
    let found: Vec<_> = found.iter().map(|record| record.token.id.clone()).collect();
    assert_eq!((&found[..], total), (&ids[1..3], 5));
}

/// Book-keeping: nobody hears of it.
pub(super) async fn a_use_is_noted_and_logged_nowhere(bed: &Bed) {
    let secret = create(bed, &new(Limits::NONE)).await;
    let before = bed.snapshot().await;
    let at = |second| Timestamp::from_second(second).unwrap();
    let gone = new_token().unwrap().id().clone();
    for (noted, expected) in [(1_000, 1_000), (2_000, 2_000), (1_500, 2_000)] {
        let uses = [(secret.id().clone(), at(noted)), (gone.clone(), at(noted))];
        bed.store.tokens_used(&uses).await.unwrap();
        let record = bed.store.token_record(secret.id()).await.unwrap().unwrap();
        assert_eq!(record.last_used_at, Some(at(expected)));
    }
    assert_eq!(bed.since(&before).await, []);
}

/// Each edit by hand is logged, with the key of whichever token it touches.
pub(super) async fn an_edit_of_a_token_by_hand_is_logged(bed: &Bed) {
    let secret = create(bed, &new(tenants(&["a"]))).await;
    let id = secret.id();
    for (statement, expected) in [
        ("UPDATE tenant_tokens SET name = 'x'", format!("tokens.updated: token:{id}")),
        ("UPDATE tenant_tokens SET name = 'x'", String::new()),
        ("UPDATE tenant_tokens SET tenants = NULL", format!("tokens.updated: token:{id}")),
        ("UPDATE tenant_tokens SET revoked_at = created_at", format!("tokens.revoked: token:{id}")),
        ("UPDATE tenant_tokens SET revoked_at = NULL", format!("tokens.updated: token:{id}")),
        (
            "UPDATE tenant_tokens SET id = '000000000000000a'",
            format!("tokens.updated: token:000000000000000a token:{id}"),
        ),
        ("DELETE FROM tenant_tokens", "tokens.revoked: token:000000000000000a".to_owned()),
    ] {
        let before = bed.snapshot().await;
        bed.by_hand(statement).await.unwrap();
        assert_eq!(lines(&bed.since(&before).await).join("; "), expected, "{statement}");
    }
}

/// A scope of a newer version grants nothing here, and a limit that names what is unknown is one.
pub(super) async fn what_is_unknown_grants_nothing(bed: &Bed) {
    let secret = create(bed, &new(tenants(&["a"]))).await;
    let is_postgres = matches!(bed.backend, Backend::Postgres(..));
    let list = |name: &str| {
        if is_postgres { format!("'{{{name}}}'") } else { format!("'[\"{name}\"]'") }
    };
    let (scopes, other) = (list("tenants:merge"), list("a b"));
    let sql = format!("UPDATE tenant_tokens SET scopes = {scopes}, tenants = {other}");
    bed.by_hand(&sql).await.unwrap();
    let token = bed.store.token(secret.id()).await.unwrap().unwrap().token;
    assert_eq!(token.scopes, Scopes::NONE);
    assert_eq!(token.limits.tenants(), Some(&[][..]));
    assert!(!token.limits.admit("a"));
}

/// Somebody else's pepper is none: with it, whoever can write here could make tokens.
pub(super) async fn a_pepper_that_does_not_open_is_refused(bed: &Bed) {
    let secret = create(bed, &new(Limits::NONE)).await;
    let bytes = bed.literal()(&[1; 61]);
    bed.by_hand(&format!("UPDATE tenant_token_pepper SET wrapped_key = {bytes}")).await.unwrap();
    assert!(matches!(bed.store.pepper().await, Err(StoreError::PepperRefused(_))));
    let refused = bed.store.create_token(&new(Limits::NONE), &new_token().unwrap(), &by()).await;
    assert!(matches!(refused, Err(StoreError::PepperRefused(_))));
    assert!(bed.store.token(secret.id()).await.unwrap().is_some());
    assert_eq!(bed.number("SELECT count(*) FROM tenant_tokens").await, 1);
}

pub(super) async fn a_list_of_tenants_is_of_those_within_the_limits(bed: &Bed) {
    for (id, phone) in [("a", "1"), ("b", "2"), ("c", "3")] {
        bed.create(id, phone, "").await;
    }
    let page = tenant_service::store::Page { limit: 10, offset: 0, status: None };
    for (within, expected) in
        [(Limits::NONE, &["a", "b", "c"][..]), (tenants(&["b", "x"]), &["b"]), (tenants(&[]), &[])]
    {
        let (found, total) = bed.store.tenants(page, &within).await.unwrap();
        let found: Vec<_> = found.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!((&found[..], total), (expected, expected.len() as u64));
    }
}
