//! A TCP proxy before a server: the network between it and one replica, with its faults.
//!
//! One kind of connection can be treated alone: those on which changes are pushed (Redis pub/sub,
//! Postgres LISTEN), which tell themselves by what their client says first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::database::LISTENER;

const CHUNK: usize = 64 * 1024;
/// Chunks under way in one direction. What comes beyond that waits in the sockets, as in a network.
const QUEUE: usize = 64;
/// By then a client has said what kind of connection it is.
const INTRODUCTION: usize = 4 * 1024;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Link {
    #[default]
    Pass,
    /// New connections are reset; those that exist live on.
    Refuse,
    /// New connections are accepted and hear nothing; on those that exist nothing arrives in either
    /// direction, not even an end.
    Stall(Bytes),
    /// Each way takes that much longer.
    Delay(Duration),
    /// What goes in this direction is lost; in the other one it arrives. New connections hear
    /// nothing.
    HalfOpen(Direction),
}

/// What becomes of bytes on a link that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// They arrive afterwards.
    Kept,
    /// They do not, and as no stream may have a hole, a connection that has lost some is reset
    /// afterwards.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What a chunk meets.
enum Flow {
    On,
    Late(Duration),
    Held,
    Lost,
}

impl Link {
    fn flow(self, direction: Direction) -> Flow {
        match self {
            Self::Stall(Bytes::Kept) => Flow::Held,
            Self::Stall(Bytes::Lost) => Flow::Lost,
            Self::HalfOpen(dead) if dead == direction => Flow::Lost,
            Self::Delay(by) => Flow::Late(by),
            Self::Pass | Self::Refuse | Self::HalfOpen(_) => Flow::On,
        }
    }

    fn loses(self) -> bool {
        matches!(self, Self::Stall(Bytes::Lost) | Self::HalfOpen(_))
    }

    fn connects(self) -> bool {
        matches!(self, Self::Pass | Self::Delay(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Wires {
    server: u16,
    all: Link,
    /// Of the connections with pushes, if they are treated alone.
    push: Option<Link>,
    cuts: u64,
    push_cuts: u64,
}

impl Wires {
    fn link(&self, is_push: bool) -> Link {
        self.push.filter(|_| is_push).unwrap_or(self.all)
    }
}

/// See the module. All connections end with it.
pub struct Proxy {
    url: Url,
    wires: watch::Sender<Wires>,
    open: Arc<Open>,
    _tasks: JoinSet<()>,
}

/// Connections that are open, of either kind.
#[derive(Default)]
struct Open {
    all: AtomicUsize,
    push: AtomicUsize,
}

impl Proxy {
    /// Before the server of this URL, on this machine.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let server = url.port().expect("a test server's URL has a port");
        let port = listener.local_addr().expect("it is bound").port();
        url.set_port(Some(port)).expect("the URL has a host");
        let marker = if url.scheme().starts_with("redis") { "SUBSCRIBE" } else { LISTENER };
        let (all, push) = (Link::Pass, None);
        let wires = watch::Sender::new(Wires { server, all, push, cuts: 0, push_cuts: 0 });
        let open = Arc::<Open>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, wires.subscribe(), Arc::clone(&open), marker));
        Self { url, wires, open, _tasks: tasks }
    }

    /// The server's URL through the proxy.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// From now on all connections meet this.
    pub fn set(&self, link: Link) {
        self.wires.send_modify(|wires| (wires.all, wires.push) = (link, None));
    }

    /// From now on connections with pushes meet this, and the others what they met before.
    pub fn set_push(&self, link: Link) {
        self.wires.send_modify(|wires| wires.push = Some(link));
    }

    /// Resets every connection that there is.
    pub fn cut(&self) {
        self.wires.send_modify(|wires| wires.cuts += 1);
    }

    /// Resets every connection with pushes that there is.
    pub fn cut_push(&self) {
        self.wires.send_modify(|wires| wires.push_cuts += 1);
    }

    /// New connections go to the server on this port; those that exist stay where they are.
    pub fn lead_to(&self, port: u16) {
        self.wires.send_modify(|wires| wires.server = port);
    }

    /// How many connections are open, those with pushes among them.
    pub fn open(&self) -> usize {
        self.open.all.load(Ordering::Relaxed)
    }

    /// How many connections with pushes are open.
    pub fn open_push(&self) -> usize {
        self.open.push.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    wires: watch::Receiver<Wires>,
    open: Arc<Open>,
    marker: &'static str,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let (wires, born, open) = (wires.clone(), *wires.borrow(), Arc::clone(&open));
        open.all.fetch_add(1, Ordering::Relaxed);
        connections.spawn(async move {
            let connection = Connection {
                marker,
                open,
                born,
                wires,
                is_push: AtomicBool::new(false),
                push_cuts: AtomicU64::new(born.push_cuts),
                has_hole: AtomicBool::new(false),
            };
            connection.run(client).await;
        });
    }
}

struct Connection {
    marker: &'static str,
    open: Arc<Open>,
    /// As the wires were when it was accepted.
    born: Wires,
    wires: watch::Receiver<Wires>,
    is_push: AtomicBool,
    /// As they were when it was seen to have pushes.
    push_cuts: AtomicU64,
    has_hole: AtomicBool,
}

impl Connection {
    async fn run(&self, mut client: TcpStream) {
        let mut server = None;
        // A cut breaks off everything but the connect itself: half made, it could not be reset.
        let let_through = tokio::select! {
            () = self.doomed() => None,
            port = self.let_through() => port,
        };
        if let Some(port) = let_through {
            server = TcpStream::connect(("127.0.0.1", port)).await.ok();
        }
        if let Some(server) = &mut server {
            tokio::select! {
                () = self.doomed() => {}
                ended = self.carry(&mut client, server) => if ended.is_ok() { return },
            }
        }
        // An end that says so: both sides learn that something was lost.
        for stream in [Some(client), server].into_iter().flatten() {
            let _ = stream.set_zero_linger();
        }
    }

