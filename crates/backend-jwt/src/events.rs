//! Security events: other systems are told that a session was ended, in tokens that they can prove (RFC 8417, CAEP 1.0).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use session_manager_core::{Actor, AuditEvent, AuditKind, Error, ErrorKind, Result, Session, SessionObserver};

use crate::keys::{KeyAlgorithm, SigningKey};

/// The event type of CAEP 1.0 §3.1.
pub const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// Takes security events to whoever shall know: by push (RFC 8935), into a queue, into a poll endpoint (RFC 8936). The application's own.
#[async_trait]
pub trait SecurityEventReceiver: Send + Sync + fmt::Debug {
    /// Takes one. Its work must be quick, for the operation waits for it; failures are its own to report and to repeat.
    async fn deliver(&self, token: SecurityEventToken);
}

/// A signed security event token. `Debug` shows its id only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecurityEventToken {
    /// Its id (`jti`): what is told twice has the same, so that a receiver can tell.
    pub id: String,
    /// The token in compact form, to be sent as `application/secevent+jwt`.
    pub text: String,
}

impl fmt::Debug for SecurityEventToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityEventToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Tells of every session that somebody or the policy has ended, and of every user whose sessions were all ended by one number.
///
/// # Behaviour
/// - Told are `revoked`, `evicted`, and `rotated` of a user; not what ends by time, which a receiver knows from the token's own `exp`, and
///   not the rotation of everybody's epoch.
/// - The subject (`sub_id`, RFC 9493) is complex: the session by its opaque id, the user by issuer and subject. Of a user whose sessions all
///   end it is the user alone.
/// - There is no `exp` and no `sub` (RFC 8417 §2.2, §4.1), and the type is `secevent+jwt`: it is no access token to anybody.
///
/// ```
/// # use std::sync::Arc;
/// # use session_manager_backend_jwt::{SecurityEventReceiver, SecurityEvents, SigningKey};
/// # fn example(
/// #     builder: session_manager_core::SessionManagerBuilder, key: SigningKey, receiver: Arc<dyn SecurityEventReceiver>,
/// # ) -> session_manager_core::Result<session_manager_core::SessionManagerBuilder> {
/// let events = SecurityEvents::new(key, "https://login.example", "https://receiver.example", receiver)?;
/// # Ok(
/// builder.observer(Arc::new(events))
/// # )
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SecurityEvents {
    key: SigningKey,
    header: String,
    issuer: String,
    audience: String,
    receiver: Arc<dyn SecurityEventReceiver>,
}

impl SecurityEvents {
    /// Signs with `key`, as `issuer`, for `audience`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for an HS256 key, by which receivers could forge events, and for an empty issuer or audience.
    pub fn new(
        key: SigningKey,
        issuer: impl Into<String>,
        audience: impl Into<String>,
        receiver: Arc<dyn SecurityEventReceiver>,
    ) -> Result<Self> {
        let (issuer, audience) = (issuer.into(), audience.into());
        let refuse = |message: &str| Err(Error::new(ErrorKind::Misconfigured, "security events").because(message));
        if key.verifying_key().algorithm() == KeyAlgorithm::Hs256 {
            return refuse("security events are signed with a key that receivers do not have");
        }
        if issuer.is_empty() || audience.is_empty() {
            return refuse("security events need an issuer and an audience");
        }
        let verifying = key.verifying_key();
        let header = json!({ "alg": verifying.algorithm().as_str(), "kid": verifying.kid(), "typ": "secevent+jwt" });
        Ok(Self { header: URL_SAFE_NO_PAD.encode(header.to_string()), key, issuer, audience, receiver })
    }

    /// The token of an event; `None` for one that is not told.
    fn token(&self, event: &AuditEvent) -> Option<SecurityEventToken> {
        let subject = self.subject(event)?;
        let mut members = Map::new();
        members.insert("event_timestamp".to_owned(), event.at.timestamp().into());
        members.insert("initiating_entity".to_owned(), initiator(event).into());
        if let Some(reason) = &event.reason {
            members.insert("reason_admin".to_owned(), json!({ "en": reason }));
        }
        let id = event.id.to_string();
        let claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "jti": id,
            "iat": event.at.timestamp(),
            "sub_id": subject,
            "events": { SESSION_REVOKED: members },
        });
        let mut text = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        // A key that was read can sign; should it not, there is no event to tell.
        let signature = self.key.sign(text.as_bytes()).ok()?;
        text.push('.');
        text.push_str(&signature);
        Some(SecurityEventToken { id, text })
    }

    fn subject(&self, event: &AuditEvent) -> Option<Value> {
        let user = event.user_id.as_ref()?;
        let user = json!({ "format": "iss_sub", "iss": self.issuer, "sub": user.as_str() });
        match (event.kind, event.session_id) {
            (AuditKind::Revoked | AuditKind::Evicted, Some(session)) => Some(json!({
                "format": "complex",
                "session": { "format": "opaque", "id": session.to_string() },
                "user": user,
            })),
            (AuditKind::Rotated, _) => Some(json!({ "format": "complex", "user": user })),
            _ => None,
        }
    }
}

/// CAEP 1.0 §2: `admin`, `user`, `policy` or `system`.
fn initiator(event: &AuditEvent) -> &'static str {
    match (&event.actor, event.kind) {
        (Actor::User(actor), _) if Some(actor) == event.user_id.as_ref() => "user",
        (Actor::User(_) | Actor::Service(_), _) => "admin",
        (_, AuditKind::Evicted) => "policy",
        _ => "system",
    }
}

#[async_trait]
impl SessionObserver for SecurityEvents {
    async fn observe(&self, event: &AuditEvent, _: Option<&Arc<Session>>) {
        if let Some(token) = self.token(event) {
            self.receiver.deliver(token).await;
        }
    }
}
