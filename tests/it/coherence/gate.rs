//! A gate between a replica and a server: holds back the answer to one statement.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fleet::DEADLINE;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Open,
    /// The next statement with the marker in it will be held.
    Armed,
    /// It was sent.
    Asked,
    /// Its answer is here, and waits.
    Held,
    Released,
}

/// See the module.
pub struct Gate {
    url: String,
    marker: Arc<Mutex<Vec<u8>>>,
    state: Arc<watch::Sender<State>>,
    _tasks: JoinSet<()>,
}

impl Gate {
    /// Before the server of this URL, on this machine.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (scheme, rest) = url.split_once("127.0.0.1:").expect("a local server");
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (upstream, path) = rest.split_at(digits);
        let upstream = format!("127.0.0.1:{upstream}");
        let url = format!("{scheme}127.0.0.1:{port}{path}");
        let marker = Arc::default();
        let state = Arc::new(watch::Sender::new(State::Open));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, Arc::clone(&marker), Arc::clone(&state)));
        Self { url, marker, state, _tasks: tasks }
    }

    /// The server's URL through the gate.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Holds the answer to the next statement that has this text among its parameters.
    pub fn hold_next(&self, marker: &str) {
        *self.marker.lock().unwrap() = marker.as_bytes().to_vec();
        self.state.send_replace(State::Armed);
    }

    /// Waits until the answer is held: the database has read what it was asked for.
    pub async fn held(&self) {
        let mut state = self.state.subscribe();
        let held = state.wait_for(|state| *state == State::Held);
        tokio::time::timeout(DEADLINE, held).await.expect("no statement came").unwrap();
    }

    /// Lets the answer through.
    pub fn release(&self) {
        self.state.send_replace(State::Released);
    }
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    marker: Arc<Mutex<Vec<u8>>>,
    state: Arc<watch::Sender<State>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        // A server that refuses is one that ends the connection.
        let Ok(server) = TcpStream::connect(&upstream).await else { continue };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let caught = Arc::new(watch::Sender::new(false));
        let (marker, armed) = (Arc::clone(&marker), Arc::clone(&state));
        connections.spawn(requests(from_client, to_server, marker, armed, Arc::clone(&caught)));
        connections.spawn(answers(from_server, to_client, Arc::clone(&state), caught));
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    marker: Arc<Mutex<Vec<u8>>>,
    state: Arc<watch::Sender<State>>,
    caught: Arc<watch::Sender<bool>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let marker = marker.lock().unwrap().clone();
        let found = !marker.is_empty()
            && buffer[..length].windows(marker.len()).any(|window| window == marker);
        let is_first = |state: &mut State| {
            let first = *state == State::Armed;
            if first {
                *state = State::Asked;
            }
            first
        };
        if found && state.send_if_modified(is_first) {
            caught.send_replace(true);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<watch::Sender<State>>,
    caught: Arc<watch::Sender<bool>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if caught.send_replace(false) {
            state.send_replace(State::Held);
            let mut released = state.subscribe();
            if released.wait_for(|state| *state == State::Released).await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
