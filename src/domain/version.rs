//! Versions of a credential.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{CredentialType, Invalid, version_tag};

/// The number of a version: 1, 2, … Never given twice to credentials of one type of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(i64);

impl Version {
    /// A number that was read, if it is one of a version.
    #[must_use]
    pub const fn new(number: i64) -> Option<Self> {
        if number > 0 { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// What to say of a value that is none.
    #[must_use]
    pub fn invalid() -> Invalid {
        Invalid::new("version", "must be a whole number, 1 or more")
    }
}

impl FromStr for Version {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // `parse` alone would take a sign.
        let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|text| text.parse().ok()).and_then(Self::new);
        number.ok_or_else(Self::invalid)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState {
    /// It is what the credential is.
    Current,
    /// Another version replaced it.
    Superseded,
    /// The credential was deleted; as yet it can be brought back.
    Deleted,
    /// Nothing is left of it but that it was.
    Destroyed,
}

impl VersionState {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Deleted => "deleted",
            Self::Destroyed => "destroyed",
        }
    }
}

/// A version, without a word of what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number.
    pub version: i64,
    /// Which credential it is a version of: one that was deleted and made anew is another.
    pub generation: String,
    /// From when on it was what the credential is.
    pub valid_from: Timestamp,
    /// Until when it was said to be good.
    pub expires_at: Option<Timestamp>,
    /// When another version replaced it, or the credential was deleted.
    pub superseded_at: Option<Timestamp>,
    /// When the credential was deleted, unless it was brought back.
    pub deleted_at: Option<Timestamp>,
    /// When its bytes were removed.
    pub destroyed_at: Option<Timestamp>,
}

impl VersionInfo {
    /// What became of it.
    #[must_use]
    pub const fn state(&self) -> VersionState {
        if self.destroyed_at.is_some() {
            VersionState::Destroyed
        } else if self.deleted_at.is_some() {
            VersionState::Deleted
        } else if self.superseded_at.is_some() {
            VersionState::Superseded
        } else {
            VersionState::Current
        }
    }

    /// Its entity tag, without the quotes.
    #[must_use]
    pub fn tag(&self) -> String {
        version_tag(&self.generation, self.version)
    }
}

/// Why nothing is done with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoVersion {
    /// There is no credential of this type, or none that was deleted.
    #[error("there are no {0} credentials")]
    OfType(CredentialType),
    /// No version has this number.
    #[error("there is no such version")]
    Unknown,
    /// It is a version of a credential that was deleted.
    #[error("the version is of a credential that was deleted")]
    Deleted,
    /// Its bytes were removed.
    #[error("the version is destroyed")]
    Destroyed,
    /// There is nothing to be brought back: the credential is there.
    #[error("the {0} credentials are not deleted")]
    Present(CredentialType),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_versions_are_positive() {
        assert_eq!("7".parse::<Version>().unwrap().get(), 7);
        assert_eq!("9223372036854775807".parse::<Version>().unwrap().get(), i64::MAX);
        for bad in ["", "0", "-1", "+1", "1.0", "1e2", " 1", "one", "9223372036854775808"] {
            assert_eq!(bad.parse::<Version>().unwrap_err(), Version::invalid(), "{bad}");
        }
    }

    #[test]
    fn what_became_of_a_version_is_told_by_what_was_last_done_to_it() {
        let now = Some(Timestamp::UNIX_EPOCH);
        let info = |superseded_at, deleted_at, destroyed_at| VersionInfo {
            version: 3,
            generation: "g".into(),
            valid_from: Timestamp::UNIX_EPOCH,
            expires_at: None,
            superseded_at,
            deleted_at,
            destroyed_at,
        };
        assert_eq!(info(None, None, None).state(), VersionState::Current);
        assert_eq!(info(now, None, None).state(), VersionState::Superseded);
        assert_eq!(info(now, now, None).state(), VersionState::Deleted);
        assert_eq!(info(now, now, now).state(), VersionState::Destroyed);
        assert_eq!(info(now, None, now).state(), VersionState::Destroyed);
        assert_eq!(info(now, None, None).tag(), "g.3");
    }
}
