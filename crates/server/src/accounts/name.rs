//! The name of a person, for greetings and headers.

use serde::Serialize;

/// A name of 1 to 100 characters on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct PersonName(String);

impl PersonName {
    /// Reads a name; blanks around it do not count.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(is_unprintable) {
            return Err("must not contain control characters");
        }
        let name = text.trim();
        match name.chars().count() {
            0 => Err("must not be empty"),
            1..=100 => Ok(Self(name.to_owned())),
            _ => Err("must be at most 100 characters long"),
        }
    }

    /// A name that was stored by us.
    pub(super) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Controls, line separators, and the marks that turn the direction of the text around.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_of_text() {
        for (text, name) in [
            ("Ann", "Ann"),
            (" Änne  山 ", "Änne  山"),
            ("O'Neil <x>", "O'Neil <x>"),
            (&"x".repeat(100), &"x".repeat(100)),
        ] {
            assert_eq!(PersonName::parse(text).unwrap().as_str(), name);
        }
        for text in [
            "",
            "   ",
            "a\nb",
            "a\r\nBcc: x",
            "\u{0}",
            "a\u{1b}[31m",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{85}b",
            &"x".repeat(101),
        ] {
            assert!(PersonName::parse(text).is_err(), "{text:?}");
        }
    }
}
