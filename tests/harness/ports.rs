//! Ports for servers that cannot be told to take any free one.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that systems hand out to outgoing connections (32768 and up on Linux, 49152 and
/// up on macOS), which port 0 would be one of. There, while a test keeps a server down, a replica
/// that knocks could be given the server's own port: it would be talking to itself, and the server
/// could not come back.
const LOWEST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// Someone else was faster.
#[derive(Debug)]
pub struct PortTaken;

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody else listens on every port that was free a moment ago")
    }
}

/// A port that nobody listens on, different on each call.
pub fn free_port() -> u16 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin far apart.
    let first = process::id().wrapping_mul(7919);
    (0..COUNT)
        .map(|_| LOWEST + first.wrapping_add(TURN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .map(|port| u16::try_from(port).expect("the range is one of ports"))
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("one of so many ports is free")
}

/// Ports to start a server on. Between the choice and the server's own bind another process may
/// take the port: that, and nothing else, is tried again.
pub fn candidates() -> impl Iterator<Item = u16> {
    (0..5).map(|_| free_port())
}
