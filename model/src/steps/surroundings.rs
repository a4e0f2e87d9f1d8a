//! Time, writers that are no replicas, and everything that goes wrong.

use crate::action::Action;
use crate::coherence::Census;
use crate::config::DAWN;
use crate::process::{BOUND, INSTANCES, Process, at};
use crate::protocol::Protocol;
use crate::redis::Data;
use crate::world::World;

impl Protocol {
    pub(crate) fn around(&self, world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        let mut offer = |possible: bool, action| {
            if possible {
                actions.push(action);
            }
        };
        let database = &world.database;
        offer(left.ticks > 0, Action::Tick);
        for key in 0..self.config.keys {
            offer(left.psql > 0 && !database.locked(key), Action::PsqlBegin { key });
        }
        for (at, transaction) in database.transactions.iter().enumerate() {
            offer(transaction.version == 0, Action::PsqlCommit { at });
        }
        let unpruned = database.snapshot().xmin() > database.pruned_below.max(1);
        offer(left.prunes > 0 && unpruned, Action::Prune);
        if self.config.census {
            for row in &database.rows {
                offer(
                    stands_still(row.id, row.renewed, world.now),
                    Action::RemoveRow { id: row.id },
                );
            }
        }
        let present = world.redis.present().and_then(|server| world.redis.alive(server));
        if let Some(data) = present {
            offer(left.restarts > 0, Action::RedisRestart);
            offer(left.failovers > 0, Action::RedisFailover { old_lives: true });
            offer(left.failovers > 0, Action::RedisFailover { old_lives: false });
            let behind = *data != *world.redis.replicated;
            offer(left.replications > 0 && behind, Action::RedisReplicate);
            offer(left.flushes > 0, Action::RedisFlush);
            offer(left.flushes > 0 && data.marker.is_some(), Action::RedisLosesMarker);
        }
        for (replica, process) in world.replicas.iter().enumerate() {
            offer(process.is_none() && left.starts > 0, Action::Start(replica));
            let Some(process) = process else { continue };
            offer(left.crashes > 0, Action::Crash(replica));
            offer(left.crashes > 0, Action::Stop(replica));
            offer(left.disconnects > 0 && process.link.is_some(), Action::Disconnect(replica));
        }
    }

    pub(crate) fn happen(&self, world: &mut World, action: Action) -> Option<()> {
        let left = &mut world.left;
        match action {
            Action::Tick => {
                left.ticks -= 1;
                world.now += 1;
                settle_what_is_old(world);
            }
            Action::PsqlBegin { key } => {
                left.psql -= 1;
                world.database_mut().begin(key);
            }
            Action::PsqlCommit { at } => {
                let now = world.now;
                world.database_mut().commit(at, now);
            }
            Action::Prune => {
                left.prunes -= 1;
                let horizon = world.database.snapshot().xmin();
                world.database_mut().pruned_below = horizon;
            }
            Action::RemoveRow { id } => world.database_mut().remove(id),
            Action::RedisRestart => {
                left.restarts -= 1;
                world.redis.succeed(Data::default(), false);
            }
            Action::RedisReplicate => {
                left.replications -= 1;
                world.redis.replicated = world.redis.alive_present().into();
            }
            Action::RedisFailover { old_lives } => {
                left.failovers -= 1;
                let data = Data::clone(&world.redis.replicated);
                if world.left.failovers == 0 {
                    world.redis.replicated = std::sync::Arc::default();
                }
                world.redis.succeed(data, old_lives);
            }
            Action::RedisFlush => {
                left.flushes -= 1;
                let server = world.redis.present()?;
                *world.redis.alive_mut(server)? = Data::default();
            }
            Action::RedisLosesMarker => {
                left.flushes -= 1;
                let server = world.redis.present()?;
                world.redis.alive_mut(server)?.marker = None;
            }
            Action::Crash(replica) => {
                left.crashes -= 1;
                world.replicas[replica] = None;
            }
            Action::Stop(replica) => {
                left.crashes -= 1;
                let id = world.replicas[replica].take()?.id;
                world.database_mut().remove(id);
            }
            Action::Start(replica) => {
                left.starts -= 1;
                let process = Process::starting(
                    world.processes,
                    replica == usize::from(self.config.observed),
                    world.now,
                );
                world.processes += 1;
                world.replicas[replica] = Some(process.into());
            }
            Action::Disconnect(replica) => {
                left.disconnects -= 1;
                world.process_mut(replica)?.link = None;
            }
            _ => return None,
        }
        Some(())
    }
}

/// Whether whoever has seen this row since it was renewed may remove it.
fn stands_still(id: u8, renewed: u64, now: u64) -> bool {
    let instance = INSTANCES[usize::from(id)].to_owned();
    let mut census = Census::default();
    let row = || [(&instance, 0, BOUND)];
    census.take(row(), at(renewed.max(DAWN)));
    !census.take(row(), at(now)).is_empty()
}

/// Whoever wrote it, and acknowledged or not: a bound after its commit everybody has to know it.
fn settle_what_is_old(world: &mut World) {
    let now = world.now;
    let mut settled = world.settled;
    for transaction in &mut world.database_mut().transactions {
        let old = transaction.version > 0
            && transaction.committed > 0
            && at(transaction.committed).plus(BOUND.bound) <= at(now);
        if old {
            let state = &mut settled[usize::from(transaction.key)];
            *state = (*state).max(transaction.version);
            transaction.committed = 0;
        }
    }
    world.settled = settled;
}
