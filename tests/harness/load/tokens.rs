//! Tokens that are made, revoked and replaced, and go on being presented.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Event;
use super::tenant::Target;
use super::wire::request;
use super::writer::{Outcome, Writer};
use crate::harness::history::{Becomes, Effect};
use crate::harness::process::lock;

/// So many are good at a time, if nothing is broken.
const GOOD: usize = 4;
/// So many are presented, the revoked ones among them.
const PRESENTED: usize = 8;

/// A token that was made.
struct Token {
    id: String,
    target: Target,
    is_revoked: bool,
}

impl Writer {
    /// Makes tokens and takes them back; readers look this phone number up by each. One that may be
    /// revoked or not, for the outcome is unknown, is left to itself.
    pub async fn keep_tokens(mut self, slot: usize, path: String) {
        let mut tokens: Vec<Token> = Vec::new();
        while !self.shared.has_ended() {
            self.pace.turn().await;
            let good: Vec<usize> =
                (0..tokens.len()).filter(|&token| !tokens[token].is_revoked).collect();
            if good.len() < GOOD {
                tokens.extend(self.make(&path).await);
            } else if let Some(&token) = self.rng.choice(&good) {
                let mut old = tokens.remove(token);
                let (outcome, new) = if self.rng.bool() {
                    (self.revoke(&old).await, None)
                } else {
                    self.replace(&old, &path).await
                };
                old.is_revoked = outcome == Outcome::Acknowledged;
                if old.is_revoked || outcome == Outcome::Unsent {
                    tokens.push(old);
                }
                tokens.extend(new);
            }
            if tokens.len() > PRESENTED
                && let Some(oldest) = tokens.iter().position(|t| t.is_revoked)
            {
                tokens.remove(oldest);
            }
            let targets = tokens.iter().map(|token| token.target.clone()).collect();
            self.shared.targets[slot].store(Arc::new(targets));
        }
    }

    async fn make(&mut self, path: &str) -> Option<Token> {
        let body = json!({"name": "made up", "scopes": ["lookup:read"]});
        self.new_token(&request("POST", "/api/tokens", &body), path, None).await.1
    }

    async fn replace(&mut self, old: &Token, path: &str) -> (Outcome, Option<Token>) {
        let rotate = format!("/api/tokens/{}/rotate", old.id);
        let at_once = json!({"overlap_seconds": 0});
        self.new_token(&request("POST", &rotate, &at_once), path, Some(old)).await
    }

    async fn revoke(&mut self, old: &Token) -> Outcome {
        let body = request("DELETE", &format!("/api/tokens/{}", old.id), &Value::Null);
        let (outcome, _) = self.ask(&body, &[old.revoked()], false).await;
        self.count_revoked(outcome);
        outcome
    }

    /// Asks for one, perhaps in the place of another.
    async fn new_token(
        &mut self,
        request: &[u8],
        path: &str,
        old: Option<&Token>,
    ) -> (Outcome, Option<Token>) {
        let number = self.shared.tokens.fetch_add(1, Ordering::Relaxed);
        let key = Target::key_of_token(&mut lock(&self.shared.history), number);
        let good = Effect { key, becomes: Becomes::Is { owner: 0, mark: Some(0) } };
        let effects: Vec<Effect> = old.map(Token::revoked).into_iter().chain([good]).collect();
        let (outcome, answer) = self.ask(request, &effects, false).await;
        if old.is_some() {
            self.count_revoked(outcome);
        }
        let made = (outcome == Outcome::Acknowledged).then(|| {
            let made: Value = serde_json::from_slice(&answer).expect("an answer of JSON");
            let text = |name: &str| made[name].as_str().expect("a token").to_owned();
            let target = Target::by_token(key, path, &text("token"));
            Token { id: text("id"), target, is_revoked: false }
        });
        (outcome, made)
    }

    fn count_revoked(&self, outcome: Outcome) {
        if outcome == Outcome::Acknowledged {
            self.shared.counters.count(Event::Revoked);
        }
    }
}

impl Token {
    fn revoked(&self) -> Effect {
        Effect { key: self.target.key, becomes: Becomes::Absent }
    }
}
