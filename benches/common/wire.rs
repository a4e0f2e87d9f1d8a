//! HTTP/1.1 over a connection that is kept: no client's own cost or queue in what is measured.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The bytes of a GET.
pub fn get(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    request("GET", path, headers, b"")
}

/// The bytes of a request with a JSON body.
pub fn json(method: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string().into_bytes();
    let length = body.len().to_string();
    let headers = [("content-type", "application/json"), ("content-length", &length)];
    request(method, path, &headers, &body)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut lines = vec![format!("{method} {path} HTTP/1.1")];
    let all = [("host", "localhost"), ("accept", "*/*")];
    lines.extend(all.iter().chain(headers).map(|(name, value)| format!("{name}: {value}")));
    let mut bytes = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A connection, for one request at a time.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap_or_else(|error| panic!("{address}: {error}"));
        Self { stream, buffer: Vec::with_capacity(4096) }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Panics
    /// The server hangs up, or answers something that is not HTTP with a length.
    pub async fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request).await;
        self.buffer.clear();
        loop {
            self.receive().await;
            if let Some(answer) = Answer::parse(&self.buffer) {
                return answer;
            }
        }
    }

    /// Sends a request and waits for an answer of this length, which can then be looked at.
    ///
    /// # Panics
    /// The server hangs up.
    pub async fn ask_for(&mut self, request: &[u8], length: usize) -> &[u8] {
        self.send(request).await;
        self.buffer.clear();
        while self.buffer.len() < length {
            self.receive().await;
        }
        &self.buffer
    }

    async fn send(&mut self, request: &[u8]) {
        let sent = self.stream.write_all(request).await;
        sent.unwrap_or_else(|error| panic!("sending a request: {error}"));
    }

    async fn receive(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await;
        let read = read.unwrap_or_else(|error| panic!("reading an answer: {error}"));
        assert!(read > 0, "the server hung up: {:?}", String::from_utf8_lossy(&self.buffer));
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// All its bytes on the wire.
    pub length: usize,
}

impl Answer {
    /// The answer, once it is all there.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: Vec::new(), length: 0 };
        let body = match answer.header("content-length") {
            Some(length) => length.parse().unwrap_or_else(|_| panic!("a length in {head:?}")),
            // By its status without a body, or we would wait forever.
            None if matches!(status, 204 | 304) => 0,
            None => panic!("an answer without a length: {head:?}"),
        };
        answer.length = end + 4 + body;
        answer.body = bytes.get(end + 4..answer.length)?.to_vec();
        Some(answer)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The answer itself, if that is its status.
    ///
    /// # Panics
    /// It is another one.
    #[expect(clippy::return_self_not_must_use, reason = "often it is all one wants to know")]
    pub fn expecting(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{:?}\n{body}", self.headers);
        self
    }

    /// `l1`, `l2` or `miss`: the last word of `Cache-Status`.
    pub fn cache(&self) -> &str {
        self.header("cache-status").and_then(|text| text.rsplit('=').next()).unwrap_or_default()
    }
}
