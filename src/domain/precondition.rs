//! What has to hold for a write to be made (RFC 9110, section 13).

/// The entity tag of a credential's version, without its quotes: which credential it is (one that was
/// deleted and made anew is another), and which of its versions.
#[must_use]
pub fn version_tag(generation: &str, version: i64) -> String {
    format!("{generation}.{version}")
}

/// An entity tag that a caller names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTag {
    /// What stands between the quotes.
    pub opaque: String,
    /// Whether it stands for anything that is as good as what it was given for. We give no such tags.
    pub is_weak: bool,
}

/// The entity tags that a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// Whatever is there.
    Any,
    /// One of these.
    These(Vec<NamedTag>),
}

/// The condition of a write: what must be, and what must not be there now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Precondition {
    /// `If-Match`: one of these is there, compared strongly.
    pub if_match: Option<Tags>,
    /// `If-None-Match`: none of these is there, compared weakly.
    pub if_none_match: Option<Tags>,
}

impl Precondition {
    /// Whether there is no condition at all.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether the write may be made where this entity tag is there; `None`: nothing is.
    #[must_use]
    pub fn holds(&self, current: Option<&str>) -> bool {
        let names = |tags: &Tags, takes_weak: bool| match (tags, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::These(tags), Some(current)) => {
                tags.iter().any(|tag| tag.opaque == current && (takes_weak || !tag.is_weak))
            }
        };
        self.if_match.as_ref().is_none_or(|tags| names(tags, false))
            && !self.if_none_match.as_ref().is_some_and(|tags| names(tags, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(tags: &[(&str, bool)]) -> Tags {
        let named = |&(opaque, is_weak): &(&str, bool)| NamedTag { opaque: opaque.into(), is_weak };
        Tags::These(tags.iter().map(named).collect())
    }

    #[test]
    fn what_must_be_there_is_compared_strongly() {
        let holds =
            |if_match, current| Precondition { if_match, if_none_match: None }.holds(current);
        for current in [None, Some("a.1")] {
            assert!(holds(None, current));
            assert_eq!(holds(Some(Tags::Any), current), current.is_some());
            assert_eq!(
                holds(Some(these(&[("b.1", false), ("a.1", false)])), current),
                current.is_some()
            );
            assert!(!holds(Some(these(&[("a.1", true)])), current), "a weak tag");
            assert!(!holds(Some(these(&[("a.2", false), ("A.1", false)])), current));
            assert!(!holds(Some(these(&[])), current));
        }
    }

    #[test]
    fn what_must_not_be_there_is_compared_weakly() {
        let holds =
            |if_none_match, current| Precondition { if_match: None, if_none_match }.holds(current);
        for current in [None, Some("a.1")] {
            assert_eq!(holds(Some(Tags::Any), current), current.is_none());
            assert_eq!(holds(Some(these(&[("a.1", true)])), current), current.is_none());
            assert_eq!(holds(Some(these(&[("a.1", false)])), current), current.is_none());
            assert!(holds(Some(these(&[("a.2", false)])), current));
        }
    }

    #[test]
    fn both_conditions_have_to_hold() {
        let precondition = Precondition {
            if_match: Some(these(&[("a.1", false)])),
            if_none_match: Some(Tags::Any),
        };
        assert!(!precondition.holds(None) && !precondition.holds(Some("a.1")));
        assert!(!precondition.is_none() && Precondition::default().is_none());
    }
}
