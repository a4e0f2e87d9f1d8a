//! Redis: servers, of which the last is the one that clients are led to.

use std::sync::Arc;

use crate::coherence::Marker;
use crate::config::MAX_KEYS;

/// Identities of servers: a restart or a failover makes another one.
pub const SERVERS: [&str; 4] = ["s0", "s1", "s2", "s3"];
/// Epochs of L2.
pub const EPOCHS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];

/// What stands under a key. The epoch is a place in [`EPOCHS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A value, or an absence.
    Value { version: u8, epoch: u8 },
    /// The placeholder of whoever may fill it.
    Lease { token: u8, epoch: u8 },
}

/// What a server holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Data {
    /// The marker.
    pub marker: Option<Marker>,
    /// The entries.
    pub entries: [Option<Entry>; MAX_KEYS],
}

/// A server. One that is dead holds nothing and answers nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Whether it runs.
    pub alive: bool,
    /// What it holds.
    pub data: Data,
}

/// All servers there ever were.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Redis {
    /// By identity, the present one last.
    pub servers: Vec<Arc<Server>>,
    /// What the next server has, should this one fail over: it may be behind.
    pub replicated: Arc<Data>,
    /// Epochs that were given out.
    pub epochs: u8,
}

impl Redis {
    /// A server, if it runs.
    pub fn alive(&self, server: u8) -> Option<&Data> {
        let server = &self.servers[usize::from(server)];
        server.alive.then_some(&server.data)
    }

    /// The same, to be changed.
    pub fn alive_mut(&mut self, server: u8) -> Option<&mut Data> {
        let server = &mut self.servers[usize::from(server)];
        server.alive.then(|| &mut Arc::make_mut(server).data)
    }

    /// The present one.
    pub fn present(&self) -> Option<u8> {
        u8::try_from(self.servers.len()).ok()?.checked_sub(1)
    }

    /// What the present one holds.
    pub fn alive_present(&self) -> Data {
        self.servers.last().map(|server| server.data.clone()).unwrap_or_default()
    }

    /// Another server takes the place of the present one.
    pub fn succeed(&mut self, data: Data, old_lives: bool) {
        if !old_lives && let Some(old) = self.servers.last_mut() {
            *old = Arc::new(Server { alive: false, data: Data::default() });
        }
        self.servers.push(Arc::new(Server { alive: true, data }));
    }

    /// Removes entries and leases of keys, given as bits. Without effect where there is no server.
    pub fn revoke(&mut self, server: u8, keys: u8) {
        if let Some(data) = self.alive_mut(server) {
            for (key, entry) in data.entries.iter_mut().enumerate() {
                if keys & 1 << key != 0 {
                    *entry = None;
                }
            }
        }
    }

    /// An epoch that was never used.
    pub fn new_epoch(&mut self) -> String {
        self.epochs += 1;
        EPOCHS[usize::from(self.epochs)].to_owned()
    }

    /// Whether some server has a lease with this token, now or after a failover.
    pub fn has_token(&self, token: u8) -> bool {
        let all = self.servers.iter().map(|server| &server.data).chain([&*self.replicated]);
        all.flat_map(|data| data.entries).flatten().any(|entry| match entry {
            Entry::Lease { token: other, .. } => other == token,
            Entry::Value { .. } => false,
        })
    }
}

/// The place of an epoch in [`EPOCHS`].
pub fn epoch_number(epoch: &str) -> u8 {
    epoch.bytes().fold(0, |number, digit| number * 10 + (digit - b'0'))
}
