//! Applying a change.

use crate::action::{Action, Call};
use crate::coherence::{Application, Step};
use crate::coverage::Event;
use crate::process::{Applying, Process};
use crate::protocol::Protocol;
use crate::redis::SERVERS;
use crate::world::World;

/// What became of a step.
pub(super) enum Applied {
    /// There is more to do.
    Going,
    /// The keys were revoked on this server, and there is more to do.
    RevokedOn(u8),
    /// That was the last one.
    Done,
}

impl Protocol {
    /// Begins to apply changes, whose keys are given, and evicts early.
    pub(super) fn begin(
        &self,
        process: &mut Process,
        changes: u8,
        keys: u8,
        revoked_on: Option<u8>,
    ) -> Applying {
        let server = process.link.as_ref().map(|link| link.server);
        let revoked_on = match revoked_on {
            Some(_) if !self.guards.compare_servers => server,
            revoked_on => revoked_on,
        };
        let name = |server: Option<u8>| server.map(|server| SERVERS[usize::from(server)]);
        let mut application = Application::begin(name(revoked_on), name(server));
        debug_assert_eq!(application.step(), Step::EvictEarly, "it begins so");
        process.evict(keys);
        application.done();
        if server.is_some() && application.step() != Step::Revoke {
            self.coverage.note(Event::RevocationSkipped);
        }
        if !self.guards.record_at_the_end {
            process.recorded |= changes;
        }
        Applying { changes, application }
    }

    /// Whether the rest of an application concerns this process alone, and is made in one step.
    pub(super) fn is_local(&self, applying: &Applying) -> bool {
        let revokes = applying.application.step() == Step::Revoke;
        !revokes && self.coarse() && self.guards.record_at_the_end
    }

    /// How the next step of an application can go.
    pub(super) fn calls(
        world: &World,
        application: &Application,
        action: impl Fn(Call) -> Action,
        actions: &mut Vec<Action>,
    ) {
        actions.push(action(Call::Succeeds));
        if application.step() == Step::Revoke && world.left.timeouts > 0 {
            actions.push(action(Call::TimesOutDone));
            actions.push(action(Call::TimesOutUndone));
        }
    }

    /// The next step of an application.
    pub(super) fn apply(
        &self,
        world: &mut World,
        replica: usize,
        (changes, application): (u8, &mut Application),
        call: Call,
    ) -> Option<Applied> {
        let keys = world.database.keys(changes);
        match application.step() {
            Step::Revoke => match Self::revoke(world, replica, keys, call) {
                Some(server) => {
                    application.done();
                    return Some(Applied::RevokedOn(server));
                }
                None => {
                    self.coverage.note(Event::RevocationFailed);
                    if self.guards.drop_before_acknowledging {
                        application.failed();
                    } else {
                        application.done();
                    }
                }
            },
            Step::DropConnection => {
                world.process_mut(replica)?.link = None;
                application.done();
            }
            // Nobody else can tell these three apart: the record spares this process work, and the
            // acknowledgement may take any time to arrive.
            Step::EvictEarly | Step::Evict | Step::Record | Step::Acknowledge | Step::Done => {
                while application.step() != Step::Done {
                    let process = world.process_mut(replica)?;
                    match application.step() {
                        Step::Evict if self.guards.evict_after_revoke => process.evict(keys),
                        Step::Record => process.recorded |= changes,
                        Step::Acknowledge => {
                            let me = process.id;
                            world.acknowledge(me, changes);
                        }
                        _ => {}
                    }
                    application.done();
                }
                return Some(Applied::Done);
            }
        }
        Some(Applied::Going)
    }

    /// Revokes keys on the server that the replica is connected to, which is returned on success.
    pub(super) fn revoke(world: &mut World, replica: usize, keys: u8, call: Call) -> Option<u8> {
        let server = world.process(replica)?.link.as_ref()?.server;
        if call != Call::Succeeds {
            world.left.timeouts -= 1;
        }
        world.redis.alive(server)?;
        if call != Call::TimesOutUndone {
            world.redis.revoke(server, keys);
        }
        (call == Call::Succeeds).then_some(server)
    }
}
