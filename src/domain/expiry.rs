//! Until when credentials are good.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::Invalid;

const FIELD: &str = "expires_at";

/// The end of credentials, as whoever set them said: to the millisecond, which every database keeps.
/// Whether it lies ahead, the database's clock knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiresAt(Timestamp);

impl ExpiresAt {
    /// The moment.
    #[must_use]
    pub const fn get(self) -> Timestamp {
        self.0
    }

    /// What to say of an end that does not lie ahead.
    #[must_use]
    pub fn passed() -> Invalid {
        Invalid::new(FIELD, "must be in the future")
    }
}

impl FromStr for ExpiresAt {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let moment = text.parse::<Timestamp>().ok();
        let whole = moment.and_then(|at| Timestamp::from_millisecond(at.as_millisecond()).ok());
        let reason = "must be a moment such as 2030-01-02T03:04:05Z";
        let end = whole.map(Self).ok_or_else(|| Invalid::new(FIELD, reason))?;
        // Databases differ in how far back their calendars go.
        if end.0 < Timestamp::UNIX_EPOCH { Err(Self::passed()) } else { Ok(end) }
    }
}

/// As databases compare it: in UTC, always with three digits behind the point.
impl fmt::Display for ExpiresAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_moment_to_the_millisecond() {
        for (text, expected) in [
            ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05.000Z"),
            ("2030-01-02T03:04:05.123999+01:00", "2030-01-02T02:04:05.123Z"),
            ("9999-01-02T03:04:05.5Z", "9999-01-02T03:04:05.500Z"),
        ] {
            assert_eq!(text.parse::<ExpiresAt>().unwrap().to_string(), expected);
        }
        for before in ["1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "-000044-03-15T00:00:00Z"] {
            assert_eq!(before.parse::<ExpiresAt>().unwrap_err(), ExpiresAt::passed(), "{before}");
        }
        for bad in
            ["", "soon", "2031-01-02", "2031-01-02T03:04:05", "1900000000", "12030-01-02T03:04:05Z"]
        {
            let invalid = bad.parse::<ExpiresAt>().unwrap_err();
            assert_eq!(invalid.field, "expires_at");
            assert!(bad.is_empty() || !invalid.to_string().contains(bad), "{bad}");
        }
    }
}
