//! What the load asks for: tenants, under all their paths, and by which tokens; and what the answers say.

use serde_json::{Value, json};

use super::wire::{self, Answer};
use crate::harness::history::{Becomes, Effect, History, Key, Marks, State};

/// The length of the end of a token that a masked answer shows.
const SHOWN: u32 = 4;
const TAGS: u64 = 36_u64.pow(SHOWN);

/// A key, and how to read it.
#[derive(Clone)]
pub struct Target {
    pub key: Key,
    pub request: Vec<u8>,
    shows: Shows,
}

/// What an answer shows of a key.
#[derive(Clone, Copy)]
enum Shows {
    Revision,
    /// The end of a credential.
    Tag,
    /// Nothing but that the token is good.
    Token,
}

impl Target {
    fn new(history: &mut History, path: String, shows: Shows) -> Self {
        let request = wire::get(&path);
        let marks = match shows {
            Shows::Revision => Marks::Revisions,
            Shows::Tag | Shows::Token => Marks::Tags,
        };
        Self { key: history.key(path, marks), request, shows }
    }

    /// The key of a token, before it is made.
    pub fn key_of_token(history: &mut History, number: u64) -> Key {
        history.key(format!("token {number}"), Marks::Tags)
    }

    /// A token, presented to read what is at this path.
    pub fn by_token(key: Key, path: &str, token: &str) -> Self {
        Self { key, request: wire::get_with(path, token), shows: Shows::Token }
    }

    /// What an answer says; nothing if it is none that a sound replica gives.
    pub fn state(&self, answer: &Answer<'_>) -> Option<State> {
        let body = answer.body;
        match (self.shows, answer.status) {
            (Shows::Revision | Shows::Tag, 404) | (Shows::Token, 401) => Some(State::Absent),
            // `{"id":"t12",…`
            (Shows::Revision, 200) => {
                let owner = wire::number(body.strip_prefix(br#"{"id":"t"#)?);
                Some(State::Is { owner: u32::try_from(owner).ok()?, mark: answer.revision? })
            }
            // `{"access_token":"***0a1b"}`; the tag names the tenant as well.
            (Shows::Tag, 200) => {
                let shown = body.strip_prefix(br#"{"access_token":"***"#)?.get(..SHOWN as usize)?;
                let tag = u64::from_str_radix(str::from_utf8(shown).ok()?, 36).ok()?;
                Some(State::Is { owner: 0, mark: tag })
            }
            (Shows::Token, 200) => Some(State::Is { owner: 0, mark: 0 }),
            _ => None,
        }
    }
}

/// A token that no other write of the last million has, and its tag.
pub fn token(number: u64) -> (String, u64) {
    let tag = number % TAGS;
    let mut digits = String::new();
    for place in (0..SHOWN).rev() {
        let digit = u32::try_from(tag / 36_u64.pow(place) % 36).unwrap_or(0);
        digits.extend(char::from_digit(digit, 36));
    }
    (format!("made-up-token-{digits}"), tag)
}

/// A phone number, which can move from one tenant to another.
pub struct Phone {
    pub number: String,
    pub key: Key,
}

impl Phone {
    pub fn new(history: &mut History, targets: &mut Vec<Target>, number: u32) -> Self {
        let number = format!("49{number:08}");
        let target = Target::new(history, phone_path(&number), Shows::Revision);
        let key = target.key;
        targets.push(target);
        Self { number, key }
    }

    /// Where it is looked up.
    pub fn path(&self) -> String {
        phone_path(&self.number)
    }
}

fn phone_path(number: &str) -> String {
    format!("/api/tenants/by-phone/{number}")
}

/// A tenant's names, and the keys under which it answers.
pub struct Tenant {
    pub number: u32,
    own: Key,
    integration: Key,
    credentials: Key,
}

/// A tenant as it is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub exists: bool,
    pub active: bool,
    pub has_phone: bool,
    /// Of its credentials, if there are any.
    pub tag: Option<u64>,
    /// The last number that a version of them has.
    pub version: u64,
    /// The version before the current one, and its tag, if it can be rolled back to.
    pub previous: Option<(u64, u64)>,
    /// Of credentials that were deleted and can be brought back.
    pub deleted: Option<u64>,
}

impl Condition {
    /// With new credentials.
    pub fn with(self, tag: u64) -> Self {
        let previous = self.tag.map(|tag| (self.version, tag));
        Self { tag: Some(tag), version: self.version + 1, previous, deleted: None, ..self }
    }

    /// Without its credentials, which may come back.
    pub fn deleted(self) -> Self {
        Self { tag: None, previous: None, deleted: self.tag, ..self }
    }

    /// Without any that ever were.
    pub fn destroyed(self) -> Self {
        Self { tag: None, previous: None, deleted: None, ..self }
    }
}

impl Tenant {
    pub fn new(history: &mut History, targets: &mut Vec<Target>, number: u32) -> Self {
        let mut target = |path, shows| {
            targets.push(Target::new(history, path, shows));
            targets[targets.len() - 1].key
        };
        Self {
            number,
            own: target(format!("/api/tenants/t{number}"), Shows::Revision),
            integration: target(format!("/api/tenants/by-integration/i{number}"), Shows::Revision),
            credentials: target(
                format!("/api/tenants/t{number}/credentials?type=whatsapp"),
                Shows::Tag,
            ),
        }
    }

    pub fn path(&self) -> String {
        format!("/api/tenants/t{}", self.number)
    }

    /// The body that creates it.
    pub fn body(&self, phone: Option<&Phone>) -> Value {
        json!({
            "id": format!("t{}", self.number),
            "name": "Made-up tenant",
            "genesys_integration_id": format!("i{}", self.number),
            "phone_number_id": phone.map(|phone| &phone.number),
        })
    }

    /// What a write makes of all keys, if it brings the tenant from one condition to the other and
    /// nobody else writes to it.
    pub fn effects(&self, phone: &Phone, before: Condition, after: Condition) -> Vec<Effect> {
        let resolves = after.exists && after.active;
        let own = Effect { key: self.own, becomes: self.itself(after.exists) };
        let integration = Effect { key: self.integration, becomes: self.itself(resolves) };
        let credentials = match after.tag.filter(|_| resolves) {
            Some(tag) => tagged(tag),
            None => Becomes::Absent,
        };
        let credentials = Effect { key: self.credentials, becomes: credentials };
        let mut effects = vec![own, integration, credentials];
        if before.has_phone || after.has_phone {
            let becomes = self.itself(resolves && after.has_phone);
            effects.push(Effect { key: phone.key, becomes });
        }
        effects
    }

    /// The same for a change of its name, while others may write its credentials.
    pub fn effects_of_renaming(&self, phone: &Phone) -> Vec<Effect> {
        let keys = [self.own, self.integration, phone.key];
        keys.map(|key| Effect { key, becomes: self.itself(true) }).to_vec()
    }

    /// The same for its credentials, while others may change its name.
    pub fn effects_of_credentials(&self, phone: &Phone, tag: u64) -> Vec<Effect> {
        let mut effects = self.effects_of_renaming(phone);
        effects.push(Effect { key: self.credentials, becomes: tagged(tag) });
        effects
    }

    fn itself(&self, shown: bool) -> Becomes {
        if shown { Becomes::Is { owner: self.number, mark: None } } else { Becomes::Absent }
    }
}

fn tagged(tag: u64) -> Becomes {
    Becomes::Is { owner: 0, mark: Some(tag) }
}
