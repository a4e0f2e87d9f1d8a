//! Comparing what replicas say with what the database says.
//!
//! The rule is the auditor's, from outside: a difference is a suspicion, for a change may be on its
//! way. It is looked into once the staleness bound has passed, and is a violation if the same wrong
//! answer is given then.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde_json::Value;
use tokio::time::Instant;

use super::replica::{Replica, Said, Source};
use crate::cache::{Cached, LoadError};
use crate::domain::CacheKey;
use crate::service::{truth, version};
use crate::store::Store;

/// What was seen of one key at one replica.
#[derive(Debug)]
pub enum Seen {
    /// What the database says.
    Right(Source),
    /// Something else.
    Suspect(Box<Suspect>),
    /// Something that may be old, and says so.
    Stale,
    /// Nothing, and why.
    Unanswered(String),
}

/// An answer that differs from the database.
#[derive(Debug)]
pub struct Suspect {
    /// Whose it is, by its place in the list.
    pub replica: usize,
    /// The key that was asked for.
    pub key: CacheKey,
    said: Said,
    source: Source,
    truth: Cached,
    since: Instant,
}

/// What a suspicion has come to.
#[derive(Debug)]
pub enum Outcome {
    /// The change has arrived.
    InFlight,
    /// The same wrong answer.
    Violation(Violation),
    /// What was compared has changed again meanwhile: to be looked at once more.
    Again(Box<Suspect>),
    /// See [`Seen::Stale`].
    Stale,
    /// See [`Seen::Unanswered`].
    Unanswered(String),
}

/// An answer that stayed wrong for longer than the bound.
#[derive(Debug, serde::Serialize)]
pub struct Violation {
    /// Whose it is.
    pub replica: String,
    /// What was asked for.
    pub key: CacheKey,
    /// What was answered, by its revision.
    pub answered: String,
    /// What the database has.
    pub current: String,
}

/// Asks every replica for a key, and then the database: what it says is at least as new.
///
/// # Errors
/// The database is out of reach, or a scope is missing.
pub async fn look(
    store: &dyn Store,
    replicas: &[Replica],
    key: &CacheKey,
) -> anyhow::Result<Vec<Seen>> {
    let answers = try_join_all(replicas.iter().map(|replica| replica.ask(key))).await?;
    let truth = match truth(store, key).await {
        Ok(truth) => truth,
        Err(LoadError::Unavailable(why)) => anyhow::bail!("the database: {why}"),
        // A row that can't be read: replicas can't either.
        Err(LoadError::Failed(why)) => {
            return Ok(answers.iter().map(|_| Seen::Unanswered(why.to_string())).collect());
        }
    };
    let seen = |(replica, answer): (usize, Result<(Said, Source), String>)| match answer {
        Err(why) => Seen::Unanswered(why),
        Ok((_, Source::Stale)) => Seen::Stale,
        Ok((said, source)) if agrees(&said, &truth) => Seen::Right(source),
        Ok((said, source)) => {
            let (key, truth, since) = (key.clone(), truth.clone(), Instant::now());
            Seen::Suspect(Box::new(Suspect { replica, key, said, source, truth, since }))
        }
    };
    Ok(answers.into_iter().enumerate().map(seen).collect())
}

/// Looks into a suspicion once its change must have arrived.
///
/// # Errors
/// See [`look`].
pub async fn look_again(
    store: &dyn Store,
    replicas: &[Replica],
    suspect: Suspect,
    settled: Duration,
) -> anyhow::Result<Outcome> {
    tokio::time::sleep_until(suspect.since + settled).await;
    let replica = &replicas[suspect.replica];
    let seen = look(store, std::slice::from_ref(replica), &suspect.key).await?.pop();
    Ok(match seen {
        None | Some(Seen::Right(_)) => Outcome::InFlight,
        Some(Seen::Stale) => Outcome::Stale,
        Some(Seen::Unanswered(why)) => Outcome::Unanswered(why),
        Some(Seen::Suspect(now)) => {
            suspect.settle(replica, Suspect { replica: suspect.replica, ..*now })
        }
    })
}