    /// Returns once the connection is cut, or the link works again and the stream has a hole.
    async fn doomed(&self) {
        let is_doomed = |wires: &Wires| {
            let is_push = self.is_push();
            wires.cuts != self.born.cuts
                || (is_push && wires.push_cuts != self.push_cuts.load(Ordering::Relaxed))
                || (self.has_hole.load(Ordering::Relaxed) && !wires.link(is_push).loses())
        };
        // The other end of the channel goes with the proxy, and with it this task.
        let _ = self.wires.clone().wait_for(is_doomed).await;
    }

    /// Waits until a new connection is let through, and says to which server; nothing if it is
    /// refused.
    async fn let_through(&self) -> Option<u16> {
        if self.born.all.loses() {
            self.has_hole.store(true, Ordering::Relaxed);
        }
        let mut wires = self.wires.clone();
        let decided = wires.wait_for(|wires| wires.all.connects() || wires.all == Link::Refuse);
        let wires = decided.await.ok()?;
        wires.all.connects().then_some(wires.server)
    }

    /// Returns when both directions have ended in good order.
    async fn carry(&self, client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::try_join!(
            self.pump(from_client, to_server, Direction::ToServer),
            self.pump(from_server, to_client, Direction::ToClient),
        )?;
        Ok(())
    }

    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
    ) -> io::Result<()> {
        let (queue, mut arrived) = mpsc::channel(QUEUE);
        let reading = async move {
            let mut introduction = Vec::new();
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                // A reset is an end like any other: the peer is gone.
                if from.read_buf(&mut chunk).await.unwrap_or(0) == 0 {
                    return Ok(());
                }
                if direction == Direction::ToServer && introduction.len() < INTRODUCTION {
                    introduction.extend_from_slice(&chunk);
                    self.recognise(&introduction)?;
                }
                if queue.send((Instant::now(), chunk)).await.is_err() {
                    return Ok(());
                }
            }
        };
        let writing = async move {
            let mut wires = self.wires.clone();
            while let Some((since, chunk)) = arrived.recv().await {
                if self.passes(&mut wires, direction, since).await {
                    to.write_all(&chunk).await?;
                }
            }
            if !self.passes(&mut wires, direction, Instant::now()).await {
                // The end is lost as well: this side learns of it when the link works again.
                std::future::pending::<()>().await;
            }
            to.shutdown().await
        };
        tokio::try_join!(reading, writing)?;
        Ok(())
    }

    /// Waits until a chunk of that moment may go on; `false` if it is lost.
    async fn passes(
        &self,
        wires: &mut watch::Receiver<Wires>,
        direction: Direction,
        since: Instant,
    ) -> bool {
        loop {
            let flow = {
                // While it is borrowed nobody changes it, so that the hole is seen at the change.
                let wires = wires.borrow_and_update();
                let flow = wires.link(self.is_push()).flow(direction);
                if matches!(flow, Flow::Lost) {
                    self.has_hole.store(true, Ordering::Relaxed);
                }
                flow
            };
            match flow {
                Flow::On => return true,
                Flow::Lost => return false,
                Flow::Held => drop(wires.changed().await),
                Flow::Late(by) => tokio::select! {
                    () = sleep_until(since + by) => return true,
                    _ = wires.changed() => {}
                },
            }
        }
    }

    /// Looks whether this is a connection with pushes, before the server hears of it.
    fn recognise(&self, introduction: &[u8]) -> io::Result<()> {
        let marker = self.marker.as_bytes();
        if self.is_push() || !introduction.windows(marker.len()).any(|window| window == marker) {
            return Ok(());
        }
        let wires = self.wires.borrow();
        if wires.link(true) == Link::Refuse {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.push_cuts.store(wires.push_cuts, Ordering::Relaxed);
        self.is_push.store(true, Ordering::Relaxed);
        self.open.push.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_push(&self) -> bool {
        self.is_push.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.all.fetch_sub(1, Ordering::Relaxed);
        if self.is_push() {
            self.open.push.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
