//! Tokens that are limited to tenants and types of credentials.

use serde_json::{Value, json};

use super::{Embedded, admin_of, closed, id_of, limited, mint, seen, tenant, with};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Postgres, Replica, eventually};

const SCOPES: [&str; 8] = [
    "lookup:read",
    "tenants:read",
    "tenants:write",
    "credentials:read",
    "credentials:reveal",
    "credentials:write",
    "credentials:destroy",
    "audit:read",
];

fn link_of(id: &str) -> Value {
    json!({
        "clientId": "mine", "clientSecret": "made up", "region": "euc1",
        "integrationId": format!("i-{id}"),
    })
}

/// All that a bearer sees of tenants, whatever they ask.
async fn everything(replica: &Replica, token: &str) -> String {
    let mut text = String::new();
    for (id, phone) in [("red", "1001"), ("blue", "1002")] {
        for path in [
            "/api/tenants".to_owned(),
            format!("/api/tenants/{id}"),
            format!("/api/tenants/by-phone/{phone}"),
            format!("/api/tenants/by-integration/i-{id}"),
            format!("/api/tenants/{id}/credentials?type=whatsapp"),
            format!("/api/tenants/{id}/credentials/genesys"),
            format!("/api/tenants/{id}/credentials/meta"),
            format!("/api/tenants/{id}/genesys/credentials"),
        ] {
            for _ in 0..2 {
                text += &with(replica.get(&path), token).await.text();
            }
        }
    }
    text
}

#[tokio::test]
async fn two_tokens_never_see_each_other_s_tenants() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    tenant(replica, admin, "red", "1001").await;
    tenant(replica, admin, "blue", "1002").await;
    let red = limited(replica, admin, &SCOPES, &["red"]).await;
    let blue = limited(replica, admin, &SCOPES, &["blue"]).await;
    // One of them has put all of it into memory.
    let all = everything(replica, admin).await;
    assert!(all.contains("of-red") && all.contains("of-blue"));
    let of_red = everything(replica, &red).await;
    assert!(of_red.contains("of-red") && !of_red.contains("blue"), "{of_red}");
    let of_blue = everything(replica, &blue).await;
    let is_red = ["of-red", "of red", "i-red"].iter().any(|name| of_blue.contains(name));
    assert!(of_blue.contains("of-blue") && !is_red, "{of_blue}");

    // Whether somebody has asked for a number before does not show either.
    let of = async |path: &str| seen(&with(replica.get(path), &red).await);
    let unasked = of("/api/tenants/by-phone/5551").await;
    assert_eq!(of("/api/tenants/by-phone/1002").await, unasked);
    assert_eq!(of("/api/tenants/by-phone/5551").await, unasked, "it is in memory now");
    let known = with(replica.get("/api/tenants/by-phone/1002"), admin).await;
    let tag = known.header("etag").unwrap();
    let again = with(replica.get("/api/tenants/by-phone/1002"), &red).header("if-none-match", tag);
    assert_eq!(seen(&again.await), unasked);

    // A tenant that moves away with its number is not followed.
    let path = "/api/tenants/by-phone/1001";
    with(replica.get(path), &red).await.expecting(200);
    for (id, phone) in [("red", json!(null)), ("blue", json!("1001"))] {
        let moved = json!({ "phone_number_id": phone });
        with(replica.patch_json(&format!("/api/tenants/{id}"), &moved), admin).await.expecting(200);
    }
    assert_eq!(of(path).await, unasked);
    with(replica.get(path), &blue).await.expecting(200);
}