impl Suspect {
    /// From where the replica had it.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// What it means that the answer is still not what the database says.
    fn settle(&self, replica: &Replica, now: Self) -> Outcome {
        if self.said != now.said {
            return Outcome::InFlight;
        }
        // No revision and no version comes back, so this one was replaced before. Absences look alike:
        // such an answer is of before if what it is compared with has been there since.
        let has_revision = matches!(now.said, Said::Document { etag: Some(_), .. });
        if !has_revision && self.truth != now.truth {
            return Outcome::Again(Box::new(now));
        }
        Outcome::Violation(Violation {
            replica: replica.name().to_owned(),
            answered: match &now.said {
                Said::Document { etag: Some(etag), .. } => tagged(etag),
                Said::Document { etag: None, .. } => "an answer without a tag".to_owned(),
                Said::Absent => "absent".to_owned(),
            },
            current: version(&now.truth),
            key: now.key,
        })
    }
}

/// Which revision of a tenant, or version of credentials, an entity tag stands for.
fn tagged(etag: &str) -> String {
    let tag = etag.trim_matches('"');
    match tag.rsplit_once('.') {
        Some((_, version)) => format!("version {version}"),
        None => format!("revision {tag}"),
    }
}

/// Whether an answer is what a cache that is right would give. Of credentials, by their version and
/// their masked form.
fn agrees(said: &Said, truth: &Cached) -> bool {
    let is = |body: &Value, bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes).is_ok_and(|truth| truth == *body)
    };
    match (said, truth) {
        (Said::Absent, truth) => !truth.is_present(),
        (Said::Document { body, etag }, Cached::Document(Some(document))) => {
            etag.as_ref().is_some_and(|etag| etag.as_bytes() == document.etag)
                && is(body, &document.body)
        }
        (Said::Document { body, etag }, Cached::Credentials(Some(views))) => {
            etag.as_ref().is_some_and(|etag| etag.as_bytes() == views.etag)
                && is(body, &views.masked)
        }
        // Nobody is asked for what is cached of a token.
        (
            Said::Document { .. },
            Cached::Document(None) | Cached::Credentials(None) | Cached::Token(_),
        ) => false,
    }
}

/// Looks at several keys, one after the other.
///
/// # Errors
/// See [`look`].
pub async fn look_at(
    store: &dyn Store,
    replicas: &[Replica],
    keys: Vec<CacheKey>,
) -> anyhow::Result<Vec<Vec<Seen>>> {
    let looks = keys.iter().map(|key| look(store, replicas, key));
    join_all(looks).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::Client;
    use super::*;
    use crate::cache::Document;

    fn replica() -> Replica {
        let client = Client::new(None, None).unwrap();
        Replica::at(&"http://127.0.0.1:1".parse().unwrap(), client, Duration::ZERO)
    }

    fn revision(number: i64) -> Said {
        Said::Document { body: json!({}), etag: Some(format!("\"{number}\"")) }
    }

    fn truth(number: i64) -> Cached {
        Cached::Document(Some(Document::new(b"{}".to_vec(), number)))
    }

    fn suspect(said: Said, truth: Cached) -> Suspect {
        let key = CacheKey::Phone("1".parse().unwrap());
        let (source, since) = (Source::Memory, Instant::now());
        Suspect { replica: 0, key, said, source, truth, since }
    }

    #[test]
    fn the_same_wrong_answer_is_a_violation_and_another_one_is_in_flight() {
        let first = suspect(revision(1), truth(2));
        let same = first.settle(&replica(), suspect(revision(1), truth(3)));
        assert!(matches!(same, Outcome::Violation(_)), "no revision comes back: {same:?}");
        let moved = first.settle(&replica(), suspect(revision(2), truth(3)));
        assert!(matches!(moved, Outcome::InFlight), "{moved:?}");
    }

    #[test]
    fn an_answer_without_a_revision_is_old_only_if_the_truth_has_stood_still() {
        let first = suspect(Said::Absent, truth(2));
        let again = first.settle(&replica(), suspect(Said::Absent, truth(3)));
        let Outcome::Again(second) = again else { panic!("{again:?}") };
        let same = second.settle(&replica(), suspect(Said::Absent, truth(3)));
        assert!(matches!(same, Outcome::Violation(_)), "{same:?}");
    }
}
