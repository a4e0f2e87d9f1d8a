//! The time-out of a request's head, at a cost that the hot path can bear.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// hyper's timer for the heads of one connection.
///
/// hyper begins a new sleep with each head and drops it when the head is there. A sleep of tokio's
/// is entered into a wheel, under a lock, and taken out again; that would be done for each request.
/// This timer keeps one sleep entered for as long as the connection lives, lets it run out where
/// it was set for an earlier head, and only then sets it for the one that is awaited.
#[derive(Debug, Clone)]
pub struct HeadTimer(Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>);

impl HeadTimer {
    /// A timer whose deadlines are at least so far away.
    pub fn new(least: Duration) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(least)))))
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep { timer: self.clone(), deadline })
    }
}

struct HeadSleep {
    timer: HeadTimer,
    deadline: Instant,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            ready!(shared.as_mut().poll(context));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            // Set for an earlier head, whose deadline came before this one's.
            shared.as_mut().reset(self.deadline.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use axum::http::{Request, Response};
    use http_body_util::Empty;
    use hyper::body::{Bytes, Incoming};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_head_has_its_own_deadline() {
        let timer = HeadTimer::new(Duration::from_millis(1));
        let began = Instant::now();
        let (first, second) = (Duration::from_millis(5), Duration::from_millis(20));
        timer.sleep_until(began + first).await;
        assert!(began.elapsed() >= first);
        // The sleep that was set for the first one has run out.
        timer.sleep_until(began + second).await;
        assert!(began.elapsed() >= second);
        // A deadline that has passed is over at once.
        timer.sleep_until(began).await;
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_ends_the_connection() {
        let patience = Duration::from_millis(100);
        let (mut client, server) = tokio::io::duplex(1024);
        let answer =
            |_: Request<Incoming>| ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
        let connection = http1::Builder::new()
            .timer(HeadTimer::new(patience))
            .header_read_timeout(patience)
            .serve_connection(TokioIo::new(server), service_fn(answer));
        let client = async {
            // Each head that comes in time begins the next one's time anew.
            for _ in 0..3 {
                client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                let mut start = [0; 15];
                client.read_exact(&mut start).await.unwrap();
                assert_eq!(&start, b"HTTP/1.1 200 OK");
                let mut rest = Vec::new();
                while !rest.ends_with(b"\r\n\r\n") {
                    rest.push(client.read_u8().await.unwrap());
                }
            }
            let began = Instant::now();
            client.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            began.elapsed()
        };
        let (ended, waited) = tokio::join!(connection, client);
        assert!(ended.unwrap_err().is_timeout());
        // From when the last answer was sent, which was a little before.
        assert!(waited >= patience / 2, "{waited:?}");
    }
}
