//! A read.

use crate::action::Action;
use crate::coherence::{Admission, Reading, Source};
use crate::coverage::Event;
use crate::process::{Load, LoadStage, Process, Read, ReadStage, Waiter, at};
use crate::protocol::Protocol;
use crate::world::World;

impl Protocol {
    pub(crate) fn reads(&self, replica: usize, process: &Process, actions: &mut Vec<Action>) {
        match process.read.map(|read| read.stage) {
            None => {
                let trusted =
                    process.link.as_ref().is_some_and(|link| link.trust.epoch().is_some());
                if process.observed || self.config.fillers && trusted {
                    actions.extend((0..self.config.keys).map(|key| Action::Invoke(replica, key)));
                }
            }
            Some(ReadStage::Invoked) => actions.push(Action::Look(replica)),
            Some(ReadStage::Waiting) => actions.push(Action::HangUp(replica)),
            Some(ReadStage::Found { .. }) => actions.push(Action::Answer(replica)),
        }
    }

    /// Invokes a read: it loads the deadline.
    pub(crate) fn invoke(&self, world: &mut World, replica: usize, key: u8) -> Option<()> {
        let floor = world.settled[usize::from(key)];
        let process = world.process_mut(replica)?;
        if !process.observed {
            return self.prefetch(process, key);
        }
        let reading = Reading::begin(process.fence.deadline());
        let trusted = process.link.as_ref().and_then(|link| link.trust.epoch());
        let early = !self.guards.note_epoch_before_trust;
        let checked = if early { process.permit(trusted) } else { None };
        process.read = Some(Read { key, floor, reading, stage: ReadStage::Invoked, checked });
        if self.looks_at_once() {
            self.look(world, replica)?;
        }
        Some(())
    }

    /// A load by a replica of which nobody asks what it answers.
    fn prefetch(&self, process: &mut Process, key: u8) -> Option<()> {
        if process.loads.len() >= usize::from(self.config.loads) {
            return None;
        }
        let Admission::Lead(began) = process.stripes[usize::from(key)].admit(&key, || ()) else {
            return None;
        };
        let trusted = process.link.as_ref().and_then(|link| link.trust.checked_after(began));
        let stage = LoadStage::Permitted(process.permit(trusted)?);
        process.loads.push(Load { key, began, waiter: Waiter::Nobody, stage });
        Some(())
    }

    /// Looks in L1, and on a miss joins a load or leads one.
    pub(crate) fn look(&self, world: &mut World, replica: usize) -> Option<()> {
        let now = at(world.now);
        let most = usize::from(self.config.loads);
        let process = world.process_mut(replica)?;
        let mut read = process.read.take()?;
        let key = read.key;
        // With the guard off it looks first, and asks the deadline of that time afterwards.
        let fenced = read.reading.is_fenced(now) && self.guards.deadline_loaded_first;
        if fenced
            && !self.guards.fenced_joins_nothing
            && let Some(load) = process.load_of(key, true)
        {
            load.waiter = Waiter::FencedJoiner;
            read.stage = ReadStage::Waiting;
            process.read = Some(read);
            return Some(());
        }
        if fenced && self.guards.fenced_fills_nothing {
            // It asks the database, and whatever was settled before it was invoked is there.
            self.coverage.note(Event::FencedRead);
            return Some(());
        }
        if let Some(version) = process.l1[usize::from(key)].filter(|_| !fenced) {
            read.stage = ReadStage::Found { version, source: Source::Cache, tier: 1 };
            process.read = Some(read);
            return self.skip_answer(world, replica);
        }
        read.stage = ReadStage::Waiting;
        if !self.guards.overtaken_not_joined
            && let Some(load) = process.load_of(key, false)
        {
            load.waiter = Waiter::Joiner;
            process.read = Some(read);
            return Some(());
        }
        match process.stripes[usize::from(key)].admit(&key, || ()) {
            Admission::Join(()) => process.load_of(key, true)?.waiter = Waiter::Joiner,
            Admission::Lead(began) => {
                // Bounded: it begins when another has ended.
                if process.loads.len() >= most {
                    return None;
                }
                let stage = match read.checked {
                    _ if self.guards.note_epoch_before_trust => LoadStage::Noted,
                    Some(permit) => LoadStage::Permitted(permit),
                    None => LoadStage::Missed(None),
                };
                process.loads.push(Load { key, began, waiter: Waiter::Leader, stage });
            }
        }
        process.read = Some(Read { checked: None, ..read });
        if self.coarse() {
            let place = process.loads.len() - 1;
            if process.loads[place].stage == LoadStage::Noted {
                self.check_trust(world, replica, place)?;
            }
            // Nothing is older than what everybody knew at first.
            if read.floor == 0 {
                Self::hang_up(world, replica)?;
            }
        }
        Some(())
    }

    /// A read that has found what is new enough is answered rightly, whenever that is.
    pub(super) fn skip_answer(&self, world: &mut World, replica: usize) -> Option<()> {
        let read = world.process(replica)?.read?;
        if let ReadStage::Found { version, .. } = read.stage
            && version >= read.floor
            && self.coarse()
        {
            self.answer(world, replica)?;
        }
        Some(())
    }

    /// Answers as current, if it may. If not, it asks the database.
    pub(crate) fn answer(&self, world: &mut World, replica: usize) -> Option<()> {
        let now = at(world.now);
        let process = world.process_mut(replica)?;
        let read = process.read.take()?;
        let ReadStage::Found { version, source, tier } = read.stage else { return None };
        let reading = if self.guards.deadline_loaded_first {
            read.reading
        } else {
            Reading::begin(process.fence.deadline())
        };
        if reading.may_answer(source, now) {
            self.coverage.note(match (source, tier) {
                (Source::Joined, _) => Event::JoinedAnswer,
                (_, 1) => Event::L1Hit,
                _ => Event::L2Hit,
            });
            world.answer(version, read.floor);
        } else {
            self.coverage.note(Event::LateRead);
        }
        Some(())
    }

    /// The client is gone. The load goes on.
    pub(crate) fn hang_up(world: &mut World, replica: usize) -> Option<()> {
        let process = world.process_mut(replica)?;
        process.read = None;
        for load in &mut process.loads {
            load.waiter = Waiter::Nobody;
        }
        Some(())
    }
}
