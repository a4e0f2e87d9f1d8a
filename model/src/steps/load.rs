//! A load: from L2 or from the database, into L1 and L2.

use crate::action::Action;
use crate::coherence::Source;
use crate::coverage::Event;
use crate::process::{Lease, Load, LoadStage, Permit, Process, Read, ReadStage, Waiter};
use crate::protocol::Protocol;
use crate::redis::Entry;
use crate::world::World;

impl Protocol {
    pub(crate) fn loads(
        &self,
        world: &World,
        replica: usize,
        process: &Process,
        actions: &mut Vec<Action>,
    ) {
        for (place, load) in process.loads.iter().enumerate() {
            match load.stage {
                LoadStage::Noted => actions.push(Action::CheckTrust(replica, place)),
                LoadStage::Permitted(_) => actions.push(Action::AskL2(replica, place)),
                LoadStage::Missed(_) => actions.push(Action::AskDatabase(replica, place)),
                LoadStage::Loaded { .. } => actions.push(Action::Land(replica, place)),
                LoadStage::Storing { .. } => actions.push(Action::Store(replica, place)),
                LoadStage::Filling { lease, .. } => {
                    if self.fillable(world, load.key, lease).next().is_some() {
                        actions.push(Action::FillL2(replica, place));
                    }
                    actions.push(Action::DropFill(replica, place));
                }
            }
        }
    }

    /// Checks trust, having noted the epoch.
    pub(crate) fn check_trust(
        &self,
        world: &mut World,
        replica: usize,
        place: usize,
    ) -> Option<()> {
        let process = world.process_mut(replica)?;
        let noted = process.loads[place].began;
        let link = process.link.as_ref();
        let permit = process.permit(link.and_then(|link| link.trust.checked_after(noted)));
        process.loads[place].stage = permit.map_or(LoadStage::Missed(None), LoadStage::Permitted);
        self.skip_to_database(world, replica, place)
    }

    /// L2 answers or gives a lease. The call may take as long as it likes: the connection can be
    /// gone when it arrives.
    pub(crate) fn ask_l2(&self, world: &mut World, replica: usize, place: usize) -> Option<()> {
        let load = world.process(replica)?.loads[place];
        let LoadStage::Permitted(Permit { server, epoch }) = load.stage else { return None };
        let token = world.new_token();
        let stage = match world.redis.alive_mut(server) {
            None => LoadStage::Missed(None),
            Some(data) => match &mut data.entries[usize::from(load.key)] {
                Some(Entry::Value { version, epoch: of }) if *of == epoch => {
                    LoadStage::Loaded { version: *version, source: Source::Cache, lease: None }
                }
                Some(Entry::Lease { epoch: of, .. }) if *of == epoch => LoadStage::Missed(None),
                other => {
                    *other = Some(Entry::Lease { token, epoch });
                    LoadStage::Missed(Some(Lease { server, token, epoch }))
                }
            },
        };
        let process = world.process_mut(replica)?;
        process.loads[place].stage = stage;
        if !process.observed && !matches!(stage, LoadStage::Missed(Some(_))) {
            process.stripes[usize::from(load.key)].land(&load.key, load.began);
            process.loads.remove(place);
            return Some(());
        }
        self.skip_to_database(world, replica, place)
    }

    /// Who asks the database at once gets the oldest answer that it could get.
    fn skip_to_database(&self, world: &mut World, replica: usize, place: usize) -> Option<()> {
        let process = world.process(replica)?;
        let missed = matches!(process.loads[place].stage, LoadStage::Missed(_));
        if missed && (self.coarse() || !process.observed) {
            self.ask_database(world, replica, place)?;
        }
        Some(())
    }

    /// Asks the database.
    pub(crate) fn ask_database(
        &self,
        world: &mut World,
        replica: usize,
        place: usize,
    ) -> Option<()> {
        let load = world.process(replica)?.loads[place];
        let LoadStage::Missed(lease) = load.stage else { return None };
        let version = world.database.version(load.key);
        let stage = LoadStage::Loaded { version, source: Source::Database, lease };
        let coarse = self.coarse();
        let process = world.process_mut(replica)?;
        process.loads[place].stage = stage;
        if !process.observed {
            process.stripes[usize::from(load.key)].land(&load.key, load.began);
            process.go_on_to_fill(place, version, lease);
        } else if coarse && load.waiter == Waiter::Leader {
            self.coverage.note(Event::DatabaseRead);
            process.read = None;
            process.loads[place].waiter = Waiter::Nobody;
        }
        Some(())
    }

