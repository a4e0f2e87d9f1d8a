//! The connection to L2: its introduction, and the marker.

use crate::action::{Action, Call};
use crate::coherence::{Cursor, Introduction, Marker, Snapshot, Trust, introduce};
use crate::coverage::Event;
use crate::process::{Introduced, Link, Process};
use crate::protocol::Protocol;
use crate::world::World;

impl Protocol {
    pub(crate) fn links(
        &self,
        world: &World,
        replica: usize,
        process: &Process,
        actions: &mut Vec<Action>,
    ) {
        let Some(link) = &process.link else {
            let servers = (0..).zip(&world.redis.servers).filter(|(_, server)| server.alive);
            actions.extend(servers.map(|(server, _)| Action::Connect(replica, server)));
            return;
        };
        match &link.introduction {
            Introduced::Not => actions.push(Action::ReadMarker(replica)),
            Introduced::Marker(_) => {
                if process.cursor.is_some() || !self.guards.replay_after_cursor {
                    actions.push(Action::Introduce(replica));
                }
            }
            Introduced::Replay { .. } => {
                actions.push(Action::Replay(replica, Call::Succeeds));
                if world.left.timeouts > 0 {
                    actions.push(Action::Replay(replica, Call::TimesOutDone));
                    actions.push(Action::Replay(replica, Call::TimesOutUndone));
                }
            }
            Introduced::NewEpoch { .. } => actions.push(Action::SetEpoch(replica)),
            Introduced::Done => {}
        }
    }

    /// Connects to a server. From here on every change that is applied is revoked there.
    pub(crate) fn connect(&self, world: &mut World, replica: usize, server: u8) -> Option<()> {
        let (trust, introduction) = (Trust::default(), Introduced::Not);
        world.process_mut(replica)?.link = Some(Link { server, trust, introduction });
        let ready = world.process(replica)?.cursor.is_some() || !self.guards.replay_after_cursor;
        if self.coarse() && ready { self.read_marker(world, replica) } else { Some(()) }
    }

    /// Reads the marker.
    pub(crate) fn read_marker(&self, world: &mut World, replica: usize) -> Option<()> {
        let server = world.process(replica)?.link.as_ref()?.server;
        let marker = world.redis.alive(server).map(|data| data.marker.clone());
        let link = &mut world.process_mut(replica)?.link;
        match marker {
            Some(marker) => link.as_mut()?.introduction = Introduced::Marker(marker),
            None => {
                *link = None;
                return Some(());
            }
        }
        let ready = world.process(replica)?.cursor.is_some() || !self.guards.replay_after_cursor;
        if self.coarse() && ready { self.introduce(world, replica) } else { Some(()) }
    }

    /// Takes a fresh snapshot, and decides.
    pub(crate) fn introduce(&self, world: &mut World, replica: usize) -> Option<()> {
        let head = world.database.head();
        let link = world.process(replica)?.link.as_ref()?;
        let Introduced::Marker(found) = link.introduction.clone() else { return None };
        let next = match (introduce(found.as_ref(), &head), found) {
            (Introduction::Replay, Some(marker)) => {
                let changes = world.database.changes(&head.snapshot, &marker.revoked);
                let skipped = !self.guards.replay_before_trust;
                let keys = if skipped { 0 } else { world.database.keys(changes) };
                Introduced::Replay { keys, epoch: marker.epoch }
            }
            (_, found) => Introduced::NewEpoch { found, cursor: Cursor::starting_at(head) },
        };
        let link = world.process_mut(replica)?.link.as_mut()?;
        match next {
            // Nothing to revoke.
            Introduced::Replay { keys: 0, epoch } => self.trust(link, epoch),
            next => link.introduction = next,
        }
        Some(())
    }

    /// Revokes what the marker does not see.
    pub(crate) fn replay(&self, world: &mut World, replica: usize, call: Call) -> Option<()> {
        let link = world.process(replica)?.link.as_ref()?;
        let Introduced::Replay { keys, epoch } = link.introduction.clone() else { return None };
        let revoked = Self::revoke(world, replica, keys, call);
        let link = &mut world.process_mut(replica)?.link;
        match revoked {
            Some(_) => self.trust(link.as_mut()?, epoch),
            None => *link = None,
        }
        Some(())
    }

    fn trust(&self, link: &mut Link, epoch: String) {
        self.coverage.note(Event::TrustByReplay);
        link.trust.gain(epoch);
        link.introduction = Introduced::Done;
    }

    /// Sets a new marker, unless there is another one than was read.
    pub(crate) fn set_epoch(&self, world: &mut World, replica: usize) -> Option<()> {
        let link = world.process(replica)?.link.as_ref()?;
        let server = link.server;
        let Introduced::NewEpoch { found, cursor } = link.introduction.clone() else { return None };
        let Some(data) = world.redis.alive(server) else {
            world.process_mut(replica)?.link = None;
            return Some(());
        };
        if data.marker != found {
            self.coverage.note(Event::EpochRaceLost);
            world.process_mut(replica)?.link.as_mut()?.introduction = Introduced::Not;
            return Some(());
        }
        self.coverage.note(Event::NewEpoch);
        let epoch = world.redis.new_epoch();
        let link = world.process_mut(replica)?.link.as_mut()?;
        link.trust.gain(epoch);
        link.introduction = Introduced::Done;
        let marker = link.trust.marker(&cursor);
        world.redis.alive_mut(server)?.marker = marker;
        Some(())
    }

    /// The marker that a replica would write now, if it would change anything. (Whoever is trusted
    /// may write its cursor at any time: the protocol does so after a poll.)
    pub(super) fn new_marker(&self, world: &World, process: &Process) -> Option<Marker> {
        let link = process.link.as_ref()?;
        let found = world.redis.alive(link.server)?.marker.as_ref();
        let cursor = process.cursor.as_ref()?;
        let marker = if self.guards.advance_with_trust {
            link.trust.marker(cursor)?
        } else {
            let (log, revoked) = (cursor.identity().clone(), cursor.snapshot().clone());
            Marker { epoch: found?.epoch.clone(), log, revoked }
        };
        (marker.advances(found) && found != Some(&marker)).then_some(marker)
    }

    /// Writes it.
    pub(crate) fn advance_marker(&self, world: &mut World, replica: usize) -> Option<()> {
        self.write_marker(world, replica, None)
    }

    /// (With a guard off, for a snapshot that is not yet applied.)
    pub(super) fn write_marker(
        &self,
        world: &mut World,
        replica: usize,
        early: Option<&Snapshot>,
    ) -> Option<()> {
        let mut process = world.process(replica)?.clone();
        if let Some(snapshot) = early {
            process.cursor.as_mut()?.advance(snapshot.clone());
        }
        let marker = self.new_marker(world, &process)?;
        self.coverage.note(Event::MarkerAdvanced);
        world.redis.alive_mut(process.link?.server)?.marker = Some(marker);
        Some(())
    }
}
