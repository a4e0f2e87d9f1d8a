//! The protocol in a world: what can happen, and what it does.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::action::Action;
use crate::config::Config;
use crate::coverage::Coverage;
use crate::guards::Guards;
use crate::world::World;

/// The property.
pub const NEVER_OLDER: &str = "no answer is older than what was settled when it was asked for";

/// The protocol, within bounds.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The bounds.
    pub config: Config,
    /// What it insists on.
    pub guards: Guards,
    /// What has happened.
    pub coverage: Arc<Coverage>,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::dawn(&self.config)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.violated {
            return;
        }
        // Nobody is left whose answers could be wrong.
        let observed = &world.replicas[usize::from(self.config.observed)];
        if observed.is_none() && world.left.starts == 0 {
            return;
        }
        self.around(world, actions);
        for (replica, process) in world.replicas.iter().enumerate() {
            let Some(process) = process else { continue };
            self.rounds(world, replica, process, actions);
            self.links(world, replica, process, actions);
            self.reads(replica, process, actions);
            self.loads(world, replica, process, actions);
            self.writes(world, replica, process, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.act(&mut next, action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(NEVER_OLDER, |_, world: &World| !world.violated)]
    }
}

impl Protocol {
    pub(crate) const fn coarse(&self) -> bool {
        !self.config.fine
    }

    /// Whether a read looks as it is invoked. Later it would look with a deadline as old and a
    /// state to know as old. But a start over can come in between.
    pub(crate) const fn looks_at_once(&self) -> bool {
        let starts_over = self.config.prunes > 0 || self.config.census;
        self.coarse() && !starts_over && self.guards.note_epoch_before_trust
    }

    fn act(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::StartStep(replica) => self.start_step(world, replica),
            Action::Renew(replica) => self.renew(world, replica),
            Action::Poll(replica) => self.poll(world, replica),
            Action::ApplyPolled(replica, call) => self.apply_polled(world, replica, call),
            Action::Complete(replica) => self.complete(world, replica),
            Action::AdvanceMarker(replica) => self.advance_marker(world, replica),
            Action::Deliver(replica, at) => self.deliver(world, replica, at),
            Action::ApplyDelivered(replica, call) => self.apply_delivered(world, replica, call),
            Action::Connect(replica, server) => self.connect(world, replica, server),
            Action::ReadMarker(replica) => self.read_marker(world, replica),
            Action::Introduce(replica) => self.introduce(world, replica),
            Action::Replay(replica, call) => self.replay(world, replica, call),
            Action::SetEpoch(replica) => self.set_epoch(world, replica),
            Action::Invoke(replica, key) => self.invoke(world, replica, key),
            Action::Look(replica) => self.look(world, replica),
            Action::Answer(replica) => self.answer(world, replica),
            Action::HangUp(replica) => Self::hang_up(world, replica),
            Action::CheckTrust(replica, place) => self.check_trust(world, replica, place),
            Action::AskL2(replica, place) => self.ask_l2(world, replica, place),
            Action::AskDatabase(replica, place) => self.ask_database(world, replica, place),
            Action::Land(replica, place) => self.land(world, replica, place),
            Action::Store(replica, place) => Self::store(world, replica, place),
            Action::FillL2(replica, place) => self.fill_l2(world, replica, place),
            Action::DropFill(replica, place) => Self::drop_fill(world, replica, place),
            Action::Write(replica, key) => self.write(world, replica, key),
            Action::ApplyOwn(replica, call) => self.apply_own(world, replica, call),
            Action::ReadRows(replica) => Self::read_rows(world, replica, true),
            Action::FailToReadRows(replica) => Self::read_rows(world, replica, false),
            Action::Settle(replica, by) => self.settle(world, replica, by),
            other => self.happen(world, other),
        }
    }
}
