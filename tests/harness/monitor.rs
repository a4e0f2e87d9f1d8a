//! What a Redis server is asked, word for word.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use super::eventually::Watch;
use super::process::Lines;

const DEADLINE: Duration = Duration::from_secs(10);
/// No test says this.
const LAST: &str = "the-monitor-has-seen-enough";

/// A recording of MONITOR. It sees each command that a client sends, and each that a script runs
/// (marked `lua`).
pub struct Monitor {
    port: u16,
    stream: TcpStream,
    lines: Lines,
}

impl Monitor {
    pub(super) async fn start(port: u16) -> Self {
        // Bare TCP: a client library would announce itself with commands of its own.
        let mut stream = connect(port);
        stream.write_all(b"MONITOR\r\n").expect("Redis takes commands");
        let lines = Lines::of(stream.try_clone().expect("a socket has two ends"));
        let mut watch = Watch::new(DEADLINE, "MONITOR is on");
        while watch
            .look(async { lines.all().first().is_some_and(|line| line == "+OK") })
            .await
            .is_none()
        {}
        Self { port, stream, lines }
    }

    /// The lines so far, as in `1700000000.000000 [0 127.0.0.1:50000] "get" "key"`.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.since(1).into_iter().filter(|line| !line.contains(LAST));
        lines.map(|line| line.trim_start_matches('+').to_owned()).collect()
    }

    /// Ends the recording, with everything in it that the server ran before this call.
    pub async fn stop(mut self) -> Vec<String> {
        let mut other = connect(self.port);
        other.write_all(format!("ECHO {LAST}\r\n").as_bytes()).expect("Redis takes commands");
        let mut watch = Watch::new(DEADLINE, "MONITOR shows the last command");
        while watch
            .look(async { self.lines.all().iter().any(|line| line.contains(LAST)) })
            .await
            .is_none()
        {}
        // The answer is read, so that the server sees an orderly end.
        let mut answer = [0; 64];
        let _ = other.read(&mut answer);
        let _ = self.stream.shutdown(Shutdown::Both);
        self.lines.join();
        self.lines()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Ends the thread that reads.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .unwrap_or_else(|error| panic!("Redis on port {port}: {error}"))
}
