//! The round that moves the deadline, the start, and what the bus brings.

use super::apply::Applied;
use crate::action::{Action, Call};
use crate::coherence::{Cursor, Snapshot, Start, StartStep};
use crate::coverage::Event;
use crate::process::{Process, Round, at};
use crate::protocol::Protocol;
use crate::world::World;

impl Protocol {
    pub(crate) fn rounds(
        &self,
        world: &World,
        replica: usize,
        process: &Process,
        actions: &mut Vec<Action>,
    ) {
        match &process.round {
            Round::Idle => {
                actions.push(Action::Renew(replica));
                if self.new_marker(world, process).is_some() {
                    actions.push(Action::AdvanceMarker(replica));
                }
            }
            Round::Starting { .. } => actions.push(Action::StartStep(replica)),
            Round::Renewed { .. } => actions.push(Action::Poll(replica)),
            Round::Applying { applying: Some(applying), .. } => {
                let apply = |call| Action::ApplyPolled(replica, call);
                Self::calls(world, &applying.application, apply, actions);
            }
            Round::Applying { applying: None, .. } => actions.push(Action::Complete(replica)),
        }
        match &process.bus {
            Some(applying) => {
                let apply = |call| Action::ApplyDelivered(replica, call);
                Self::calls(world, &applying.application, apply, actions);
            }
            None if self.config.bus => {
                let own = process.write.as_ref().map(|write| write.at);
                for (at, published) in world.published.iter().enumerate() {
                    let new = process.recorded & 1 << at == 0 && own != Some(at);
                    if published.is_some() && new {
                        actions.push(Action::Deliver(replica, at));
                    }
                }
            }
            None => {}
        }
    }

    /// The next step of a start. Clearing and unfencing are local, and so one step.
    pub(crate) fn start_step(&self, world: &mut World, replica: usize) -> Option<()> {
        let (now, head) = (world.now, world.database.head());
        let process = world.process_mut(replica)?;
        let Round::Starting { mut start, mut renewed } = process.round.clone() else { return None };
        let mut row = None;
        let (mut register, mut baseline) = (false, false);
        match start.step() {
            StartStep::Fence => process.fence.close(),
            StartStep::Disconnect => process.link = None,
            StartStep::Register if self.guards.register_before_baseline => register = true,
            StartStep::Baseline if self.guards.register_before_baseline => baseline = true,
            StartStep::Register => baseline = true,
            StartStep::Baseline => register = true,
            StartStep::Clear | StartStep::Unfence | StartStep::Done => {}
        }
        if register {
            renewed = Some(process.fence.begin(at(now)).committed());
            row = Some((process.id, process.applied()));
        }
        if baseline {
            process.cursor = Some(Cursor::starting_at(head));
        }
        if start.step() == StartStep::Clear {
            if self.guards.clear_after_baseline {
                process.evict(u8::MAX);
                process.recorded = 0;
            }
            process.fence.complete(renewed?);
            process.round = Round::Idle;
        } else {
            start.done();
            process.round = Round::Starting { start, renewed };
        }
        if let Some((id, applied)) = row {
            world.database_mut().register(id, applied, now);
        }
        Some(())
    }

    fn start_over(&self, world: &mut World, replica: usize) -> Option<()> {
        self.coverage.note(Event::StartedOver);
        let process = world.process_mut(replica)?;
        let mut start = Start::begin();
        process.fence.close();
        process.cursor = None;
        start.done();
        if self.guards.start_over_drops_trust {
            process.link = None;
        }
        start.done();
        if !self.guards.clear_after_baseline {
            process.evict(u8::MAX);
            process.recorded = 0;
        }
        process.round = Round::Starting { start, renewed: None };
        Some(())
    }

    /// Renews the row, or makes it anew where it was taken away.
    pub(crate) fn renew(&self, world: &mut World, replica: usize) -> Option<()> {
        let now = world.now;
        let snapshot = world.database.snapshot();
        let process = world.process_mut(replica)?;
        let (id, applied) = (process.id, process.applied());
        let renewed = process.fence.begin(at(now)).committed();
        world.database_mut().register(id, applied, now);
        let process = world.process_mut(replica)?;
        let read = (!self.guards.poll_after_renewal).then_some(snapshot);
        process.round = Round::Renewed { renewed, read };
        // The sooner it reads the log, the less there is.
        if self.coarse() && self.guards.poll_after_renewal {
            self.poll(world, replica)
        } else {
            Some(())
        }
    }

