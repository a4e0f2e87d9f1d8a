//! The network does as told.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::StreamExt;
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::harness::proxy::{Bytes, Direction, Link};
use crate::harness::{Postgres, Proxy, Redis, eventually};

const DEADLINE: Duration = Duration::from_secs(20);
/// That nothing comes is told by waiting so long: in a sound network a byte takes a microsecond.
const SILENCE: Duration = Duration::from_millis(50);

/// Both ends of a connection through a proxy.
struct Ends {
    client: (OwnedReadHalf, OwnedWriteHalf),
    server: (OwnedReadHalf, OwnedWriteHalf),
}

struct Rig {
    proxy: Proxy,
    server: TcpListener,
}

impl Rig {
    async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", server.local_addr().unwrap());
        Self { proxy: Proxy::before(&url).await, server }
    }

    async fn client(&self) -> TcpStream {
        let address = self.proxy.url().strip_prefix("redis://").unwrap();
        TcpStream::connect(address).await.unwrap()
    }

    async fn connect(&self) -> Ends {
        let client = self.client().await;
        let (server, _) = timeout(DEADLINE, self.server.accept()).await.unwrap().unwrap();
        Ends { client: client.into_split(), server: server.into_split() }
    }

    async fn nobody_comes(&self) {
        timeout(SILENCE, self.server.accept()).await.expect_err("nobody is let through");
    }
}

