//! Secrets are where they belong, and nowhere else: the API goes through success, failure and faults
//! while everything is logged that can be, and then everything that anybody may read is searched.

mod marker;
mod panic;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use self::marker::{Haystack, Marker};
use crate::coherence::fleet::{DEADLINE, by_phone, connected};
use crate::harness::proxy::Link;
use crate::harness::{Answer, Call, Postgres, Proxy, Redis, Replica, Scratch, eventually, run_cli};

/// What every replica logs here: all of it, whoever says it.
const EVERYTHING: (&str, &str) = ("RUST_LOG", "trace");

/// What may be read by whoever has not the scope to see secrets.
struct Search {
    marker: Marker,
    /// Tokens that were made: nothing but the answer that made each may have it.
    tokens: Vec<String>,
    places: Vec<Haystack>,
}

impl Search {
    fn new() -> Self {
        Self { marker: Marker::new(), tokens: Vec::new(), places: Vec::new() }
    }

    fn secret(&self, name: &str) -> String {
        self.marker.secret(name)
    }

    fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.places.push(Haystack::new(name, bytes));
    }

    /// Sends what may not be answered with a secret, whatever else the answer is.
    async fn ask(&mut self, call: Call) -> Answer {
        let answer = call.await;
        let text = format!("{:?}\n{}", answer.headers, answer.text());
        self.add(format!("an answer ({})", answer.status), text);
        answer
    }

    fn add_logs(&mut self, replica: &Replica) {
        let lines = [replica.process.stdout.text(), replica.process.stderr.text()].concat();
        // The reader would find nothing where nothing is logged.
        assert!(lines.contains("\"level\":\"DEBUG\""), "it logs more than it has to");
        self.add(format!("the log of {}", replica.process.name), lines);
    }

    /// Panics with every place that a secret is in.
    fn run(&self) {
        let found: Vec<String> = self
            .places
            .iter()
            .filter_map(|Haystack { name, bytes }| {
                let mut markers = self.tokens.iter().map(|token| Marker::of(secret_part(token)));
                let of_token = markers.find_map(|marker| marker.found_in(bytes));
                let how = self.marker.found_in(bytes).or(of_token);
                how.map(|how| format!("{name}, {how}"))
            })
            .collect();
        assert!(found.is_empty(), "a secret is in:\n{}", found.join("\n"));
    }

    fn whatsapp(&self) -> Value {
        json!({
            "access_token": self.secret("access-token"),
            "app_secret": self.secret("app-secret"),
            "verify_token": self.secret("verify-token"),
            "phone_number_id": "1001",
            "of_no_list": self.secret("unknown"),
            "nested": {"list": [self.secret("nested"), {"deeper": self.secret("deeper")}]},
        })
    }

    fn genesys(&self) -> Value {
        json!({
            "clientId": "made-up-client",
            "clientSecret": self.secret("client-secret"),
            "webhookSecret": self.secret("webhook-secret"),
            "region": "mypurecloud.de",
            "integrationId": "integration-1",
        })
    }

    /// The tenant, and every credential of it, set in every way there is.
    async fn write(&mut self, replica: &Replica) {
        let tenant = json!({"id": "t1", "name": "One", "phone_number_id": "1001"});
        self.ask(replica.post_json("/api/tenants", &tenant)).await.expecting(201);
        let path = "/api/tenants/t1/credentials";
        for (kind, credentials) in [("whatsapp", self.whatsapp()), ("genesys", self.genesys())] {
            let body = json!({"type": kind, "credentials": credentials});
            self.ask(replica.put_json(path, &body)).await.expecting(200);
            self.ask(replica.post_json(path, &body)).await.expecting(200);
        }
        let genesys = self.genesys();
        self.ask(replica.put_json("/api/tenants/t1/genesys/credentials", &genesys))
            .await
            .expecting(200);
    }

    /// Versions of them, and tokens: made, shown, replaced, revoked, destroyed.
    async fn go_back(&mut self, replica: &Replica) {
        let path = "/api/tenants/t1/credentials/genesys";
        let first = json!({"version": 1});
        self.ask(replica.post_json(&format!("{path}/rollback"), &first)).await.expecting(200);
        self.ask(replica.get(&format!("{path}/versions"))).await.expecting(200);
        let shown = replica.get(&format!("{path}/versions/1")).await.expecting(200);
        assert!(self.marker.found_in(&shown.body).is_some(), "this is where the secrets are");
        self.ask(replica.delete(path)).await.expecting(204);
        self.ask(replica.post_json(&format!("{path}/undelete"), &json!({}))).await.expecting(200);
        self.ask(replica.delete(&format!("{path}/versions/1"))).await.expecting(204);
        let gone = self.ask(replica.get(&format!("{path}/versions/1"))).await;
        assert_eq!(gone.status, 410, "{}", gone.text());

        let scopes = ["lookup:read", "credentials:reveal", "tokens:admin"];
        let new = json!({"name": "canary", "scopes": scopes});
        let made = replica.post_json("/api/tokens", &new).await.expecting(201).json();
        let id = made["id"].as_str().unwrap().to_owned();
        let token = made["token"].as_str().unwrap().to_owned();
        let overlap = json!({"overlap_seconds": 60});
        let rotate = format!("/api/tokens/{id}/rotate");
        let next = replica.post_json(&rotate, &overlap).await.expecting(201).json();
        let next_id = next["id"].as_str().unwrap().to_owned();
        self.tokens = vec![token.clone(), next["token"].as_str().unwrap().to_owned()];
        let bearer = format!("Bearer {token}");
        let with = |path: &str| replica.get(path).header("authorization", &bearer);
        for _ in 0..2 {
            self.ask(with("/api/tenants/by-phone/1001")).await.expecting(200);
        }
        with("/api/tenants/t1/credentials/whatsapp").await.expecting(200);
        self.ask(with("/api/tenants/t1")).await.expecting(403);
        for path in ["/api/tokens".to_owned(), format!("/api/tokens/{id}")] {
            self.ask(replica.get(&path)).await.expecting(200);
        }
        for id in [&id, &next_id] {
            self.ask(replica.delete(&format!("/api/tokens/{id}"))).await.expecting(200);
        }
        self.ask(with("/api/tenants/by-phone/1001")).await.expecting(401);
        let altered = format!("{bearer}x");
        let call = replica.get("/api/tenants/t1").header("authorization", &altered);
        self.ask(call).await.expecting(401);
        eventually(DEADLINE, "what was done is in the trail", async || {
            let trail = replica.get_json("/api/audit?action=token.revoke").await;
            trail["entries"].as_array().unwrap().len() == 2
        })
        .await;
        self.ask(replica.get("/api/audit?limit=200")).await.expecting(200);
    }

    /// What shows them masked, or not at all.
    async fn read(&mut self, replica: &Replica) {
        for path in [
            "/api/tenants/t1/credentials?type=whatsapp",
            "/api/tenants/t1/credentials?type=genesys",
            "/api/tenants/t1/genesys/credentials",
            "/api/tenants/t1",
            "/api/tenants",
            &by_phone(1).replace("10001", "1001"),
            "/api/tenants/by-integration/integration-1",
            "/health",
            "/openapi.json",
        ] {
            // Out of the database, and out of memory.
            for _ in 0..2 {
                self.ask(replica.get(path)).await.expecting(200);
            }
        }
        for path in ["credentials/whatsapp", "credentials/genesys", "credentials/meta"] {
            let answer = replica.get(&format!("/api/tenants/t1/{path}")).await.expecting(200);
            let is_there = self.marker.found_in(&answer.body).is_some();
            assert!(is_there, "{path}: this is where the secrets are");
        }
    }

    /// What commands say.
    async fn commands(&mut self, database: &str) {
        let folder = Scratch::new("canary");
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let tenant =
            json!({"id": "t2", "name": "Two", "credentials": {"whatsapp": self.whatsapp()}});
        let right = file("right.json", json!({"tenants": [tenant]}).to_string());
        let secret = Value::from(self.secret("seed"));
        let broken = file("broken.json", format!("{{\"tenants\": [{{{secret}: {secret}, "));
        let unknown =
            json!({"tenants": [{"id": "t3", "name": "T", "credentials": {"sip": secret}}]});
        let unknown = file("unknown.json", unknown.to_string());
        let envs = [("DATABASE_URL", database), EVERYTHING];
        for (file, code) in [(right, 0), (broken, 1), (unknown, 1)] {
            let output = run_cli(&["seed", &file], &envs).await.expecting(code);
            self.add("what a command says", format!("{}\n{}", output.stdout, output.stderr));
        }
    }

    /// Everything in a folder.
    fn add_files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            self.add(path.display().to_string(), fs::read(&path).unwrap());
        }
    }

    /// What is refused, with secrets in every part of the request that a caller may mistake.
    async fn fail(&mut self, replica: &Replica) {
        let path = "/api/tenants/t1/credentials";
        let secret = self.secret("refused");
        let set = |credentials: Value| json!({"type": "whatsapp", "credentials": credentials});
        let mask_and_secret = json!({"access_token": "***4567", "app_secret": secret});
        for body in [
            set(mask_and_secret),
            set(json!([secret])),
            set(json!(secret)),
            set(json!({"access_token": {"a": secret}})),
            json!({"type": secret, "credentials": {"access_token": secret}}),
            json!({"type": "whatsapp", "credentials": {"access_token": secret}, "more": secret}),
            json!({"type": "whatsapp", secret.as_str(): secret}),
        ] {
            let answer = self.ask(replica.put_json(path, &body)).await;
            assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
        }
        let quoted = Value::from(secret.as_str()).to_string();
        for body in [
            format!("{{\"type\": {quoted}"),
            format!("{{\"type\": {quoted}, \"type\": {quoted}}}"),
            format!("{}{quoted}{}", "[".repeat(40), "]".repeat(40)),
            format!("[{quoted}, 1e999]"),
            format!("[{quoted}, \"\\u0000\"]"),
            secret.clone(),
            quoted.repeat(20_000),
        ] {
            let call = replica.request(reqwest::Method::PUT, path);
            let call = call.header("content-type", "application/json").body(body);
            // It may be refused before all of it is sent.
            if let Ok(answer) = call.attempt().await {
                assert!((400..500).contains(&answer.status), "{}", answer.text());
                self.add("a refusal", answer.body.to_vec());
            }
        }
        let absent = set(json!({"access_token": secret}));
        self.ask(replica.put_json("/api/tenants/nobody/credentials", &absent)).await.expecting(404);
        let genesys = json!({"clientId": "c", "clientSecret": secret, "region": secret, "integrationId": "i"});
        let path = "/api/tenants/t1/genesys/credentials";
        self.ask(replica.put_json(path, &genesys)).await.expecting(400);
        let tenant = json!({"id": secret, "name": "Two", "settings": {"a": 1}, "token": secret});
        self.ask(replica.post_json("/api/tenants", &tenant)).await.expecting(400);
        self.ask(replica.patch_json("/api/tenants/t1", &json!({"status": secret})))
            .await
            .expecting(400);
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for path in [
            format!("/api/tenants/{encoded}/credentials/whatsapp"),
            format!("/api/tenants/t1/credentials/{encoded}"),
            format!("/api/tenants/t1/credentials?type={encoded}"),
            format!("/api/tenants?status={encoded}"),
            format!("/api/tenants/by-phone/{encoded}"),
            format!("/{encoded}"),
        ] {
            let answer = self.ask(replica.get(&path)).await;
            assert!((400..500).contains(&answer.status), "{path}: {}", answer.text());
        }
    }
}

