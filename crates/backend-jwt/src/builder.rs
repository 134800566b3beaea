//! Putting a [`JwtBackend`] together.

use std::sync::Arc;

use session_manager_core::token::{ReferenceTokens, RotatingKeys};
use session_manager_core::{Random, Result, SystemRandom};

use crate::backend::JwtBackend;
use crate::claims::ClaimSource;
use crate::keys::{SigningKey, VerifyingKey};
use crate::ring::{JwtKeyProvider, JwtKeyRing, RingKey};
use crate::typed::{Typed, TypedClaimSource};
use crate::verifier::JwtVerifier;

/// Builds a [`JwtBackend`]; made by [`JwtBackend::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct JwtBackendBuilder {
    keys: Keys,
    refresh: ReferenceTokens,
    issuer: String,
    audience: String,
    client_id: Option<String>,
    memo: Option<usize>,
    claims: Option<Arc<dyn ClaimSource>>,
    random: Option<Arc<dyn Random>>,
}

#[derive(Clone, Debug)]
enum Keys {
    /// The first one signs.
    Fixed(Vec<RingKey>),
    Provided(Arc<dyn JwtKeyProvider>),
}

impl JwtBackendBuilder {
    pub(crate) fn fixed(key: SigningKey, refresh: ReferenceTokens) -> Self {
        Self::new(Keys::Fixed(vec![key.into()]), refresh)
    }

    pub(crate) const fn provided(keys: Arc<dyn JwtKeyProvider>, refresh: ReferenceTokens) -> Self {
        Self::new(Keys::Provided(keys), refresh)
    }

    const fn new(keys: Keys, refresh: ReferenceTokens) -> Self {
        Self {
            keys,
            refresh,
            issuer: String::new(),
            audience: String::new(),
            client_id: None,
            memo: None,
            claims: None,
            random: None,
        }
    }

    /// Who issues the tokens (`iss`): usually the service's public URL. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// For whom the tokens are (`aud`): the service that verifies them. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The `client_id` of sessions that name no application; the audience, unless set.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Accepts the tokens of a further key: the previous one after a change, or the next one before it. For keys that change while the
    /// application runs, see [`JwtBackend::with_keys`]: such a backend takes its keys from there alone.
    pub fn accepting(mut self, key: VerifyingKey) -> Self {
        if let Keys::Fixed(keys) = &mut self.keys {
            keys.push(key.into());
        }
        self
    }

    /// How many proven tokens are remembered, so that a signature is checked once: 10,000 unless set, 0 for none. Each takes about 2 KB.
    pub const fn memo(mut self, tokens: usize) -> Self {
        self.memo = Some(tokens);
        self
    }

    /// Adds the application's claims.
    pub fn claims(mut self, source: impl ClaimSource + 'static) -> Self {
        self.claims = Some(Arc::new(source));
        self
    }

    /// Adds the application's claims from a type of its own.
    pub fn typed_claims(self, source: impl TypedClaimSource + 'static) -> Self {
        self.claims(Typed(source))
    }

    /// Takes the randomness of `jti` from elsewhere than the operating system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// Builds the backend.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) without an issuer or audience, or for two keys of one name;
    /// [`ErrorKind::Internal`](session_manager_core::ErrorKind::Internal) when there is no randomness.
    pub fn build(self) -> Result<JwtBackend> {
        let keys: Arc<dyn JwtKeyProvider> = match self.keys {
            Keys::Provided(keys) => keys,
            Keys::Fixed(keys) => {
                Arc::new(RotatingKeys::new(keys.into_iter().try_fold(JwtKeyRing::new(), |ring, key| ring.with(key))?))
            }
        };
        let client_id = self.client_id.unwrap_or_else(|| self.audience.clone());
        let mut verifier = JwtVerifier::builder(keys).issuer(self.issuer).audience(self.audience);
        if let Some(tokens) = self.memo {
            verifier = verifier.memo(tokens);
        }
        let random = match self.random {
            Some(random) => random,
            None => Arc::new(SystemRandom::new()?),
        };
        Ok(JwtBackend { verifier: verifier.build()?, client_id, refresh: self.refresh, claims: self.claims, random })
    }
}
