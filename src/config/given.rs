//! What was given for a variable, and what is wrong with it.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use crate::domain::redact;

/// The text of one variable, by environment or flag, before anything is made of it.
///
/// Taken as it is, so that clap has nothing to refuse: it would do so one variable at a time, and
/// quote the text. That may hold a password, in whichever variable; so nothing here shows it.
#[derive(Clone)]
pub(super) struct Given(OsString);

impl Given {
    /// As the path of a file, whatever the system allows in one.
    pub(super) fn into_path(self) -> PathBuf {
        self.0.into()
    }
}

impl From<OsString> for Given {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

redact!(Given);

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Notes that `variable` is wrong, and what it accepts.
    pub(super) fn note(&mut self, variable: &str, accepts: impl fmt::Display) {
        self.0.push(format!("{variable}: {accepts}"));
    }

    /// The text of a variable. One that is not UTF-8 is a mistake.
    pub(super) fn text<'a>(&mut self, variable: &str, given: &'a Given) -> Option<&'a str> {
        let text = given.0.to_str();
        if text.is_none() {
            self.note(variable, "must be UTF-8 text");
        }
        text
    }

    /// What `parse` makes of a variable's text, without the spaces around it. That it makes nothing
    /// of it is a mistake.
    pub(super) fn parsed<T>(
        &mut self,
        variable: &str,
        given: &Given,
        accepts: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(self.text(variable, given)?.trim());
        if parsed.is_none() {
            self.note(variable, accepts);
        }
        parsed
    }

    /// A number in this range; `what` is what it counts.
    pub(super) fn number<N: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        variable: &str,
        given: &Given,
        what: &str,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let accepts = format!("must be {what}, {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.parsed(variable, given, &accepts, parse)
    }

    /// The path of a file that can be opened now.
    pub(super) fn readable_file(&mut self, variable: &str, given: &Given) -> Option<PathBuf> {
        let accepts = "must name a file that the service may read";
        self.parsed(variable, given, accepts, |text| File::open(text).is_ok().then(|| text.into()))
    }

    /// `Ok` if there are none, and so every part of `whole` is there.
    pub(super) fn unless_any<T>(self, whole: Option<T>) -> Result<T, Self> {
        whole.filter(|_| self.0.is_empty()).ok_or(self)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}
