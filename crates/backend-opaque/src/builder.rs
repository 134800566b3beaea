//! Putting an [`OpaqueBackend`] together.

use std::time::Duration;

use session_manager_core::token::ReferenceTokens;
use session_manager_core::{Error, ErrorKind, Result, SessionPolicy};

use crate::backend::OpaqueBackend;

/// Builds an [`OpaqueBackend`]; made by [`OpaqueBackend::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct OpaqueBackendBuilder {
    tokens: ReferenceTokens,
    access_token_lifetime: Duration,
}

impl OpaqueBackendBuilder {
    pub(crate) fn new(tokens: ReferenceTokens) -> Self {
        Self { tokens, access_token_lifetime: SessionPolicy::default().access_token_lifetime }
    }

    /// How long an access token lives: what the policy's `access_token_lifetime` says, on every node. The policy's default, unless set.
    pub const fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = lifetime;
        self
    }

    /// Builds the backend.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a lifetime that no policy may have: below 2 seconds, or above 3650 days.
    pub fn build(self) -> Result<OpaqueBackend> {
        let possible = Duration::from_secs(2)..=Duration::from_hours(3650 * 24);
        if !possible.contains(&self.access_token_lifetime) {
            return Err(Error::new(ErrorKind::Misconfigured, "opaque backend")
                .because("access_token_lifetime must be 2s to the policy's absolute lifetime"));
        }
        Ok(OpaqueBackend { tokens: self.tokens, access_token_lifetime: self.access_token_lifetime })
    }
}
