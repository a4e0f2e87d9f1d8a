//! The load judges sound replicas as sound, and one that keeps old answers as what it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::load::wire::{Cache, Connection, get};
use crate::harness::load::{Load, Settings};
use crate::harness::{Postgres, Replica, eventually};

const DEADLINE: Duration = Duration::from_mins(1);

fn settings() -> Settings {
    Settings { reads_a_second: Some(1_000), writes_a_second: 60, ..Settings::new(7, DEADLINE) }
}

#[tokio::test]
async fn one_replica_is_coherent_and_everything_is_recorded() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    let mut load = Load::start(&[replica.address()], settings()).await;
    let mut judged = Vec::new();
    eventually(DEADLINE, "some reads and writes", async || {
        judged.append(&mut load.judge());
        let tally = load.tally();
        if tally.reads > 1_500 && tally.writes > 100 && tally.revoked > 3 {
            Ok(())
        } else {
            Err(tally)
        }
    })
    .await;
    let (tally, violations) = load.stop().await;
    assert!(judged.is_empty() && violations.is_empty(), "{judged:#?} {violations:#?}");
    assert_eq!((tally.refused, tally.reads_failed, tally.writes_failed), (0, 0, 0), "{tally:?}");
    assert!(tally.from_memory > 0, "{tally:?}");
    assert!(database.scalar::<i64>("SELECT count(*) FROM tenant_changes").await > 100);
}

#[tokio::test]
async fn a_replica_that_keeps_old_answers_is_found_out() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    let hoarder = Hoarder::before(replica.address()).await;
    let addresses = [replica.address(), &hoarder.address];
    let mut load = Load::start(&addresses, settings()).await;
    let violations = eventually(DEADLINE, "an old answer", async || {
        Some(load.judge()).filter(|violations| !violations.is_empty())
    })
    .await;
    assert!(violations.iter().all(|violation| violation.read.replica == 1), "{violations:#?}");
    assert!(violations.iter().any(|violation| violation.lateness() > Duration::ZERO));
    drop(load);
}

/// Answers like the replica behind it, and each GET that it was asked before as it did then.
struct Hoarder {
    address: String,
    _tasks: JoinSet<()>,
}

impl Hoarder {
    async fn before(replica: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let replica = replica.to_owned();
        let hoard = Arc::new(Mutex::new(HashMap::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let replica = Connection::to(&replica);
                connections.spawn(hoard_answers(stream, replica, Arc::clone(&hoard)));
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn hoard_answers(
    mut stream: TcpStream,
    mut replica: Connection,
    hoard: Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>,
) {
    // The load sends a request in one piece, and the next one after its answer.
    let mut request = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut request).await {
        let request = &request[..length];
        let kept = hoard.lock().unwrap().get(request).cloned();
        let answer = match kept {
            Some(kept) => kept,
            None => {
                let Ok(answer) = replica.ask(request).await else { return };
                let tag = answer.revision.map(|number| format!("etag: \"{number}\"\r\n"));
                let (status, tag) = (answer.status, tag.unwrap_or_default());
                let head = format!("HTTP/1.1 {status} -\r\n{tag}content-length: ");
                let head = format!("{head}{}\r\n\r\n", answer.body.len());
                [head.as_bytes(), answer.body].concat()
            }
        };
        if request.starts_with(b"GET") {
            hoard.lock().unwrap().insert(request.to_vec(), answer.clone());
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_breaks_and_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = JoinSet::new();
    server.spawn(async move {
        for answer in [
            "HTTP/1.1 200 OK\r\netag: \"42\"\r\ncache-status: tenant-service; hit; detail=stale\r\n\
             coherence: fenced\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-le",
            "HTTP/1.1 404 Not Found\r\ncache-status: tenant-service; fwd=bypass; detail=fenced\r\n\
             content-length: 0\r\n\r\n",
        ] {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut connection = Connection::to(&address);
    let request = get("/");
    let answer = connection.ask(&request).await.unwrap();
    assert_eq!((answer.status, answer.revision), (200, Some(42)));
    assert_eq!((answer.cache, answer.coherence), (Cache::Stale, Some("fenced")));
    assert_eq!(answer.body, b"{}");
    // The server has hung up meanwhile, then hangs up in the middle of a head.
    connection.ask(&request).await.unwrap_err();
    connection.ask(&request).await.unwrap_err();
    let answer = connection.ask(&request).await.unwrap();
    assert_eq!((answer.status, answer.revision), (404, None));
    assert_eq!((answer.cache, answer.coherence), (Cache::Fenced, None));
    drop(server);
    connection.ask(&request).await.unwrap_err();
    connection.ask(&request).await.unwrap_err();
}
