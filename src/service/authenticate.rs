//! Who presents this token? In memory that costs a look-up and one hash.
//!
//! Architecture Invariant: a token that nobody has issued takes the steps of one whose secret is
//! wrong. Whoever guesses learns nothing from the time that an answer takes, once both are cached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError, load};
use crate::cache::{Found, TokenEntry, TokenOf, Via};
use crate::crypto::Pepper;
use crate::domain::{AccessToken, TokenHash, TokenId, TokenStanding};
use crate::telemetry::logging::chain;

/// Of a token's uses, one in so many seconds is noted.
const NOTED_EVERY: i64 = 60;
/// How often what was noted is written.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// What became of a token.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// It is good.
    Good {
        /// The token.
        token: Arc<TokenEntry>,
        /// It may have been revoked since: the database is out of reach.
        may_be_old: bool,
    },
    /// It is not, and why is nobody's business.
    Bad,
}

/// What a process knows of tokens.
pub(super) struct Known {
    /// What they are hashed with; there from the first token on.
    pepper: OnceCell<Pepper>,
    decoy: Pepper,
    /// The last use of each, that is to be written.
    uses: Mutex<BTreeMap<TokenId, Timestamp>>,
}

impl Default for Known {
    fn default() -> Self {
        let (pepper, uses) = (OnceCell::new(), Mutex::default());
        Self { pepper, decoy: Pepper::decoy(), uses }
    }
}

impl Known {
    /// Judges a token by what is known under its id.
    fn judge(
        &self,
        presented: &AccessToken,
        pepper: &Pepper,
        found: Found<Arc<TokenEntry>>,
    ) -> Authentication {
        let Some(token) = found.value else {
            // Takes as long as the comparison below, and comes to nothing.
            std::hint::black_box(self.decoy.verifies(presented, &TokenHash([0; 32])));
            return Authentication::Bad;
        };
        let is_it = pepper.verifies(presented, &token.issued.hash);
        let now = Timestamp::now();
        if !is_it || token.issued.token.standing(|| now) != TokenStanding::Active {
            return Authentication::Bad;
        }
        if token.is_due(now.as_second(), NOTED_EVERY) {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            uses.insert(token.issued.token.id.clone(), now);
        }
        Authentication::Good { token, may_be_old: matches!(found.via, Via::Stale(_)) }
    }
}

impl Service {
    /// Whether a token is good, if that can be told from memory.
    #[must_use]
    pub fn authenticate_cached(&self, presented: &AccessToken) -> Option<Authentication> {
        let known = &self.0.known;
        // Until there is a first token every one is bad, whatever it is compared with.
        let pepper = known.pepper.get();
        let found = self.0.cache.peek(TokenOf(presented.id().clone()))?;
        let pepper = if found.value.is_some() { pepper? } else { &known.decoy };
        Some(known.judge(presented, pepper, found))
    }

    /// Whether a token is good.
    ///
    /// # Errors
    /// The database is out of reach, and it is not in memory; or a row can't be read.
    pub async fn authenticate(
        &self,
        presented: &AccessToken,
    ) -> Result<Authentication, ServiceError> {
        let load = || {
            let (store, id) = (Arc::clone(&self.0.store), presented.id().clone());
            async move { load::token(store.as_ref(), &id).await }
        };
        let found = self.0.cache.get(TokenOf(presented.id().clone()), load).await?;
        let known = &self.0.known;
        let pepper = if found.value.is_some() { self.pepper().await? } else { &known.decoy };
        Ok(known.judge(presented, pepper, found))
    }

    /// What tokens are hashed with.
    async fn pepper(&self) -> Result<&Pepper, ServiceError> {
        let read = async {
            let found = self.store()?.pepper().await;
            let found = found.map_err(|failure| ServiceError::of("pepper", failure))?;
            let missing = || ServiceError::Internal("there are tokens, and no pepper".into());
            found.ok_or_else(missing)
        };
        self.0.known.pepper.get_or_try_init(|| read).await
    }

    /// Reads what tokens are hashed with, so that the first one that comes need not wait for it, and
    /// is recognised while the database is away. Where that fails, the first one tries again.
    pub async fn prepare_for_tokens(&self) {
        match self.0.store.pepper().await {
            Ok(Some(pepper)) => drop(self.0.known.pepper.set(pepper)),
            // The first token is yet to come.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "no token can be recognised");
            }
        }
    }

    /// Writes when tokens were last used, now and then, until `stop`; and then what is left.
    pub async fn note_uses_of_tokens(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(WRITTEN_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.write_uses_of_tokens().await;
        }
        self.write_uses_of_tokens().await;
    }

    async fn write_uses_of_tokens(&self) {
        let uses = {
            let mut uses = self.0.known.uses.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *uses)
        };
        let uses: Vec<_> = uses.into_iter().collect();
        if uses.is_empty() {
            return;
        }
        let Ok(store) = self.store() else { return };
        // What is lost is a note, and the next use is another.
        if let Err(error) = store.tokens_used(&uses).await {
            tracing::debug!(error = chain(&error), "uses of tokens are not written");
        }
    }
}
