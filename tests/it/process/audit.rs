//! `tenant-service audit verify`, and who chains.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Database, Output, Postgres, Replica, eventually, run_cli};

const DEADLINE: Duration = Duration::from_secs(30);

async fn verify(database: &Database, more: &[&str]) -> Output {
    let arguments: Vec<&str> = ["audit", "verify"].iter().chain(more).copied().collect();
    run_cli(&arguments, &[("DATABASE_URL", &database.url)]).await
}

async fn verified(database: &Database) -> Value {
    verify(database, &["--json"]).await.expecting(0).json()
}

async fn all_is_chained(database: &Database) {
    let unchained = "SELECT count(*) FROM tenant_audit WHERE number IS NULL";
    eventually(DEADLINE, "all is chained", async || database.scalar::<i64>(unchained).await == 0)
        .await;
}

/// As the owner of the tables can.
async fn tamper(database: &Database, sql: &str) {
    let sql = format!(
        "ALTER TABLE tenant_audit DISABLE TRIGGER USER; \
         ALTER TABLE tenant_audit_chain DISABLE TRIGGER USER; {sql}"
    );
    database.execute(&sql).await;
}

#[tokio::test]
async fn a_chain_of_two_replicas_holds_and_outlives_both() {
    let database = Postgres::database().await;
    let replicas = Replica::builder().database(&database).start_many(2).await;
    let [one, other] = &replicas[..] else { unreachable!("two were asked for") };
    let put = async |replica: &Replica, n: usize| {
        let tenant = json!({"id": format!("t{n}"), "name": "x"});
        replica.post_json("/api/tenants", &tenant).await.expecting(201);
    };
    for n in 0..20 {
        put(if n % 2 == 0 { one } else { other }, n).await;
    }
    all_is_chained(&database).await;
    let first = verified(&database).await;
    assert_eq!((&first["holds_up_to"], &first["unchained"]), (&json!(20), &json!(0)));
    // In the middle of whatever it does.
    put(one, 20).await;
    one.kill();
    put(other, 21).await;
    all_is_chained(&database).await;
    let kept = format!("{}:{}", first["holds_up_to"], first["hash"].as_str().unwrap());
    let output = verify(&database, &["--expect-head", &kept]).await.expecting(0);
    assert!(output.stdout.contains("rows 1 to 22"), "{}", output.stdout);
    assert!(output.stdout.contains("kept head    found"), "{}", output.stdout);
    assert_eq!(other.terminate().await, 0);
    verified(&database).await;

    // An old state of both tables: nothing in it is wrong, but it is not what it was.
    let later = verified(&database).await;
    let kept = format!("{}:{}", later["holds_up_to"], later["hash"].as_str().unwrap());
    let other_hash = kept.replace("01", "02");
    verify(&database, &["--expect-head", &other_hash]).await.expecting(1);
    let beyond = format!("23:{}", later["hash"].as_str().unwrap());
    let output = verify(&database, &["--expect-head", &beyond]).await.expecting(1);
    assert!(output.stdout.contains("cut off"), "{}", output.stdout);
    verify(&database, &["--expect-head", "22"]).await.expecting(2);

    tamper(&database, "UPDATE tenant_audit SET tenant_id = 'another' WHERE number = 7").await;
    let output = verify(&database, &[]).await.expecting(1);
    assert!(output.stdout.contains("holds        rows 1 to 6"), "{}", output.stdout);
    assert!(output.stdout.contains("BROKEN       row 7 "), "{}", output.stdout);
}