/// The part of a token that nobody else has.
fn secret_part(token: &str) -> &str {
    &token["ts_live_".len() + 16..]
}

/// Two replicas, both buses, and a cluster of its own, for its log is searched as well.
#[tokio::test]
async fn no_secret_leaves_postgres_redis_and_replicas() {
    let mut search = Search::new();
    let (server, redis) = (Postgres::own_cluster().await, Redis::start().await);
    let database = server.database().await;
    let (to_database, to_redis) =
        (Proxy::before(&database.url).await, Proxy::before(&redis.url()).await);
    let monitor = redis.monitor().await;
    let builder = Replica::builder()
        .env("DATABASE_URL", to_database.url())
        .env("REDIS_URL", to_redis.url())
        .env(EVERYTHING.0, EVERYTHING.1);
    let replicas = builder.start_many(2).await;
    let locked = builder.clone().env("ANONYMOUS_SCOPES", "lookup:read").start().await;

    search.write(&replicas[0]).await;
    search.go_back(&replicas[0]).await;
    for replica in &replicas {
        search.read(replica).await;
        search.fail(replica).await;
    }
    let body = json!({"type": "whatsapp", "credentials": search.whatsapp()});
    let path = "/api/tenants/t1/credentials";
    search.ask(locked.put_json(path, &body)).await.expecting(401);

    // The database refuses a write, and says of which row.
    database
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'refused: % %', NEW, OLD; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON tenant_credentials
             FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    search.ask(replicas[0].put_json(path, &body)).await.expecting(500);
    database.execute("DROP TRIGGER refuse ON tenant_credentials").await;
    // A row that does not open.
    database
        .execute(
            "UPDATE tenant_credentials SET version = version + 100
             WHERE credential_type = 'whatsapp'",
        )
        .await;
    eventually(DEADLINE, "it is refused", async || {
        let answer = replicas[1].get("/api/tenants/t1/credentials/whatsapp").await;
        if answer.status == 500 { Ok(()) } else { Err(answer.status) }
    })
    .await;
    search.ask(replicas[1].get("/api/tenants/t1/credentials/whatsapp")).await.expecting(500);
    search.ask(replicas[1].put_json(path, &body)).await.expecting(200);

    // Redis is gone, and then the database too.
    for proxy in [&to_redis, &to_database] {
        proxy.set(Link::Refuse);
        proxy.cut();
        for replica in &replicas {
            let answer = search.ask(replica.put_json(path, &body)).await;
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
            search.ask(replica.get("/api/tenants/t1/credentials?type=whatsapp")).await;
        }
    }
    for proxy in [&to_redis, &to_database] {
        proxy.set(Link::Pass);
    }
    for replica in &replicas {
        connected(replica, "redis", true).await;
        eventually(DEADLINE, "writes go on", async || {
            let answer = replica.put_json(path, &body).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.status) }
        })
        .await;
        search.read(replica).await;
    }
    search.commands(&database.url).await;

    for replica in replicas.iter().chain([&locked]) {
        search.ask(replica.get("/metrics")).await.expecting(200);
        replica.terminate().await;
        search.add_logs(replica);
    }
    search.add("what Redis was sent", monitor.stop().await.join("\n"));
    search.add("the log of Postgres", server.log());
    let dump = server.dump(&database).await;
    assert!(dump.contains("COPY public.tenant_credentials "), "it is a dump of everything");
    search.add("a dump of Postgres", dump);
    search.run();
}

/// The embedded default: one process, and the files that it leaves.
#[tokio::test]
async fn no_secret_leaves_sqlite_and_its_process() {
    let mut search = Search::new();
    let folder = Scratch::new("canary");
    let data = folder.join("data");
    let replica = Replica::builder().data_dir(&data).env(EVERYTHING.0, EVERYTHING.1).start().await;
    search.write(&replica).await;
    search.go_back(&replica).await;
    search.read(&replica).await;
    search.fail(&replica).await;
    search.ask(replica.get("/metrics")).await.expecting(200);
    // With its log of what is not in the database's file yet, and without.
    search.add_files(&data);
    replica.terminate().await;
    search.add_logs(&replica);
    let url = format!("sqlite://{}", data.join("tenant-service.db").display());
    search.commands(&url).await;
    search.add_files(&data);
    search.run();
}