#[tokio::test]
async fn a_token_of_one_type_sees_no_other() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    tenant(replica, admin, "red", "1001").await;
    let body = json!({"name": "n", "scopes": SCOPES, "types": ["whatsapp"]});
    let token = mint(replica, admin, body).await;
    for path in ["credentials/whatsapp", "credentials/meta", "credentials?type=whatsapp"] {
        with(replica.get(&format!("/api/tenants/red/{path}")), &token).await.expecting(200);
    }
    for path in ["credentials/genesys", "genesys/credentials", "credentials?type=genesys"] {
        let of = async |id: &str| {
            seen(&with(replica.get(&format!("/api/tenants/{id}/{path}")), &token).await)
        };
        assert_eq!(of("red").await.0, 404, "{path}");
        assert_eq!(of("red").await, of("absent").await, "{path}");
    }
    // Nor what they were, nor a way to change them.
    for (method, path, body) in [
        ("GET", "credentials/genesys/versions", Value::Null),
        ("GET", "credentials/genesys/versions/1", Value::Null),
        ("PUT", "genesys/credentials", link_of("red")),
        ("POST", "credentials/genesys/rollback", json!({"version": 1})),
        ("DELETE", "credentials/genesys", Value::Null),
        ("POST", "credentials/genesys/undelete", Value::Null),
        ("POST", "credentials/genesys/destroy", Value::Null),
        ("DELETE", "credentials/genesys/versions/1", Value::Null),
    ] {
        let of = async |id: &str| {
            let path = format!("/api/tenants/{id}/{path}");
            let call = replica.request(method.parse().unwrap(), &path);
            let call = if body.is_null() { call } else { call.json(&body) };
            seen(&with(call, &token).await)
        };
        assert_eq!(of("red").await.0, 404, "{method} {path}");
        assert_eq!(of("red").await, of("absent").await, "{method} {path}");
    }
    let versions = with(replica.get("/api/tenants/red/credentials/genesys/versions"), admin).await;
    let versions = versions.expecting(200).json()["versions"].clone();
    assert_eq!((&versions[0]["version"], &versions[1]), (&json!(1), &Value::Null), "{versions}");

    // Nor who has done it.
    let kinds = async |token: &str| {
        let trail = with(replica.get("/api/audit?tenant=red"), token).await.expecting(200).json();
        let entries = trail["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["type"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    eventually(DEADLINE, "both types are in the trail", async || {
        let all = kinds(admin).await;
        ["whatsapp", "genesys"].iter().all(|kind| all.iter().any(|it| it == kind))
    })
    .await;
    let shown = kinds(&token).await;
    assert!(shown.iter().any(|kind| kind == "whatsapp"), "{shown:?}");
    assert!(shown.iter().all(|kind| kind != "genesys"), "{shown:?}");

    // Nor are they taken away with their tenant.
    let deleted = with(replica.delete("/api/tenants/red"), &token).await.expecting(403);
    assert_eq!(deleted.json()["code"], "insufficient_scope");

    let set = |kind: &str| json!({"type": kind, "credentials": {"clientId": "mine"}});
    let path = "/api/tenants/red/credentials";
    with(replica.put_json(path, &set("genesys")), &token).await.expecting(404);
    with(replica.put_json(path, &set("whatsapp")), &token).await.expecting(200);
    let kept = with(replica.get("/api/tenants/red/credentials/genesys"), admin).await;
    assert_eq!(kept.expecting(200).json()["clientId"], "c");
}

