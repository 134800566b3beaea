//! The keys of access tokens: each pinned to one algorithm and named by a `kid` that follows from the key itself.

mod der;
pub(crate) mod jwk;
mod signing;
mod verifying;

use jsonwebtoken::Algorithm;
use session_manager_core::{Error, ErrorKind, Result};

pub use signing::SigningKey;
pub use verifying::VerifyingKey;

/// The least number of bytes of an HS256 secret (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// The most bytes of a `kid`, our own ones being a third of it.
const MAX_KID_BYTES: usize = 128;

/// What a key is used with, and with nothing else (RFC 8725 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8037): whoever verifies cannot sign.
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 §3.4): whoever verifies cannot sign.
    Es256,
    /// RSA, PKCS#1 v1.5, with SHA-256 (RFC 7518 §3.3), of 2048 to 8192 bits: for keys that are there already.
    Rs256,
    /// HMAC-SHA-256: for one service that both signs and verifies.
    Hs256,
}

impl KeyAlgorithm {
    /// The value of the `alg` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }

    const fn library(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
            Self::Hs256 => Algorithm::HS256,
        }
    }
}

fn refuse_repeated(secret: &[u8]) -> Result<()> {
    if secret.iter().all(|byte| secret.first() == Some(byte)) {
        Err(misconfigured("a key must be random"))
    } else {
        Ok(())
    }
}

pub(crate) fn misconfigured(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "token key").because(message)
}

#[cfg(test)]
mod tests;
