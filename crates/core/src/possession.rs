//! The seam of sender-constrained tokens: a request shows that it holds the key its token is bound to.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::error::{Rejection, Result};
use crate::session::Binding;
use crate::storage::OnceKey;

/// Proves that a request holds a key (`DPoP`, RFC 9449). Client certificates (RFC 8705) need none: the TLS layer has proven them.
///
/// # Behaviour
/// No I/O. That a proof is used once, the manager makes sure of, through the storage.
pub trait PossessionVerifier: Send + Sync + fmt::Debug {
    /// Proves one.
    ///
    /// # Behaviour
    /// With an access token the proof must name it (`ath`), so that a proof made for one token is worth nothing with another.
    ///
    /// # Errors
    /// [`Rejection::BadProof`], and [`Rejection::WrongAlgorithm`] for one that is made with an algorithm that is not accepted.
    fn verify(
        &self,
        proof: &PresentedProof,
        access_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Possession, Rejection>;
}

/// A proof as it came with a request, not yet proven. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentedProof {
    /// The text of the `DPoP` header.
    pub text: String,
    /// The request's method.
    pub method: String,
    /// The request's target as the client sees it: scheme, host and path. Behind a proxy it is not what the server sees.
    pub target: String,
}

impl PresentedProof {
    /// A proof that came with this request.
    pub fn new(text: impl Into<String>, method: impl Into<String>, target: impl Into<String>) -> Self {
        Self { text: text.into(), method: method.into(), target: target.into() }
    }
}

impl fmt::Debug for PresentedProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedProof").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A proven possession.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Possession {
    /// The key that was shown.
    pub binding: Binding,
    /// What must not be seen again until [`Possession::until`].
    pub once: OnceKey,
    /// From when on the same proof would be refused by its age.
    pub until: DateTime<Utc>,
}

impl Possession {
    /// A possession of this key by a proof that is good once.
    pub const fn new(binding: Binding, once: OnceKey, until: DateTime<Utc>) -> Self {
        Self { binding, once, until }
    }
}