impl Ends {
    async fn end_in_a_reset(mut self) {
        for end in [&mut self.client.0, &mut self.server.0] {
            let ended = timeout(DEADLINE, end.read(&mut [0; 16])).await.unwrap();
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }

    async fn works(&mut self) {
        says(&mut self.client.1, "ask").await;
        hears(&mut self.server.0, "ask").await;
        says(&mut self.server.1, "answer").await;
        hears(&mut self.client.0, "answer").await;
    }
}

async fn says(end: &mut OwnedWriteHalf, text: &str) {
    end.write_all(text.as_bytes()).await.unwrap();
}

async fn hears(end: &mut OwnedReadHalf, text: &str) {
    let mut heard = vec![0; text.len()];
    timeout(DEADLINE, end.read_exact(&mut heard)).await.expect("something is said").unwrap();
    assert_eq!(heard, text.as_bytes());
}

async fn hears_nothing(end: &mut OwnedReadHalf) {
    let heard = timeout(SILENCE, end.read(&mut [0; 16])).await;
    heard.expect_err("not even an end");
}

#[tokio::test]
async fn passes_bytes_and_ends_both_ways() {
    let rig = Rig::new().await;
    let mut ends = rig.connect().await;
    ends.works().await;
    assert_eq!((rig.proxy.open(), rig.proxy.open_push()), (1, 0));
    // One direction ends; the other goes on.
    ends.client.1.shutdown().await.unwrap();
    assert_eq!(ends.server.0.read(&mut [0; 16]).await.unwrap(), 0);
    says(&mut ends.server.1, "late").await;
    hears(&mut ends.client.0, "late").await;
    drop(ends.server);
    assert_eq!(ends.client.0.read(&mut [0; 16]).await.unwrap(), 0);
    eventually(DEADLINE, "no connection is left", async || rig.proxy.open() == 0).await;
}

#[tokio::test]
async fn a_cut_resets_what_there_is_and_nothing_else() {
    let rig = Rig::new().await;
    let ends = rig.connect().await;
    rig.proxy.cut();
    ends.end_in_a_reset().await;
    rig.connect().await.works().await;
}

#[tokio::test]
async fn refusing_resets_new_connections_and_lets_the_others_live() {
    let rig = Rig::new().await;
    let mut old = rig.connect().await;
    rig.proxy.set(Link::Refuse);
    let refused = rig.client().await.read(&mut [0; 16]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionReset);
    old.works().await;
    rig.proxy.set(Link::Pass);
    rig.connect().await.works().await;
}

#[tokio::test]
async fn bytes_kept_by_a_stall_arrive_afterwards() {
    let rig = Rig::new().await;
    let mut old = rig.connect().await;
    rig.proxy.set(Link::Stall(Bytes::Kept));
    says(&mut old.client.1, "to the server").await;
    says(&mut old.server.1, "to the client").await;
    let mut new = rig.client().await;
    new.write_all(b"new").await.unwrap();
    hears_nothing(&mut old.server.0).await;
    hears_nothing(&mut old.client.0).await;
    rig.nobody_comes().await;
    // An end stands still, too.
    drop(old.client.1);
    hears_nothing(&mut old.server.0).await;

    rig.proxy.set(Link::Pass);
    hears(&mut old.server.0, "to the server").await;
    hears(&mut old.client.0, "to the client").await;
    assert_eq!(old.server.0.read(&mut [0; 16]).await.unwrap(), 0);
    let (server, _) = timeout(DEADLINE, rig.server.accept()).await.unwrap().unwrap();
    hears(&mut server.into_split().0, "new").await;
}

#[tokio::test]
async fn a_connection_that_lost_bytes_in_a_stall_is_reset_afterwards() {
    let rig = Rig::new().await;
    let (mut silent, mut busy) = (rig.connect().await, rig.connect().await);
    rig.proxy.set(Link::Stall(Bytes::Lost));
    says(&mut busy.client.1, "lost").await;
    hears_nothing(&mut busy.server.0).await;
    let mut new = rig.client().await;
    rig.nobody_comes().await;
    rig.proxy.set(Link::Pass);
    busy.end_in_a_reset().await;
    let refused = new.read(&mut [0; 16]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionReset);
    silent.works().await;
}

#[tokio::test]
async fn a_delay_is_one_of_each_byte_and_not_of_the_sum() {
    const BY: Duration = Duration::from_millis(60);
    let rig = Rig::new().await;
    let mut ends = rig.connect().await;
    rig.proxy.set(Link::Delay(BY));
    let began = Instant::now();
    for _ in 0..20 {
        says(&mut ends.client.1, "x").await;
        tokio::task::yield_now().await;
    }
    hears(&mut ends.server.0, &"x".repeat(20)).await;
    let there = began.elapsed();
    assert!((BY..10 * BY).contains(&there), "{there:?}");
    says(&mut ends.server.1, "y").await;
    hears(&mut ends.client.0, "y").await;
    assert!(began.elapsed() >= 2 * BY);
    // Whoever is late goes on at once when it is over.
    rig.proxy.set(Link::Delay(10 * DEADLINE));
    says(&mut ends.client.1, "late").await;
    hears_nothing(&mut ends.server.0).await;
    rig.proxy.set(Link::Pass);
    hears(&mut ends.server.0, "late").await;
}

#[tokio::test]
async fn half_open_is_one_direction() {
    for dead in [Direction::ToServer, Direction::ToClient] {
        let rig = Rig::new().await;
        let Ends { mut client, mut server } = rig.connect().await;
        rig.proxy.set(Link::HalfOpen(dead));
        says(&mut client.1, "ask").await;
        says(&mut server.1, "answer").await;
        if dead == Direction::ToServer {
            hears(&mut client.0, "answer").await;
            hears_nothing(&mut server.0).await;
        } else {
            hears(&mut server.0, "ask").await;
            hears_nothing(&mut client.0).await;
        }
        let _new = rig.client().await;
        rig.nobody_comes().await;
        rig.proxy.set(Link::Pass);
        Ends { client, server }.end_in_a_reset().await;
    }
}

#[tokio::test]
async fn new_connections_go_where_they_are_led() {
    let (old, new) = (Rig::new().await, Rig::new().await);
    let mut before = old.connect().await;
    old.proxy.lead_to(new.server.local_addr().unwrap().port());
    let _after = old.client().await;
    new.server.accept().await.unwrap();
    before.works().await;
}

#[tokio::test]
async fn pub_sub_can_be_treated_alone() {
    let redis = Redis::start().await;
    let proxy = Proxy::before(&redis.url()).await;
    let client = ::redis::Client::open(proxy.url()).unwrap();
    let mut ordinary = client.get_multiplexed_async_connection().await.unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe("c").await.unwrap();
    assert_eq!((proxy.open(), proxy.open_push()), (2, 1));
    let publish = async |connection: &mut ::redis::aio::MultiplexedConnection| {
        let publish = ::redis::cmd("PUBLISH").arg("c").arg("m").to_owned();
        publish.query_async::<i64>(connection).await.unwrap()
    };
    assert_eq!(publish(&mut ordinary).await, 1);
    assert!(pubsub.on_message().next().await.is_some());

    proxy.set_push(Link::Stall(Bytes::Kept));
    assert_eq!(publish(&mut ordinary).await, 1);
    timeout(SILENCE, pubsub.on_message().next()).await.expect_err("it stands still");
    proxy.set_push(Link::Pass);
    assert!(pubsub.on_message().next().await.is_some());

    proxy.set_push(Link::Refuse);
    proxy.cut_push();
    assert!(pubsub.on_message().next().await.is_none(), "it is cut");
    let mut refused = client.get_async_pubsub().await.unwrap();
    refused.subscribe("c").await.expect_err("it is refused once it is seen what it is");
    assert_eq!(publish(&mut ordinary).await, 0);
    proxy.set(Link::Pass);
    client.get_async_pubsub().await.unwrap().subscribe("c").await.unwrap();
}

#[tokio::test]
async fn listen_can_be_treated_alone() {
    let database = Postgres::empty_database().await;
    let proxy = Proxy::before(&database.url).await;
    let mut ordinary = PgConnection::connect(proxy.url()).await.unwrap();
    let url = format!("{}?application_name=tenant-service%20listener", proxy.url());
    let mut listener = PgListener::connect(&url).await.unwrap();
    listener.eager_reconnect(false);
    listener.listen("c").await.unwrap();
    assert_eq!((proxy.open(), proxy.open_push()), (2, 1));
    ordinary.execute("NOTIFY c").await.unwrap();
    assert!(listener.try_recv().await.unwrap().is_some());

    proxy.set_push(Link::Stall(Bytes::Kept));
    ordinary.execute("NOTIFY c").await.unwrap();
    timeout(SILENCE, listener.try_recv()).await.expect_err("it stands still");
    proxy.set_push(Link::Pass);
    assert!(listener.try_recv().await.unwrap().is_some());

    proxy.set_push(Link::Refuse);
    proxy.cut_push();
    assert!(!matches!(listener.try_recv().await, Ok(Some(_))), "it is cut");
    PgListener::connect(&url).await.expect_err("it is refused");
    ordinary.execute("SELECT 1").await.unwrap();
}