    /// Stores in L1 what was loaded, if that is still right, and tells who waits.
    pub(crate) fn land(&self, world: &mut World, replica: usize, place: usize) -> Option<()> {
        let process = world.process_mut(replica)?;
        let load = process.loads[place];
        let LoadStage::Loaded { version, source, lease } = load.stage else { return None };
        let stripe = &process.stripes[usize::from(load.key)];
        let current = stripe.may_store(load.began) || !self.guards.overtaken_not_stored;
        if !current {
            self.coverage.note(Event::FillRefused);
        }
        let answered = self.tell(process, load, (version, source));
        let process = world.process_mut(replica)?;
        if !self.guards.store_in_one_step && current {
            process.loads[place].stage = LoadStage::Storing { version, lease };
        } else {
            process.stripes[usize::from(load.key)].land(&load.key, load.began);
            if current {
                process.l1[usize::from(load.key)] = Some(version);
            }
            process.go_on_to_fill(place, version, lease);
        }
        match answered {
            Some(read) => world.answer(version, read.floor),
            None if world.process(replica)?.read.is_some() => self.skip_answer(world, replica)?,
            None => {}
        }
        Some(())
    }

    /// (A guard is off: the epoch was current a moment ago.)
    pub(crate) fn store(world: &mut World, replica: usize, place: usize) -> Option<()> {
        let process = world.process_mut(replica)?;
        let load = process.loads[place];
        let LoadStage::Storing { version, lease } = load.stage else { return None };
        process.stripes[usize::from(load.key)].land(&load.key, load.began);
        process.l1[usize::from(load.key)] = Some(version);
        process.go_on_to_fill(place, version, lease);
        Some(())
    }

    /// Who waits has the value. Returns a read that is answered as if the query were its own.
    fn tell(&self, process: &mut Process, load: Load, found: (u8, Source)) -> Option<Read> {
        let (version, source) = found;
        let tier = 2;
        let stage = match (load.waiter, source) {
            (Waiter::Nobody, _) => return None,
            // Its own query: whatever was settled when it was invoked is there.
            (Waiter::Leader, Source::Database) => {
                self.coverage.note(Event::DatabaseRead);
                return process.read.take();
            }
            (Waiter::FencedJoiner, _) => return process.read.take(),
            (Waiter::Leader, source) => ReadStage::Found { version, source, tier },
            (Waiter::Joiner, _) => ReadStage::Found { version, source: Source::Joined, tier },
        };
        if let Some(read) = &mut process.read {
            read.stage = stage;
        }
        None
    }

    /// Where a fill would be stored now: wherever its very lease is. (One that is sent may arrive
    /// late; its lease may have been replicated.)
    fn fillable(&self, world: &World, key: u8, lease: Lease) -> impl Iterator<Item = u8> {
        let any = !self.guards.fill_needs_lease;
        let is_there = move |entry: Option<Entry>| match entry {
            Some(Entry::Lease { token, .. }) => token == lease.token || any,
            Some(Entry::Value { .. }) | None => any,
        };
        let servers = (0..).zip(&world.redis.servers).filter(|(_, server)| server.alive);
        let there =
            servers.filter(move |(_, server)| is_there(server.data.entries[usize::from(key)]));
        there.map(|(server, _)| server)
    }

    /// Stores a value in L2 under its lease.
    pub(crate) fn fill_l2(&self, world: &mut World, replica: usize, place: usize) -> Option<()> {
        let load = world.process(replica)?.loads[place];
        let LoadStage::Filling { version, lease } = load.stage else { return None };
        let servers: Vec<u8> = self.fillable(world, load.key, lease).collect();
        let link = world.process(replica)?.link.as_ref();
        let present = link.and_then(|link| link.trust.epoch()).map(crate::redis::epoch_number);
        let of_lease = self.guards.tag_with_lease_epoch;
        let epoch = if of_lease { lease.epoch } else { present.unwrap_or(lease.epoch) };
        self.coverage.note(Event::L2Filled);
        for server in servers {
            let data = world.redis.alive_mut(server)?;
            data.entries[usize::from(load.key)] = Some(Entry::Value { version, epoch });
        }
        world.process_mut(replica)?.loads.remove(place);
        Some(())
    }

    /// It is lost, or comes too late.
    pub(crate) fn drop_fill(world: &mut World, replica: usize, place: usize) -> Option<()> {
        world.process_mut(replica)?.loads.remove(place);
        Some(())
    }
}

impl Process {
    fn go_on_to_fill(&mut self, place: usize, version: u8, lease: Option<Lease>) {
        match lease {
            Some(lease) => {
                let stage = LoadStage::Filling { version, lease };
                self.loads[place] = Load { waiter: Waiter::Nobody, stage, ..self.loads[place] };
            }
            None => drop(self.loads.remove(place)),
        }
    }
}

impl Load {
    /// The lease that it has.
    pub(crate) fn lease(&self) -> Option<Lease> {
        match self.stage {
            LoadStage::Missed(lease)
            | LoadStage::Loaded { lease, .. }
            | LoadStage::Storing { lease, .. } => lease,
            LoadStage::Filling { lease, .. } => Some(lease),
            LoadStage::Noted | LoadStage::Permitted(_) => None,
        }
    }
}
