//! Tokens: made, listed, taken back, replaced.

use std::sync::Arc;
use std::time::Duration;

use super::{Acknowledged, Service, ServiceError, Wait};
use crate::crypto::new_token;
use crate::domain::{
    AccessToken, Action, By, Entry, Limits, NewToken, Outcome, TokenId, TokenRecord,
};
use crate::store::{Rotated, Store, StoreError, TokenPage};

/// A token that was made, with its secret, which nothing shows again.
#[derive(Debug)]
pub struct Minted<T> {
    /// The token.
    pub secret: AccessToken,
    /// What is stored of it.
    pub value: T,
}

impl Service {
    /// One page of the tokens whose limits are within these, and how many there are.
    ///
    /// # Errors
    /// The database is out of reach, or a row can't be read.
    pub async fn tokens(
        &self,
        page: TokenPage,
        within: &Limits,
    ) -> Result<(Vec<TokenRecord>, u64), ServiceError> {
        let listed = self.store()?.tokens(page, within).await;
        listed.map_err(|failure| ServiceError::of("tokens", failure))
    }

    /// All that is known of a token; `None` if there is none, or its limits are not within these.
    ///
    /// # Errors
    /// As [`Service::tokens`].
    pub async fn token(
        &self,
        id: &TokenId,
        within: &Limits,
    ) -> Result<Option<TokenRecord>, ServiceError> {
        let found = self.store()?.token_record(id).await;
        let found = found.map_err(|failure| ServiceError::of("token_record", failure))?;
        Ok(found.filter(|record| record.token.limits.are_within(within)))
    }

    /// Enters that what was to be done with a token, or to make one, came to nothing. Nobody waits for
    /// that.
    pub fn token_in_vain(&self, by: By, action: Action, id: Option<&TokenId>, outcome: Outcome) {
        let entry = Entry { token: id.cloned(), ..Entry::of(by, action) };
        self.0.trail.note(entry.ending(outcome));
    }

    /// Makes a token.
    ///
    /// # Errors
    /// As [`Service::tokens`]; or it can't be sealed what it is hashed with.
    pub async fn create_token(
        &self,
        token: NewToken,
        by: By,
        wait: Wait,
    ) -> Result<Acknowledged<Minted<TokenRecord>>, ServiceError> {
        let secret = drawn()?;
        let stored = secret.clone();
        let entry = Entry::of(by.clone(), Action::TokenCreate).to_token(secret.id());
        let create = move |store: Arc<dyn Store>| async move {
            store.create_token(&token, &stored, &by).await.map(Some)
        };
        let nothing = || ServiceError::Internal("create_token: no token".into());
        let made = self.write("create_token", entry, wait, create).await?.ok_or_else(nothing)?;
        let Acknowledged { value, coherence } = made;
        Ok(Acknowledged { value: Minted { secret, value }, coherence })
    }

    /// Takes a token back, for good; `None` if there is none.
    ///
    /// # Errors
    /// As [`Service::tokens`].
    pub async fn revoke_token(
        &self,
        id: TokenId,
        by: By,
        wait: Wait,
    ) -> Result<Option<Acknowledged<TokenRecord>>, ServiceError> {
        let entry = Entry::of(by.clone(), Action::TokenRevoke).to_token(&id);
        let revoke = move |store: Arc<dyn Store>| async move { store.revoke_token(&id, &by).await };
        self.write("revoke_token", entry, wait, revoke).await
    }

    /// Makes a token that may do what another one may, which is good for `overlap` yet; `None` if there
    /// is none.
    ///
    /// # Errors
    /// [`ServiceError::Inactive`]; or as [`Service::create_token`].
    pub async fn rotate_token(
        &self,
        id: TokenId,
        overlap: Duration,
        by: By,
        wait: Wait,
    ) -> Result<Option<Acknowledged<Minted<Rotated>>>, ServiceError> {
        let secret = drawn()?;
        let stored = secret.clone();
        let entry = Entry::of(by.clone(), Action::TokenRotate).to_token(&id);
        let rotate = move |store: Arc<dyn Store>| async move {
            store.rotate_token(&id, &stored, overlap, &by).await
        };
        let rotated = self.write("rotate_token", entry, wait, rotate).await?;
        Ok(rotated.map(|Acknowledged { value, coherence }| Acknowledged {
            value: Minted { secret, value },
            coherence,
        }))
    }
}

fn drawn() -> Result<AccessToken, ServiceError> {
    new_token().map_err(|failure| ServiceError::of("new_token", StoreError::from(failure)))
}
