//! The JWT backend of session-manager: a signed access token that proves itself, and core's rotating refresh token.

#![doc = include_str!("../README.md")]

mod backend;
mod builder;
mod claims;
mod compact;
#[cfg(feature = "dpop")]
mod dpop;
mod events;
mod json;
mod keys;
mod memo;
mod ring;
mod typed;
mod validation;
mod verifier;

pub use crate::backend::JwtBackend;
pub use crate::builder::JwtBackendBuilder;
pub use crate::claims::{ClaimSource, RESERVED_CLAIMS};
pub use crate::compact::MAX_TOKEN_BYTES;
#[cfg(feature = "dpop")]
pub use crate::dpop::{DpopVerifier, MAX_PROOF_BYTES};
pub use crate::events::{SESSION_REVOKED, SecurityEventReceiver, SecurityEventToken, SecurityEvents};
pub use crate::keys::{KeyAlgorithm, SigningKey, VerifyingKey};
pub use crate::ring::{JwtKeyProvider, JwtKeyRing, RingKey};
pub use crate::typed::{TypedClaimSource, application_claims};
pub use crate::validation::CLOCK_LEEWAY;
pub use crate::verifier::{JwtVerifier, JwtVerifierBuilder};
