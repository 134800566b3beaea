//! A mail address in its normalised form.

use std::fmt;

use lettre::Address;
use serde::{Deserialize, Deserializer, Serialize};

/// A mail address: trimmed, lower case, ASCII, at most 254 characters (RFC 5321).
///
/// Addresses with letters beyond ASCII are refused rather than folded: two that look alike would be two accounts, or worse,
/// one. Such a domain can be written in its `xn--` form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct EmailAddress(String);

impl EmailAddress {
    /// Reads and normalises an address.
    ///
    /// # Errors
    /// One sentence for the person who typed it; does not repeat the text.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const NOT_AN_ADDRESS: &str = "must be an e-mail address, like name@example.org";
        let text = text.trim_matches(' ');
        if text.len() > 254 {
            return Err("must be at most 254 characters long");
        }
        // Quoted local parts and address literals are legal, unused, and a way to smuggle blanks and brackets along.
        if !text.is_ascii() || text.contains(|c: char| c.is_ascii_control() || " \"()<>[],;:\\".contains(c)) {
            return Err(NOT_AN_ADDRESS);
        }
        let normalised = text.to_ascii_lowercase();
        match normalised.parse::<Address>() {
            Ok(_) => Ok(Self(normalised)),
            Err(_) => Err(NOT_AN_ADDRESS),
        }
    }

    /// An address that was stored by us.
    pub(super) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The normalised text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EmailAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        for (text, normalised) in [
            ("a@b.example", "a@b.example"),
            (" Ann.O'Neil+x@Example.ORG ", "ann.o'neil+x@example.org"),
            ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
            ("a@localhost", "a@localhost"),
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), normalised);
        }
        let longest = format!("{}@{}.example", "a".repeat(64), ["b"; 90].join("."));
        assert!(longest.len() <= 254 && EmailAddress::parse(&longest).is_ok(), "{}", longest.len());
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "a",
            "@b.example",
            "a@",
            "a@b@c",
            "a b@c.example",
            "a@b.example\r\nBcc: x@y.example",
            "a\0@b.example",
            "\"a b\"@c.example",
            "a@[127.0.0.1]",
            "A <a@b.example>",
            "a@b.example,c@d.example",
            "ä@b.example",
            "a@b..example",
            "a@-b.example ;",
            "ı@b.example",
            "a@b.example\t",
            "a@b.example\u{7f}",
        ] {
            assert!(EmailAddress::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            EmailAddress::parse(&format!("{}@b.example", "a".repeat(250))),
            Err("must be at most 254 characters long")
        );
    }
}
