//! With no more rights than it needs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tenant_service::store::{self, ChangeLog, CredentialVersions};

use crate::coherence::fleet::resolves;
use crate::harness::postgres::SERVICE;
use crate::harness::{
    Database, Postgres, Replica, Scratch, keyring, run_cli, run_cli_unprivileged,
};

/// What the documentation tells owners to grant.
fn documented_grants(database: &Database, role: &str) -> String {
    let text = include_str!("../../../docs/operations.md");
    let (_, sql) = text.split_once("```sql\n").unwrap();
    let (sql, _) = sql.split_once("```").unwrap();
    sql.replace("DATABASE tenants", &format!("DATABASE {}", database.name))
        .replace("tenant_service", role)
}

/// A role that may do nothing yet, in a database where not everybody may do something.
async fn role(database: &Database) -> String {
    let (name, role) = (&database.name, format!("{}_role", database.name));
    let sql = format!(
        "CREATE ROLE {role} LOGIN; REVOKE ALL ON DATABASE {name} FROM PUBLIC; \
         REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO {SERVICE}"
    );
    database.execute_as_admin(&sql).await;
    role
}

#[tokio::test]
async fn a_replica_needs_no_more_than_the_documented_grants() {
    let database = Postgres::database().await;
    let role = role(&database).await;
    database.execute(&documented_grants(&database, &role)).await;
    let url = database.url_as(&role);
    run_cli(&["migrate"], &[("DATABASE_URL", &url)]).await.expecting(0);
    let replicas = Replica::builder().env("DATABASE_URL", &url).start_many(2).await;
    let [one, other] = &replicas[..] else { unreachable!("two were asked for") };

    let tenant = json!({"id": "t1", "name": "One", "phone_number_id": "1"});
    one.post_json("/api/tenants", &tenant).await.expecting(201);
    resolves(other, "/api/tenants/by-phone/1", Some("t1")).await;
    let genesys = json!({
        "clientId": "c", "clientSecret": "made up", "region": "euc1", "integrationId": "i1",
    });
    for _ in 0..2 {
        one.put_json("/api/tenants/t1/genesys/credentials", &genesys).await.expecting(200);
    }
    resolves(other, "/api/tenants/by-integration/i1", Some("t1")).await;
    let credentials = "/api/tenants/t1/credentials/genesys";
    let post = |rest: &str| one.request(reqwest::Method::POST, &format!("{credentials}/{rest}"));
    post("rollback").json(&json!({"version": 1})).await.expecting(200);
    other.delete(credentials).await.expecting(204);
    post("undelete").await.expecting(200);
    other.delete(&format!("{credentials}/versions/1")).await.expecting(204);
    post("destroy").await.expecting(200);
    assert_eq!(other.get_json("/api/tenants").await["total"], 1);
    let patch = json!({"phone_number_id": "2"});
    other.patch_json("/api/tenants/t1", &patch).await.expecting(200);
    resolves(one, "/api/tenants/by-phone/1", None).await;
    other.delete("/api/tenants/t1").await.expecting(204);
    resolves(one, "/api/tenants/by-integration/i1", None).await;

    // What replicas do now and then.
    database.execute("UPDATE tenant_changes SET occurred_at = '2020-01-01'").await;
    let store =
        store::Postgres::connect(&SecretString::from(url.as_str()), keyring::keyring(), 2).unwrap();
    assert!(store.prune_log(Duration::from_hours(1)).await.unwrap().is_some());
    assert!(store.destroy_deleted(Duration::from_hours(1)).await.unwrap().is_some());
    // A dump that was restored.
    database.execute("UPDATE tenant_changes_horizon SET database = 'another/1'").await;
    store.migrate().await.unwrap();
    // A crash of the server.
    database.execute("TRUNCATE tenant_changes_incarnation").await;
    store.log_head().await.unwrap();

    for replica in &replicas {
        let complaints = replica.logs();
        let complaints =
            complaints.iter().filter(|line| line["error"].to_string().contains("42501"));
        assert_eq!(complaints.count(), 0, "{}", replica.process.stdout.text());
    }
}

#[tokio::test]
async fn who_may_not_migrate_is_told_who_may() {
    let database = Postgres::empty_database().await;
    let role = role(&database).await;
    let connect = format!("GRANT CONNECT ON DATABASE {} TO {role}", database.name);
    database.execute(&connect).await;
    let url = database.url_as(&role);
    for command in ["serve", "migrate"] {
        let output = run_cli(&[command], &[("DATABASE_URL", &url)]).await.expecting(1);
        assert!(output.stderr.contains("`tenant-service migrate` as"), "{}", output.stderr);
    }
    // Up to date, but for the grants.
    run_cli(&["migrate"], &[("DATABASE_URL", &database.url)]).await.expecting(0);
    let output = run_cli(&["serve"], &[("DATABASE_URL", &url)]).await.expecting(1);
    assert!(output.stderr.contains("permission denied"), "{}", output.stderr);
    assert!(output.stderr.contains("_sqlx_migrations"), "{}", output.stderr);
}

#[tokio::test]
async fn a_file_that_may_only_be_read_is_refused_untouched() {
    for (file_mode, folder_mode) in [(0o444, 0o777), (0o666, 0o555)] {
        let folder = Scratch::new("data");
        let (data, file) = (folder.join("data"), folder.join("data/tenants.db"));
        let url = format!("sqlite://{}", file.display());
        let environment = [("DATABASE_URL", url.as_str()), ("KEYRING_FILE", keyring::file())];
        run_cli(&["migrate"], &environment).await.expecting(0);
        fs::remove_file(data.join("tenants.migrate.lock")).unwrap();
        let before = fs::read(&file).unwrap();
        for (path, mode) in [(&*folder, 0o755), (&*file, file_mode), (&*data, folder_mode)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let output = run_cli_unprivileged(&["serve"], &[("DATABASE_URL", &url)]).await;
        let output = output.expecting(1);
        assert!(output.stderr.contains("tenants.db"), "{}", output.stderr);
        assert_eq!(data.read_dir().unwrap().count(), 1, "no file but the database");
        assert!(fs::read(&file).unwrap() == before);
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    }
}
