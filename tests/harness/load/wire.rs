//! HTTP/1.1 over a connection that is kept, and made again when it broke: what a read costs here is
//! taken from the replicas, which run on the same machine.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than a replica may take for anything; who waits longer has no answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// The bytes of a GET.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// The same, by a token.
pub fn get_with(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// The bytes of a request with a JSON body, or, for a null, without one.
pub fn request(method: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// To one server, for one request at a time.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer, as long as the next request is not sent.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// The number that is the entity tag; that of credentials is more than a number.
    pub revision: Option<u64>,
    pub cache: Cache,
    /// The header `Coherence`.
    pub coherence: Option<&'a str>,
    pub body: &'a [u8],
}

/// The header `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cache {
    L1,
    L2,
    Miss,
    Fenced,
    Stale,
    #[default]
    Unsaid,
}

impl Connection {
    pub fn to(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None, buffer: Vec::with_capacity(4096) }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// There is none, for whatever reason; the next request goes over a new connection.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let asked = timeout(PATIENCE, self.exchange(request)).await;
        match asked.unwrap_or_else(|late| Err(io::Error::new(io::ErrorKind::TimedOut, late))) {
            Ok(Frame { head, end }) => {
                Ok(Answer::of(&self.buffer[..head], &self.buffer[head..end]))
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<Frame> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(frame) = Frame::of(&self.buffer) {
                return Ok(frame);
            }
        }
    }
}

/// Where the head and the whole answer end.
struct Frame {
    head: usize,
    end: usize,
}

impl Frame {
    /// Nothing as long as something is missing.
    fn of(bytes: &[u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let length = header(&bytes[..head], "content-length").map_or(0, number);
        let end = head + usize::try_from(length).ok()?;
        (bytes.len() >= end).then_some(Self { head, end })
    }
}

impl<'a> Answer<'a> {
    fn of(head: &'a [u8], body: &'a [u8]) -> Self {
        let status = head.get(9..12).map_or(0, number);
        let cache = match header(head, "cache-status") {
            None => Cache::Unsaid,
            Some(text) if text.ends_with(b"detail=stale") => Cache::Stale,
            Some(text) if text.ends_with(b"detail=l1") => Cache::L1,
            Some(text) if text.ends_with(b"detail=l2") => Cache::L2,
            Some(text) if text.ends_with(b"fwd=miss") => Cache::Miss,
            Some(_) => Cache::Fenced,
        };
        let coherence = header(head, "coherence").and_then(|text| str::from_utf8(text).ok());
        Self {
            status: u16::try_from(status).unwrap_or(0),
            revision: header(head, "etag").and_then(revision),
            cache,
            coherence,
            body,
        }
    }
}

/// A header's value; replicas write names in small letters.
fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b": ")?;
        Some(value.strip_suffix(b"\r").unwrap_or(value))
    })
}

/// `"7"`
fn revision(tag: &[u8]) -> Option<u64> {
    let digits = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The first digits.
pub fn number(text: &[u8]) -> u64 {
    let digits = text.iter().skip_while(|byte| !byte.is_ascii_digit());
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
