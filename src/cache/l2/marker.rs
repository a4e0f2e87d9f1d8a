//! How the marker looks in Redis: a hash beside the entries. What it asserts: see [`Marker`].
//!
//! | Field | |
//! |---|---|
//! | `epoch` | the entries that it speaks of end with it |
//! | `database` | the database whose log it is a position in |
//! | `timeline` | that database's timeline, with what else a crash of its server changes |
//! | `revoked` | a snapshot, as Postgres writes one: the changes that it sees were revoked here |

use crate::coherence::{LogIdentity, Marker};

/// What was found under the marker's key. Kept as it was: only if that is still there, another one
/// is set in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found(pub(super) [String; 4]);

impl Found {
    /// The marker; nothing where what stands there is none.
    #[must_use]
    pub fn marker(&self) -> Option<Marker> {
        let [epoch, database, timeline, revoked] = self.0.clone();
        let revoked = revoked.parse().ok()?;
        let log = LogIdentity { database, timeline };
        (!epoch.is_empty()).then_some(Marker { epoch, log, revoked })
    }
}

/// Its fields.
pub fn fields(marker: &Marker) -> [String; 4] {
    let Marker { epoch, log, revoked } = marker.clone();
    [epoch, log.database, log.timeline, revoked.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_back() {
        let log = LogIdentity { database: "7/16384".into(), timeline: "00000001/x".into() };
        let revoked = "10:20:10,14".parse().unwrap();
        let marker = Marker { epoch: "e".into(), log, revoked };
        let fields = fields(&marker);
        assert_eq!(fields, ["e", "7/16384", "00000001/x", "10:20:10,14"]);
        assert_eq!(Found(fields.clone()).marker(), Some(marker));
        let [_, database, timeline, revoked] = fields.clone();
        let unnamed = [String::new(), database, timeline, revoked];
        let garbled = fields.map(|field| field.replace(':', ""));
        for none in [unnamed, garbled, Default::default()] {
            assert_eq!(Found(none.clone()).marker(), None, "{none:?}");
        }
    }
}
