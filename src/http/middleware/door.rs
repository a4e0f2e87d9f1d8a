//! Who is let in: by which name they call, how often, with which token; and what those hear who are not.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{self, Extensions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Endpoint, RequestId};
use crate::domain::{AccessToken, Action, Entry, Outcome, Scope};
use crate::http::auth::{Access, Caller, Presented};
use crate::http::extract::sent_by;
use crate::http::problem::Problem;
use crate::http::rate::{RateLimit, TokenRates};
use crate::http::stranger::{Reach, is_cross_site};
use crate::service::{Authentication, Service, Trail};

/// Who may call, and from where.
#[derive(Clone)]
pub struct Door {
    /// Whoever has no token.
    pub anonymous: Caller,
    /// From where the service is called.
    pub reach: Reach,
    /// Who knows tokens. Without, every token is a bad one.
    pub tokens: Option<Service>,
    /// Who may not do something is entered here.
    pub trail: Option<Trail>,
}

/// How much may be asked for. Nothing sets a limit by itself.
#[derive(Clone, Default)]
pub struct Room {
    /// Each request takes one while it is worked on.
    pub places: Option<Arc<Semaphore>>,
    /// How often a client may ask.
    pub rates: Option<Arc<RateLimit>>,
    /// How often the bearer of a token may ask.
    pub token_rates: Option<Arc<TokenRates>>,
}

/// What is known of a request's caller before its handler runs.
pub(super) enum Entrance {
    /// They may go in: without a token, or with this one.
    In(Option<Caller>),
    /// They may not.
    Refused(Box<Refused>),
    /// Whose token it is, memory does not say.
    Ask(Service, AccessToken),
}

/// Somebody who may not go in.
pub(super) struct Refused {
    pub(super) problem: Problem,
    /// Whether they lack the right to, which is entered into the trail.
    pub(super) is_denied: bool,
    /// Who they are, if a good token says so.
    bearer: Option<Caller>,
}

impl Refused {
    /// Who asks too often, or in another way that is not to be.
    pub(super) const fn unfit(problem: Problem) -> Self {
        Self { problem, is_denied: false, bearer: None }
    }

    /// Who may not do it.
    pub(super) const fn denied(problem: Problem, bearer: Option<Caller>) -> Self {
        Self { problem, is_denied: true, bearer }
    }
}

impl Endpoint {
    /// Lets a request's caller in, or not, if that can be told at once.
    pub(super) fn enter<B>(&self, request: &http::Request<B>, began: Instant) -> Entrance {
        let unfit = |problem| Entrance::Refused(Refused::unfit(problem).into());
        let denied = |problem| Entrance::Refused(Refused::denied(problem, None).into());
        if !self.admits(request, began) {
            return unfit(Problem::rate_limited());
        }
        // What is open to everyone is so whatever they bring.
        let presented = match self.access {
            Access::Open => Presented::Nothing,
            Access::Needs(_) => Presented::by(request.headers()),
        };
        let token = match (presented, &self.refusal) {
            (Presented::Nothing, Some(problem)) => return denied(problem.clone()),
            _ if !self.door.reach.admits(request) => return unfit(Problem::misdirected()),
            (Presented::Nothing, None) if self.access != Access::Open && is_cross_site(request) => {
                return unfit(Problem::cross_site());
            }
            (Presented::Nothing, None) => return Entrance::In(None),
            (Presented::Token(token), _) => token,
            (Presented::Unreadable, _) => return denied(Problem::invalid_token()),
        };
        let Some(service) = &self.door.tokens else {
            return denied(Problem::invalid_token());
        };
        let Some(recognised) = service.authenticate_cached(&token) else {
            return Entrance::Ask(service.clone(), token);
        };
        match self.judge(recognised).and_then(|caller| self.count(caller, began)) {
            Ok(caller) => Entrance::In(Some(caller)),
            Err(refused) => Entrance::Refused(refused),
        }
    }

    /// Lets the bearer of a token in, or not.
    pub(super) fn judge(&self, recognised: Authentication) -> Result<Caller, Box<Refused>> {
        let Authentication::Good { token, may_be_old } = recognised else {
            return Err(Refused::denied(Problem::invalid_token(), None).into());
        };
        // It may have been revoked meanwhile, by whoever reaches the database. That is as good as any
        // old answer to a look-up; nothing else is answered from memory alone.
        if may_be_old && self.access != Access::Needs(Scope::LookupRead) {
            return Err(Refused::unfit(Problem::token_may_be_old()).into());
        }
        let caller = Caller::Token(token);
        match caller.authorize(self.access) {
            Ok(()) => Ok(caller),
            Err(problem) => Err(Refused::denied(problem, Some(caller)).into()),
        }
    }

    /// The same caller, if they may ask now.
    pub(super) fn count(&self, caller: Caller, now: Instant) -> Result<Caller, Box<Refused>> {
        if self.admits_token(&caller, now) {
            Ok(caller)
        } else {
            Err(Refused::unfit(Problem::rate_limited()).into())
        }
    }

    /// The answer to whoever may not go in. That somebody lacks the right to is entered; nobody waits
    /// for that.
    pub(super) fn refuse(&self, refused: Refused, request: &Extensions, id: &RequestId) -> Problem {
        let Refused { problem, is_denied, bearer } = refused;
        if let (true, Some(trail), Access::Needs(scope)) =
            (is_denied, &self.door.trail, self.access)
        {
            let by = sent_by(bearer.as_ref(), request, id);
            trail.note(Entry::of(by, Action::Access(scope)).ending(Outcome::Denied));
        }
        problem
    }

    /// Whether the bearer of a token may ask now; where there is no limit they always may.
    pub(super) fn admits_token(&self, caller: &Caller, now: Instant) -> bool {
        match (&self.room.token_rates, caller) {
            (Some(rates), Caller::Token(token)) => rates.admits(&token.issued.token.id, now),
            _ => true,
        }
    }

    /// Whether the client may ask now; where there is no limit it always may.
    pub(super) fn admits<B>(&self, request: &http::Request<B>, now: Instant) -> bool {
        match (&self.room.rates, request.extensions().get()) {
            (Some(rates), Some(client)) => rates.admits(*client, now),
            _ => true,
        }
    }

    /// The right to be worked on; nothing where there is no limit.
    pub(super) fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        let Some(places) = &self.room.places else { return Ok(None) };
        Arc::clone(places).try_acquire_owned().map(Some).map_err(|_| Problem::overloaded())
    }
}
