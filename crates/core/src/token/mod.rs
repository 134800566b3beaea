//! Reference tokens: self-describing, proven by a MAC over the session's seed, stored nowhere.

mod codec;
mod key;
mod rotating;

use std::fmt;

use zeroize::Zeroize;

pub use codec::{ReferenceToken, ReferenceTokens};
pub use key::{KeyId, KeyProvider, KeyRing, TokenKey};
pub use rotating::RotatingKeys;

/// The two kinds of tokens. One can never be used as the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TokenKind {
    /// Short-lived, sent with every request.
    Access,
    /// Long-lived, exchanged for a new pair.
    Refresh,
}

/// A token on its way to the client.
///
/// # Security
/// `Debug` is redacted, there is no `Display`, and the memory is overwritten on drop. Call [`Token::expose`] only to hand it to the
/// client.
#[derive(Clone, PartialEq, Eq, Zeroize)]
#[zeroize(drop)]
pub struct Token(String);

impl Token {
    /// Takes a token's text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}
