//! Everything that there is, at one moment.

use std::sync::Arc;

use crate::coherence::{Cursor, Marker, Trust};
use crate::config::{Config, DAWN, L2, MAX_KEYS, MAX_WRITES};
use crate::database::Database;
use crate::process::{Introduced, Link, Process};
use crate::redis::{Data, EPOCHS, Entry, Redis};

/// A world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The time, for everybody.
    pub now: u64,
    /// The database.
    pub database: Arc<Database>,
    /// Redis.
    pub redis: Redis,
    /// The replicas that are up.
    pub replicas: [Option<Arc<Process>>; 2],
    /// Processes that were ever started.
    pub processes: u8,
    /// Changes that were published, each with the server on which it was revoked. From then on a
    /// bus may deliver one: at any time, again, out of order, or never.
    pub published: [Option<Option<u8>>; MAX_WRITES],
    /// Processes that have acknowledged a change, as bits. The writer hears of it at any time, or
    /// never.
    pub acknowledgements: [u8; MAX_WRITES],
    /// The state of each key that everybody has to know: a read that is invoked from now on may
    /// not be answered with an older one.
    pub settled: [u8; MAX_KEYS],
    /// What may still happen.
    pub left: Left,
    /// A read was answered, as current, with a state that is too old.
    pub violated: bool,
}

/// What may still happen. See [`Config`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    pub writes: u8,
    pub psql: u8,
    pub ticks: u8,
    pub crashes: u8,
    pub starts: u8,
    pub disconnects: u8,
    pub timeouts: u8,
    pub restarts: u8,
    pub failovers: u8,
    pub replications: u8,
    pub flushes: u8,
    pub prunes: u8,
}

impl World {
    /// The beginning.
    pub fn dawn(config: &Config) -> Self {
        let mut database = Database::default();
        let cursor = Cursor::starting_at(database.head());
        let (epoch, revoked) = (EPOCHS[0].to_owned(), cursor.snapshot().clone());
        let marker = Marker { epoch: epoch.clone(), log: cursor.identity().clone(), revoked };
        let first = Entry::Value { version: 0, epoch: 0 };
        let warm = Data { marker: Some(marker), entries: [Some(first); MAX_KEYS] };
        let mut redis = Redis::default();
        match config.l2 {
            L2::Absent => {}
            L2::Empty => redis.succeed(Data::default(), true),
            L2::Warm | L2::Trusted => redis.succeed(warm, true),
        }
        if config.failovers > 0 {
            redis.replicated = Arc::new(redis.alive_present());
        }
        let mut trust = Trust::default();
        trust.gain(epoch);
        let link = (config.l2 == L2::Trusted).then_some(Link {
            server: 0,
            trust,
            introduction: Introduced::Done,
        });
        let l1 = [config.warm_l1.then_some(0); MAX_KEYS];
        let mut replicas = [None, None];
        for id in 0..config.up {
            let observed = id == config.observed;
            let process = Process::running(id, observed, cursor.clone(), link.clone(), l1);
            database.register(id, cursor.snapshot().clone(), DAWN);
            replicas[usize::from(id)] = Some(Arc::new(process));
        }
        Self {
            now: DAWN,
            database: Arc::new(database),
            redis,
            replicas,
            processes: config.up,
            published: [None; MAX_WRITES],
            acknowledgements: [0; MAX_WRITES],
            settled: [0; MAX_KEYS],
            left: Left {
                writes: config.writes,
                psql: config.psql,
                ticks: config.ticks,
                crashes: config.crashes,
                starts: config.starts,
                disconnects: config.disconnects,
                timeouts: config.timeouts,
                restarts: config.restarts,
                failovers: config.failovers,
                replications: config.replications,
                flushes: config.flushes,
                prunes: config.prunes,
            },
            violated: false,
        }
    }

    /// A replica that is up.
    pub fn process(&self, replica: usize) -> Option<&Process> {
        self.replicas[replica].as_deref()
    }

    /// The same, to be changed. Whoever acts is up.
    pub fn process_mut(&mut self, replica: usize) -> Option<&mut Process> {
        self.replicas[replica].as_mut().map(Arc::make_mut)
    }

    /// The database, to be changed.
    pub fn database_mut(&mut self) -> &mut Database {
        Arc::make_mut(&mut self.database)
    }

    /// The smallest token that no lease has.
    pub fn new_token(&self) -> u8 {
        let loads = || self.replicas.iter().flatten().flat_map(|process| &process.loads);
        let held = |token| loads().any(|load| load.lease().is_some_and(|held| held.token == token));
        (0..u8::MAX).find(|token| !held(*token) && !self.redis.has_token(*token)).unwrap_or(u8::MAX)
    }

    /// A process acknowledges changes. Only those count whose writer may still hear of it.
    pub fn acknowledge(&mut self, id: u8, changes: u8) {
        let writes = self.replicas.iter().flatten().filter_map(|process| process.write.as_ref());
        for at in writes.map(|write| write.at).filter(|at| changes & 1 << at != 0) {
            self.acknowledgements[at] |= 1 << id;
        }
    }

    /// A read is answered as current.
    pub fn answer(&mut self, version: u8, floor: u8) {
        self.violated |= version < floor;
    }
}
