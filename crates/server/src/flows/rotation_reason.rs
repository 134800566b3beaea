//! Why tokens are rotated, in the words of whoever does it.

use std::ops::RangeInclusive;

use crate::accounts::is_unprintable;

/// The most bytes that the audit trail takes of a reason.
const TRAIL: usize = 1000;

/// A reason on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RotationReason(String);

impl RotationReason {
    /// For the tokens of one user: 10 to 500 characters; blanks around them do not count.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub(crate) fn for_user(text: &str) -> Result<Self, &'static str> {
        Self::parse(text, 10..=500, "must be 10 to 500 characters long")
    }

    /// For everybody's tokens: 20 to 1000 characters.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub(crate) fn for_everybody(text: &str) -> Result<Self, &'static str> {
        Self::parse(text, 20..=1000, "must be 20 to 1000 characters long")
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as far as the audit trail takes it: all of it, unless it has many characters of several bytes.
    pub(super) fn for_the_trail(&self) -> &str {
        let end = self.0.floor_char_boundary(TRAIL);
        self.0.get(..end).unwrap_or_default()
    }

    fn parse(text: &str, length: RangeInclusive<usize>, message: &'static str) -> Result<Self, &'static str> {
        if text.chars().any(is_unprintable) {
            return Err("must not contain control characters");
        }
        let text = text.trim();
        if length.contains(&text.chars().count()) { Ok(Self(text.to_owned())) } else { Err(message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters() {
        for (length, user, everybody) in [
            (9, false, false),
            (10, true, false),
            (19, true, false),
            (20, true, true),
            (500, true, true),
            (501, false, true),
            (1000, false, true),
            (1001, false, false),
        ] {
            for character in ["x", "é", "山"] {
                let text = format!(" {} ", character.repeat(length));
                assert_eq!(RotationReason::for_user(&text).is_ok(), user, "{length}");
                assert_eq!(RotationReason::for_everybody(&text).is_ok(), everybody, "{length}");
            }
        }
        assert!(
            RotationReason::for_user("stolen\nlaptop").is_err() && RotationReason::for_user(&" ".repeat(20)).is_err()
        );
    }

    #[test]
    fn the_trail_gets_what_it_takes() {
        let reason = |text: &str| RotationReason::for_everybody(text).unwrap();
        assert_eq!(reason(&"x".repeat(1000)).for_the_trail(), "x".repeat(1000));
        assert_eq!(reason(&"山".repeat(1000)).for_the_trail(), "山".repeat(333));
    }
}
