//! A write by a replica: commit, apply, publish, read the rows, wait, acknowledge.

use super::apply::Applied;
use crate::action::{Action, Call, SettledBy};
use crate::coherence::{Barrier, Instance, Snapshot, Verdict};
use crate::coverage::Event;
use crate::database::Row;
use crate::process::{BOUND, INSTANCES, Process, Write, WriteStage, at};
use crate::protocol::Protocol;
use crate::world::World;

impl Protocol {
    pub(crate) fn writes(
        &self,
        world: &World,
        replica: usize,
        process: &Process,
        actions: &mut Vec<Action>,
    ) {
        let Some(write) = &process.write else {
            if world.left.writes > 0 && self.config.writers & 1 << replica != 0 {
                let free = (0..self.config.keys).filter(|key| !world.database.locked(*key));
                actions.extend(free.map(|key| Action::Write(replica, key)));
            }
            return;
        };
        match &write.stage {
            WriteStage::Early => actions.push(Action::Write(replica, write.key)),
            WriteStage::Applying(application) => {
                let apply = |call| Action::ApplyOwn(replica, call);
                Self::calls(world, application, apply, actions);
            }
            WriteStage::Published => {
                actions.push(Action::ReadRows(replica));
                if self.config.blind {
                    actions.push(Action::FailToReadRows(replica));
                }
            }
            WriteStage::Waiting(_) => {
                let ways = [SettledBy::Acknowledgements, SettledBy::Rows, SettledBy::Time];
                actions.extend(ways.map(|by| Action::Settle(replica, by)));
            }
        }
    }

    /// Commits a write, and begins to apply it.
    pub(crate) fn write(&self, world: &mut World, replica: usize, key: u8) -> Option<()> {
        let now = world.now;
        let rows = world.database.rows.clone();
        let process = world.process_mut(replica)?;
        let early_rows = process.write.take().and_then(|write| write.early_rows);
        if !self.guards.rows_after_commit && early_rows.is_none() {
            let (stage, early_rows) = (WriteStage::Early, Some(rows));
            process.write = Some(Write { at: 0, key, revoked_on: None, early_rows, stage });
            return Some(());
        }
        if world.left.writes == 0 || world.database.locked(key) {
            return None;
        }
        world.left.writes -= 1;
        let database = world.database_mut();
        let at = database.begin(key);
        database.commit(at, now);
        let process = world.process_mut(replica)?;
        let applying = self.begin(process, 1 << at, 1 << key, None);
        let local = self.is_local(&applying);
        let stage = WriteStage::Applying(applying.application);
        process.write = Some(Write { at, key, revoked_on: None, early_rows, stage });
        if local { self.apply_own(world, replica, Call::Succeeds) } else { Some(()) }
    }

    /// Applies it here; at the end it is published.
    pub(crate) fn apply_own(&self, world: &mut World, replica: usize, call: Call) -> Option<()> {
        let mut write = world.process(replica)?.write.clone()?;
        let WriteStage::Applying(application) = &mut write.stage else { return None };
        let mut published = false;
        match self.apply(world, replica, (1 << write.at, application), call)? {
            Applied::Going => {}
            Applied::RevokedOn(server) => write.revoked_on = Some(server),
            Applied::Done => {
                world.published[write.at] = Some(write.revoked_on);
                write.stage = WriteStage::Published;
                published = true;
            }
        }
        world.process_mut(replica)?.write = Some(write);
        // The sooner it reads the rows, the sooner it has waited for a bound.
        let at_once = published && self.coarse() && !self.config.blind;
        if at_once { Self::read_rows(world, replica, true) } else { Some(()) }
    }

    /// Reads the others' rows. Where they can't be read, nobody is known to have applied anything.
    pub(crate) fn read_rows(world: &mut World, replica: usize, readable: bool) -> Option<()> {
        let process = world.process(replica)?;
        let write = process.write.as_ref()?;
        // (Zero, where that is a bound ago.)
        let committed = at(world.database.transactions[write.at].committed);
        let mut barrier = Barrier::new(xid(write), committed, at(process.born), BOUND.bound);
        if readable {
            let rows = write.early_rows.as_ref().unwrap_or(&world.database.rows);
            let rows = others(rows, process.id);
            barrier.observed(rows.iter().map(|(instance, applied)| (instance, applied)));
        }
        world.process_mut(replica)?.write.as_mut()?.stage = WriteStage::Waiting(barrier);
        Some(())
    }

    /// Acknowledges it, if it may be.
    pub(crate) fn settle(&self, world: &mut World, replica: usize, by: SettledBy) -> Option<()> {
        let process = world.process(replica)?;
        let write = process.write.as_ref()?;
        let WriteStage::Waiting(barrier) = &write.stage else { return None };
        let mut barrier = barrier.clone();
        match by {
            SettledBy::Acknowledgements => {
                let heard = world.acknowledgements[write.at];
                let all = INSTANCES.iter().enumerate().filter(|(id, _)| heard & 1 << id != 0);
                all.for_each(|(_, instance)| barrier.acknowledged(instance));
            }
            SettledBy::Rows => {
                let rows = others(&world.database.rows, process.id);
                barrier.observed(rows.iter().map(|(instance, applied)| (instance, applied)));
            }
            SettledBy::Time => {}
        }
        let event = match (barrier.verdict(at(world.now)), by) {
            (Verdict::Waiting(_), _) if self.guards.barrier => return None,
            (Verdict::Fenced, _) => Event::AcknowledgedByTime,
            (_, SettledBy::Rows) => Event::AcknowledgedByRow,
            (_, _) => Event::Acknowledged,
        };
        self.coverage.note(event);
        let (key, version) = (write.key, world.database.transactions[write.at].version);
        world.acknowledgements[write.at] = 0;
        let settled = &mut world.settled[usize::from(key)];
        *settled = (*settled).max(version);
        world.process_mut(replica)?.write = None;
        Some(())
    }
}

fn xid(write: &Write) -> u64 {
    write.at as u64 + 1
}

fn others(rows: &[Row], id: u8) -> Vec<(Instance, Snapshot)> {
    let others = rows.iter().filter(|row| row.id != id);
    others.map(|row| (INSTANCES[usize::from(row.id)].to_owned(), row.applied.clone())).collect()
}
