//! Sender-constrained tokens: who shows a bound token must show its key too.

use chrono::{DateTime, Utc};

use super::request::RequestContext;
use super::scope::Scope;
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::possession::PresentedProof;
use crate::session::Binding;

const POSSESSION: &str = "possession";

impl Scope<'_> {
    /// The key that a request shows, to bind a new session to it.
    pub(super) async fn possession(&self, context: &RequestContext) -> Result<Option<Binding>> {
        match (&context.proof, &context.certificate) {
            (Some(proof), _) => self.prove_possession(proof, None, self.now()).await.map(Some),
            (None, Some(thumbprint)) => Ok(Some(Binding::Certificate(thumbprint.clone()))),
            (None, None) => Ok(None),
        }
    }

    /// Refuses a bound token without its key. A token that is bound to nothing needs none.
    ///
    /// # Behaviour
    /// The token has been proven before: only then is anything remembered on its behalf.
    pub(super) async fn require_possession(
        &self,
        binding: Option<&Binding>,
        access_token: Option<&str>,
        context: &RequestContext,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let shown = match (binding, &context.proof) {
            (None, _) => return Ok(()),
            (Some(Binding::Certificate(bound)), _) => context.certificate.as_ref().is_some_and(|shown| shown == bound),
            (Some(Binding::Dpop(_)), None) => return Err(Rejection::ProofMissing.into()),
            (Some(bound), Some(proof)) => self.prove_possession(proof, access_token, now).await? == *bound,
        };
        if shown { Ok(()) } else { Err(Rejection::WrongPossessor.into()) }
    }

    /// Refuses to bind a session to what nobody could check.
    pub(super) fn accept_binding(&self, binding: Option<&Binding>) -> Result<()> {
        match binding {
            None | Some(Binding::Certificate(_)) => Ok(()),
            Some(Binding::Dpop(_)) if self.inner.possession.is_some() => Ok(()),
            // A binding that nobody enforces would be believed to protect.
            Some(_) => {
                let message = "the manager was given nothing that proves possession of a key";
                Err(Error::new(ErrorKind::Unsupported, POSSESSION).because(message))
            }
        }
    }

    async fn prove_possession(
        &self,
        proof: &PresentedProof,
        access_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Binding> {
        let Some(verifier) = &self.inner.possession else {
            let message = "the manager was given nothing that proves possession of a key";
            return Err(Error::new(ErrorKind::Misconfigured, POSSESSION).because(message));
        };
        let possession = verifier.verify(proof, access_token, now)?;
        if self.storage.remember_once(&possession.once, now, possession.until).await? {
            Ok(possession.binding)
        } else {
            Err(Rejection::ProofReplayed.into())
        }
    }
}
