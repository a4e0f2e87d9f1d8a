//! Connections: accepted, bounded in time, and ended in order.
//!
//! `axum::serve` would do, but for three things: it waits for a request's head for ever, a head that
//! never ends holds up the shutdown, and each request passes through more boxes than a cached
//! look-up has work to do.

use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::Either;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;
use super::head_timer::HeadTimer;
use super::tls::Tls;

/// How long a connection may take to send the next request's head, from its opening or the last
/// answer on. Longer than load balancers keep an idle connection (60 s): one that we close while
/// they send a request on it would cost them that request.
const HEAD_PATIENCE: Duration = Duration::from_secs(75);
/// The same once the server is to end.
const LAST_HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// The largest head of a request.
const LARGEST_HEAD: usize = 64 * 1024;
/// How long to wait where no connection can be accepted: too many files are open, or memory is
/// short.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until `draining`; from then on takes no new connection, and returns when those that are
/// open have been answered. With `tls` it speaks nothing else.
pub async fn serve(
    listener: TcpListener,
    front: &'static Front,
    tls: Option<Arc<Tls>>,
    draining: CancellationToken,
) {
    let connections = TaskTracker::new();
    while let Some((stream, peer)) = draining.run_until_cancelled(accept(&listener)).await {
        let draining = draining.clone();
        match tls.clone() {
            None => connections.spawn(converse(stream, peer, front, draining)),
            Some(tls) => connections.spawn(async move {
                if let Some(stream) = tls.greet(stream, &draining).await {
                    converse(stream, peer, front, draining).await;
                }
            }),
        };
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection. What fails is that connection, or passes.
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are whole when they are sent; a failure here costs some milliseconds.
                let _ = stream.set_nodelay(true);
                return (stream, peer.ip());
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; trying again in a second");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers what comes over a connection, one request after the other.
async fn converse<S>(stream: S, peer: IpAddr, front: &'static Front, draining: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(HeadTimer::new(HEAD_PATIENCE))
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LARGEST_HEAD)
        // Bodies are small: to copy one behind its head costs less than a gathering write.
        .writev(false);
    let answering = Arc::new(AtomicBool::new(false));
    let service = service_fn(|mut request| {
        front.receive(&mut request, peer);
        match front.at_once(&request) {
            Some(response) => Either::Left(ready(Ok(response))),
            None => Either::Right(Answering::new(&answering).until(front.dispatch(request, peer))),
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is the client's business: whether its request was answered is logged.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // Left over: a request that is being answered, for as long as that takes, or a head that does
    // not end.
    while tokio::time::timeout(LAST_HEAD_PATIENCE, connection.as_mut()).await.is_err()
        && answering.load(Ordering::Relaxed)
    {}
}

/// Says that a request is being answered, for as long as it is there.
struct Answering(Arc<AtomicBool>);

impl Answering {
    fn new(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(Arc::clone(flag))
    }

    async fn until<T>(self, answered: impl Future<Output = T>) -> T {
        answered.await
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