/// Not by how a page is cut, either.
#[tokio::test]
async fn the_trail_tells_nothing_of_other_tenants() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    for (id, phone) in [("red", "1001"), ("blue", "1002"), ("green", "1003")] {
        tenant(replica, admin, id, phone).await;
    }
    let ask = async |token: &str, query: &str| {
        with(replica.get(&format!("/api/audit?{query}")), token).await.expecting(200).json()
    };
    eventually(DEADLINE, "what was done is in the trail", async || {
        let of = async |id: &str| ask(admin, &format!("tenant={id}")).await["entries"].clone();
        let all = [of("red").await, of("blue").await, of("green").await];
        if all.iter().all(|of| of.as_array().unwrap().len() == 3) { Ok(()) } else { Err(all) }
    })
    .await;
    let red = limited(replica, admin, &["audit:read"], &["red"]).await;
    let both = limited(replica, admin, &["audit:read"], &["red", "green"]).await;
    for token in [&red, &both] {
        for rest in
            ["", "&limit=1", "&order=oldest&limit=1", "&action=credentials.set", "&outcome=ok"]
        {
            let foreign = ask(token, &format!("tenant=blue{rest}")).await;
            assert_eq!(foreign, ask(token, &format!("tenant=absent{rest}")).await, "{rest}");
            assert_eq!(foreign["entries"], json!([]), "{rest}");
        }
    }
    eventually(DEADLINE, "that others were asked for is in the trail", async || {
        let page = ask(admin, "action=audit.read&outcome=denied").await;
        if page["entries"].as_array().unwrap().is_empty() { Err(page) } else { Ok(()) }
    })
    .await;
    // Whoever is limited to one follows its entries alone, by as many pages as those fill.
    let (mut after, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let page = ask(&red, &format!("order=oldest&limit=1&after={after}")).await;
        seen.extend(page["entries"].as_array().unwrap().iter().map(|it| it["action"].clone()));
        if page["more"] == false {
            break;
        }
        page["next"].as_str().unwrap().clone_into(&mut after);
    }
    assert_eq!(seen, ["tenant.create", "credentials.set", "credentials.set"]);
    // What is of others ends no page.
    let page = ask(&both, "order=oldest&limit=6").await;
    let tenants = page["entries"].as_array().unwrap().iter().map(|it| it["tenant_id"].clone());
    assert_eq!(tenants.collect::<Vec<_>>(), ["red", "red", "red", "green", "green", "green"]);
    assert_eq!(page["more"], false);
}

/// A tenant's id may become another tenant's, and that one's secrets are nobody else's.
#[tokio::test]
async fn tokens_do_not_outlive_the_tenant_that_they_are_limited_to() {
    let database = Postgres::database().await;
    let replicas = closed().database(&database).start_many(2).await;
    let on_postgres = (&replicas[0], &replicas[1], admin_of(&database).await);
    let embedded = Embedded::start().await;
    let on_sqlite = (&embedded.replica, &embedded.replica, embedded.admin.clone());
    for (writer, other, admin) in [on_postgres, on_sqlite] {
        let admin = &*admin;
        tenant(writer, admin, "red", "1001").await;
        tenant(writer, admin, "blue", "1002").await;
        let scopes = ["tenants:read", "lookup:read"];
        let red = limited(writer, admin, &scopes, &["red"]).await;
        let both = limited(writer, admin, &scopes, &["blue", "red"]).await;
        let blue = limited(writer, admin, &scopes, &["blue"]).await;
        let status = async |token: &str, id: &str| {
            with(other.get(&format!("/api/tenants/{id}")), token).await.status
        };
        for token in [&red, &both] {
            assert_eq!(status(token, "red").await, 200);
        }
        assert_eq!(status(&blue, "blue").await, 200);

        with(writer.delete("/api/tenants/red"), admin).await.expecting(204);
        assert_eq!(status(&red, "red").await, 401);
        tenant(writer, admin, "red", "1001").await;
        assert_eq!(status(&red, "red").await, 401);
        assert_eq!((status(&both, "red").await, status(&both, "blue").await), (404, 200));
        assert_eq!(with(other.get("/api/tenants/by-phone/1001"), &both).await.status, 404);
        assert_eq!(status(&blue, "blue").await, 200);
        let shown = with(writer.get(&format!("/api/tokens/{}", id_of(&both))), admin).await;
        assert_eq!(shown.expecting(200).json()["tenants"], json!(["blue"]));
        for (action, token) in [("token.revoke", &red), ("token.update", &both)] {
            let entries = eventually(DEADLINE, "it is in the trail", async || {
                let path = format!("/api/audit?action={action}");
                let page = with(writer.get(&path), admin).await.expecting(200).json();
                let entries = page["entries"].as_array().unwrap().clone();
                if entries.is_empty() { Err(page) } else { Ok(entries) }
            })
            .await;
            assert_eq!(entries.len(), 1, "{entries:?}");
            assert_eq!(entries[0]["token_id"], id_of(token));
        }
    }
}