    /// Reads the log.
    pub(crate) fn poll(&self, world: &mut World, replica: usize) -> Option<()> {
        let head = world.database.head();
        let process = world.process(replica)?;
        let cursor = process.cursor.as_ref()?;
        let Round::Renewed { renewed, read } = process.round.clone() else { return None };
        if cursor.continues_at(&head).is_err() {
            return self.start_over(world, replica);
        }
        // With the guard off, the log was read when the row was renewed, and the deadline counts
        // from here.
        let (seen, renewed) = match read {
            Some(read) => (read, process.fence.begin(at(world.now)).committed()),
            None => (head.snapshot, renewed),
        };
        let changes = world.database.changes(&seen, cursor.snapshot()) & !process.recorded;
        let keys = world.database.keys(changes);
        if !self.guards.advance_after_revokes {
            self.write_marker(world, replica, Some(&seen));
        }
        let process = world.process_mut(replica)?;
        let applying = (changes != 0).then(|| self.begin(process, changes, keys, None));
        let local = applying.as_ref().is_some_and(|applying| self.is_local(applying));
        let nothing = applying.is_none();
        process.round = Round::Applying { renewed, seen, applying };
        if local {
            self.apply_polled(world, replica, Call::Succeeds)
        } else if nothing && self.coarse() && self.guards.deadline_from_start {
            self.complete(world, replica)
        } else {
            Some(())
        }
    }

    /// Applies what was found there.
    pub(crate) fn apply_polled(&self, world: &mut World, replica: usize, call: Call) -> Option<()> {
        let Round::Applying { applying, .. } = &world.process(replica)?.round else { return None };
        let mut applied = applying.clone()?;
        let application = (applied.changes, &mut applied.application);
        let done = self.apply(world, replica, application, call)?;
        let Round::Applying { applying, .. } = &mut world.process_mut(replica)?.round else {
            return None;
        };
        let done = matches!(done, Applied::Done);
        *applying = (!done).then_some(applied);
        // The deadline is settled; the sooner it moves, the longer it lasts.
        let at_once = self.coarse() && self.guards.deadline_from_start;
        if done && at_once { self.complete(world, replica) } else { Some(()) }
    }

    /// Ends the round: the cursor moves, and the deadline.
    pub(crate) fn complete(&self, world: &mut World, replica: usize) -> Option<()> {
        let now = world.now;
        let process = world.process_mut(replica)?;
        let round = std::mem::replace(&mut process.round, Round::Idle);
        let Round::Applying { renewed, seen, .. } = round else { return None };
        process.cursor.as_mut()?.advance(seen);
        let from_end = process.fence.begin(at(now)).committed();
        process.fence.complete(if self.guards.deadline_from_start { renewed } else { from_end });
        Some(())
    }

    /// A bus delivers a change.
    pub(crate) fn deliver(&self, world: &mut World, replica: usize, at: usize) -> Option<()> {
        let (changes, revoked_on) = (1 << at, world.published[at]?);
        let keys = world.database.keys(changes);
        let process = world.process_mut(replica)?;
        let applying = self.begin(process, changes, keys, revoked_on);
        let local = self.is_local(&applying);
        process.bus = Some(applying);
        if local { self.apply_delivered(world, replica, Call::Succeeds) } else { Some(()) }
    }

    /// Applies it.
    pub(crate) fn apply_delivered(
        &self,
        world: &mut World,
        replica: usize,
        call: Call,
    ) -> Option<()> {
        let mut applied = world.process(replica)?.bus.clone()?;
        let application = (applied.changes, &mut applied.application);
        let done = self.apply(world, replica, application, call)?;
        world.process_mut(replica)?.bus = (!matches!(done, Applied::Done)).then_some(applied);
        Some(())
    }
}

impl Process {
    /// What its row says that it has applied.
    fn applied(&self) -> Snapshot {
        let cursor = self.cursor.as_ref();
        cursor.map_or_else(|| Snapshot::up_to(0), |cursor| cursor.snapshot().clone())
    }
}
