//! The claims of an access token (RFC 9068), and those that the application adds.

use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use session_manager_core::{
    Binding, ClaimedEpoch, Epoch, Error, ErrorKind, IssueContext, Random, Result, Session, Snapshot,
};

use crate::validation::Expected;

/// The names of claims that only the backend sets.
pub const RESERVED_CLAIMS: [&str; 17] = [
    "iss",
    "aud",
    "sub",
    "sid",
    "jti",
    "iat",
    "nbf",
    "exp",
    "auth_time",
    "client_id",
    "gen",
    "uep",
    "gep",
    "acr",
    "amr",
    "act",
    "cnf",
];

/// Adds the application's own claims to each access token: roles, scopes, a plan.
///
/// # Behaviour
/// It is asked at every issue, hence at every refresh: a changed role reaches the client within the access token's lifetime.
///
/// # Security
/// Whoever holds the token can read its claims. Keep them few: a token that goes into a cookie has less than 4096 bytes.
#[async_trait]
pub trait ClaimSource: Send + Sync + fmt::Debug {
    /// The claims for a session.
    ///
    /// # Errors
    /// An error fails the issue. So does a name of [`RESERVED_CLAIMS`], as [`ErrorKind::Misconfigured`].
    async fn claims(&self, session: &Session) -> Result<Map<String, Value>>;
}

/// What is the same in all tokens of a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issuance<'a> {
    pub(crate) expected: &'a Expected,
    pub(crate) client_id: &'a str,
}

impl Issuance<'_> {
    /// Adds our claims to the application's.
    pub(crate) fn claims(
        self,
        mut claims: Map<String, Value>,
        snapshot: &Snapshot,
        context: &IssueContext,
        random: &dyn Random,
    ) -> Result<Map<String, Value>> {
        if let Some(name) = RESERVED_CLAIMS.into_iter().find(|name| claims.contains_key(*name)) {
            return Err(
                Error::new(ErrorKind::Misconfigured, "issue token").because(format!("the claim {name} is reserved"))
            );
        }
        let session = &snapshot.session;
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("iss", self.expected.issuer.as_str().into());
        set("aud", self.expected.audience.as_str().into());
        set("client_id", session.application.as_deref().unwrap_or(self.client_id).into());
        set("sub", session.user_id.as_str().into());
        set("sid", session.id.to_string().into());
        set("jti", token_id(random)?.into());
        // NumericDate (RFC 7519 §2) in whole seconds, cut off: a token never outlives what the manager allowed.
        set("iat", context.now.timestamp().into());
        set("nbf", context.now.timestamp().into());
        set("exp", context.access_expires_at.timestamp().into());
        set("auth_time", session.authentication.at.timestamp().into());
        set("gen", snapshot.control.generation.into());
        if let Some(stamp) = snapshot.control.stamped {
            set("uep", epoch(stamp.user));
            set("gep", epoch(stamp.global));
        }
        if let Some(level) = &session.authentication.level {
            set("acr", level.as_str().into());
        }
        if !session.authentication.methods.is_empty() {
            set("amr", session.authentication.methods.as_slice().into());
        }
        if let Some(actor) = &session.actor {
            set("act", json!({ "sub": actor.to_string() }));
        }
        match &session.binding {
            None => {}
            Some(Binding::Dpop(thumbprint)) => {
                set("cnf", json!({ "jkt": thumbprint }));
            }
            Some(Binding::Certificate(thumbprint)) => {
                set("cnf", json!({ "x5t#S256": thumbprint }));
            }
            // A binding that cannot be told must not become a token that is bound to nothing.
            Some(_) => {
                return Err(Error::new(ErrorKind::Unsupported, "issue token").because("this binding has no claim"));
            }
        }
        Ok(claims)
    }
}

/// The compact form of an epoch: `[version, low 32 bits of the incarnation]`.
fn epoch(epoch: Epoch) -> Value {
    let claimed = ClaimedEpoch::from(epoch);
    json!([claimed.version, claimed.incarnation])
}

fn token_id(random: &dyn Random) -> Result<String> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