/// Nor does what takes their place while the tenant is deleted.
#[tokio::test]
async fn a_token_that_is_replaced_meanwhile_does_not_outlive_its_tenant() {
    let database = Postgres::database().await;
    let replica = closed().database(&database).start().await;
    let admin = admin_of(&database).await;
    for overlap in [0, 3_600] {
        tenant(&replica, &admin, "red", "1001").await;
        let token = limited(&replica, &admin, &["tenants:read"], &["red"]).await;
        // The replacement is held up behind its locks, at its last statement but the commit.
        let mut held = database.pool().await.begin().await.unwrap();
        sqlx::query("LOCK TABLE tenant_audit IN SHARE MODE").execute(&mut *held).await.unwrap();
        let waits = |what: &'static str, like: &'static str| {
            let waiting = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database() AND query LIKE '{like}'"
            );
            let database = &database;
            eventually(DEADLINE, what, async move || database.scalar::<i64>(&waiting).await > 0)
        };
        let path = format!("/api/tokens/{}/rotate", id_of(&token));
        let rotate = replica.post_json(&path, &json!({"overlap_seconds": overlap}));
        let rotate = tokio::spawn(with(rotate, &admin).into_future());
        waits("it is being replaced", "%INSERT INTO tenant_audit%").await;
        let delete = with(replica.delete("/api/tenants/red"), &admin);
        let delete = tokio::spawn(delete.into_future());
        waits("its tenant is being deleted", "%SELECT id FROM tenant_tokens%").await;
        held.commit().await.unwrap();
        let successor = rotate.await.unwrap().expecting(201).json()["token"].clone();
        delete.await.unwrap().expecting(204);
        tenant(&replica, &admin, "red", "1001").await;
        for token in [&*token, successor.as_str().unwrap()] {
            with(replica.get("/api/tenants/red"), token).await.expecting(401);
        }
        with(replica.delete("/api/tenants/red"), &admin).await.expecting(204);
    }
}

/// What a limited administrator hands out is no more than they have.
#[tokio::test]
async fn nobody_hands_out_more_than_they_have() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    let clerk = json!({
        "name": "clerk", "scopes": ["tokens:admin", "lookup:read"], "tenants": ["red", "blue"],
        "types": ["whatsapp"],
    });
    let clerk = mint(replica, admin, clerk).await;
    let within = json!({
        "name": "n", "scopes": ["lookup:read"], "tenants": ["red"], "types": ["whatsapp"],
    });
    let changed = |field: &str, value: Value| {
        let mut body = within.clone();
        body[field] = value;
        body
    };
    let mine = mint(replica, &clerk, within.clone()).await;
    for (field, value) in [
        ("scopes", json!(["lookup:read", "tenants:read"])),
        ("tenants", json!(["red", "green"])),
        ("tenants", Value::Null),
        ("types", json!(["genesys"])),
        ("types", Value::Null),
    ] {
        let body = changed(field, value);
        let refused = with(replica.post_json("/api/tokens", &body), &clerk).await.expecting(403);
        assert_eq!(refused.json()["code"], "insufficient_scope", "{body}");
    }
    let record = with(replica.get(&format!("/api/tokens/{}", id_of(&mine))), admin).await;
    let by = format!("token:{}", id_of(&clerk));
    assert_eq!(record.expecting(200).json()["created_by"], by);

    // To replace a token is to have its secret: one that may do more is not for them.
    let scopes = ["tokens:admin", "credentials:reveal"];
    let body = json!({"name": "n", "scopes": scopes, "tenants": ["red"], "types": ["whatsapp"]});
    let stronger = mint(replica, admin, body).await;
    let path = format!("/api/tokens/{}", id_of(&stronger));
    let overlap = json!({"overlap_seconds": 60});
    let rotate = replica.post_json(&format!("{path}/rotate"), &overlap);
    with(rotate, &clerk).await.expecting(403);
    // But it can be taken back.
    with(replica.delete(&path), &clerk).await.expecting(200);
    // What is beyond the limits is not there at all.
    let path = format!("/api/tokens/{}", id_of(admin));
    for answer in [
        with(replica.get(&path), &clerk).await,
        with(replica.delete(&path), &clerk).await,
        with(replica.post_json(&format!("{path}/rotate"), &overlap), &clerk).await,
    ] {
        assert_eq!(answer.expecting(404).json()["code"], "token_not_found");
    }
    with(replica.get(&path), admin).await.expecting(200);
}