/// Nothing in an old state of both tables is wrong. Who has seen a later one tells, also if nothing is to be
/// chained, and so does who finds rows that nobody can have put where they are.
#[tokio::test]
async fn a_replica_tells_of_what_was_put_back_or_put_there() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    let create = async |id: &str| {
        let tenant = json!({"id": id, "name": "x"});
        replica.post_json("/api/tenants", &tenant).await.expecting(201);
        all_is_chained(&database).await;
    };
    let told = async |what: &str| {
        replica
            .wait_for_log(|line| {
                let is_it = line["message"] == "the audit trail is not chained";
                is_it && line["error"].as_str().is_some_and(|error| error.contains(what))
            })
            .await
    };
    create("t1").await;
    let keep = "CREATE TABLE kept AS SELECT * FROM tenant_audit; \
                CREATE TABLE kept_chain AS SELECT * FROM tenant_audit_chain";
    database.execute(keep).await;
    create("t2").await;
    // It has looked since: what is chained is told at once, and this is of a later look.
    let unchained = async || replica.metrics().await.value("tenant_audit_unchained", &[]);
    eventually(DEADLINE, "it knows where the chain ends", async || unchained().await < 0.5).await;
    tamper(
        &database,
        "DELETE FROM tenant_audit; INSERT INTO tenant_audit SELECT * FROM kept; \
         DELETE FROM tenant_audit_chain; INSERT INTO tenant_audit_chain SELECT * FROM kept_chain",
    )
    .await;
    told("where the chain ends (row 2)").await;
    verified(&database).await;
    // It goes on from there: what is wrong next is another thing, and is told as well.
    create("t3").await;
    eventually(DEADLINE, "it has chained that", async || unchained().await < 0.5).await;

    let stray = "INSERT INTO tenant_audit (actor_kind, action, outcome, number, hash) \
                 SELECT actor_kind, action, outcome, 9, hash FROM kept";
    database.execute(stray).await;
    told("numbered rows outside the chain").await;
    let output = verify(&database, &[]).await.expecting(1);
    assert!(output.stdout.contains("BROKEN       there are 1 numbered rows"), "{}", output.stdout);

    // Without its end, or with one that was moved, it does not hold.
    database.execute("DELETE FROM tenant_audit WHERE number = 9").await;
    create("t4").await;
    let moved = "DELETE FROM tenant_audit WHERE number > 1; \
                 UPDATE tenant_audit_chain SET head = 1, head_hash = (SELECT hash FROM kept)";
    database.execute(moved).await;
    let output = verify(&database, &[]).await.expecting(1);
    assert!(
        output.stdout.contains("BROKEN       where the chain ends (row 1)"),
        "{}",
        output.stdout
    );
    database.execute("DELETE FROM tenant_audit_chain").await;
    let output = verify(&database, &[]).await.expecting(1);
    assert!(output.stdout.contains("the row of tenant_audit_chain is gone"), "{}", output.stdout);
}

#[tokio::test]
async fn what_cannot_be_verified_is_told_from_what_is_broken() {
    let database = Postgres::empty_database().await;
    run_cli(&["migrate"], &[("DATABASE_URL", &database.url)]).await.expecting(0);
    let empty = verified(&database).await;
    assert_eq!((&empty["holds_up_to"], &empty["broken"]), (&json!(0), &Value::Null));
    let replica = Replica::builder().database(&database).start().await;
    let tenant = json!({"id": "t1", "name": "x"});
    replica.post_json("/api/tenants", &tenant).await.expecting(201);
    all_is_chained(&database).await;
    tamper(&database, "UPDATE tenant_audit_chain SET key_id = '0123456789abcdef'").await;
    let output = verify(&database, &[]).await.expecting(2);
    assert!(output.stdout.contains("no key 0123456789abcdef"), "{}", output.stdout);
    let output = run_cli(&["audit", "verify"], &[("DATABASE_URL", "postgres://127.0.0.1:1/x")]);
    output.await.expecting(2);
    // A replica tells as well, and goes on serving.
    let tenant = json!({"id": "t2", "name": "x"});
    replica.post_json("/api/tenants", &tenant).await.expecting(201);
    replica.wait_for_log(|line| line["message"] == "the audit trail is not chained").await;
    let tenant = json!({"id": "t3", "name": "x"});
    replica.post_json("/api/tenants", &tenant).await.expecting(201);
    eventually(DEADLINE, "the rows that wait are counted", async || {
        replica.metrics().await.value("tenant_audit_unchained", &[]) > 1.5
    })
    .await;
    replica.get("/readyz").await.expecting(200);
}
