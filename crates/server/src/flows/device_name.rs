//! What users call a device.

use crate::accounts::is_unprintable;

/// A name of 1 to 100 bytes on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceName(String);

impl DeviceName {
    /// Reads a name; blanks around it do not count.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(is_unprintable) {
            return Err("must not contain control characters");
        }
        let name = text.trim();
        match name.len() {
            0 => Err("must not be empty"),
            1..=100 => Ok(Self(name.to_owned())),
            _ => Err("must be at most 100 bytes long"),
        }
    }

    /// The text.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let (longest, too_long) = ("x".repeat(100), "x".repeat(101));
        for (text, read) in [
            ("  Ann's phone ", Some("Ann's phone")),
            (longest.as_str(), Some(longest.as_str())),
            (too_long.as_str(), None),
            ("", None),
            (" ", None),
            ("a\nb", None),
            ("a\0b", None),
            ("a\u{202e}b", None),
        ] {
            assert_eq!(DeviceName::parse(text).ok().map(DeviceName::into_string).as_deref(), read, "{text:?}");
        }
    }
}
