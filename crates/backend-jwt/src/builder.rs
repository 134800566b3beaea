//! Putting a [`JwtBackend`] together.

use std::sync::Arc;

use session_manager_core::token::ReferenceTokens;
use session_manager_core::{Error, ErrorKind, Random, Result, SystemRandom};

use crate::backend::JwtBackend;
use crate::claims::{ClaimSource, Issuance};
use crate::keys::{SigningKey, VerifyingKey, VerifyingKeys};

/// Builds a [`JwtBackend`]; made by [`JwtBackend::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct JwtBackendBuilder {
    key: SigningKey,
    refresh: ReferenceTokens,
    issuer: String,
    audience: String,
    client_id: Option<String>,
    accepted: Vec<VerifyingKey>,
    claims: Option<Arc<dyn ClaimSource>>,
    random: Option<Arc<dyn Random>>,
}

impl JwtBackendBuilder {
    pub(crate) const fn new(key: SigningKey, refresh: ReferenceTokens) -> Self {
        Self {
            key,
            refresh,
            issuer: String::new(),
            audience: String::new(),
            client_id: None,
            accepted: Vec::new(),
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

    /// Accepts the tokens of a further key: the previous one after a change, or the next one before it.
    pub fn accepting(mut self, key: VerifyingKey) -> Self {
        self.accepted.push(key);
        self
    }

    /// Adds the application's claims.
    pub fn claims(mut self, source: impl ClaimSource + 'static) -> Self {
        self.claims = Some(Arc::new(source));
        self
    }

    /// Takes the randomness of `jti` from elsewhere than the operating system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// Builds the backend.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] without an issuer or audience; [`ErrorKind::Internal`] when there is no randomness.
    pub fn build(self) -> Result<JwtBackend> {
        for (name, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if value.trim().is_empty() {
                let message = format!("a JWT backend needs an {name}");
                return Err(Error::new(ErrorKind::Misconfigured, "jwt backend").because(message));
            }
        }
        let mut keys = vec![self.key.verifying_key().clone()];
        keys.extend(self.accepted);
        let client_id = self.client_id.unwrap_or_else(|| self.audience.clone());
        let issuance = Issuance { issuer: self.issuer, audience: self.audience, client_id };
        let random = match self.random {
            Some(random) => random,
            None => Arc::new(SystemRandom::new()?),
        };
        Ok(JwtBackend {
            issuance,
            key: self.key,
            keys: VerifyingKeys::new(keys),
            refresh: self.refresh,
            claims: self.claims,
            random,
        })
    }
}
