//! What is known of a request, as it travels in the request's extensions.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::Value;
use session_manager_core::{
    Authenticated, ErrorKind, RequestContext, Session, SessionId, SessionKey, SessionManager, UserId,
};

use crate::config::Config;
use crate::cookies::SessionCookies;
use crate::rejection::{Refusal, SessionRejection, is_definitive};

/// What the layer found out about a request. It is in the request's extensions, for services that know no extractors:
///
/// ```
/// use http::Request;
/// use session_manager_middleware_axum::RequestSession;
///
/// fn greeting<B>(request: &Request<B>) -> Option<String> {
///     let session = request.extensions().get::<RequestSession>()?.current().ok()?;
///     Some(format!("hello {}", session.user_id()))
/// }
/// # assert_eq!(greeting(&Request::new(())), None);
/// ```
#[derive(Clone)]
pub struct RequestSession {
    config: Arc<Config>,
    context: Arc<RequestContext>,
    outcome: Outcome,
}

/// Who sent a request, or why that is not known.
#[derive(Clone)]
pub(crate) enum Outcome {
    SignedIn(CurrentSession),
    Refused(Refusal, Option<Credential>),
}

/// Where a request's token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Credential {
    /// The `Authorization` header.
    Bearer,
    /// The `Authorization` header, bound to a key of which the request showed the possession.
    Dpop,
    /// The access cookie; the request passed the cross-site check.
    Cookie,
}

/// The session of a request. As an extractor, and as `Option<CurrentSession>`, see [`OptionalSession`](crate::OptionalSession).
///
/// As an extractor it refuses with 401 when the request has none, and with 503 while that cannot be told. It holds no token.
#[derive(Clone)]
pub struct CurrentSession(Arc<SignedIn>);

struct SignedIn {
    manager: SessionManager,
    context: Arc<RequestContext>,
    authenticated: Authenticated,
    /// Read later, where the check did not need it.
    read: OnceLock<Arc<Session>>,
    credential: Credential,
}

impl RequestSession {
    pub(crate) fn new(config: Arc<Config>, context: Arc<RequestContext>, outcome: Outcome) -> Self {
        Self { config, context, outcome }
    }

    /// The session.
    ///
    /// # Errors
    /// Why there is none.
    pub fn current(&self) -> Result<CurrentSession, SessionRejection> {
        match &self.outcome {
            Outcome::SignedIn(current) => Ok(current.clone()),
            Outcome::Refused(refusal, _) => Err(self.reject(refusal.clone())),
        }
    }

    /// The session, or none where the request may be served without one.
    ///
    /// # Behaviour
    /// None without a credential, and for a cookie that is spoilt or whose session is over: the visitor sees what somebody who is not
    /// signed in sees.
    ///
    /// # Errors
    /// An outage or defect, another site's request, and any bearer token that is not accepted: who shows a token means it, and must
    /// learn that it needs another.
    pub fn optional(&self) -> Result<Option<CurrentSession>, SessionRejection> {
        match &self.outcome {
            Outcome::SignedIn(current) => Ok(Some(current.clone())),
            Outcome::Refused(Refusal::NoCredential | Refusal::Cookie(_), _) => Ok(None),
            Outcome::Refused(Refusal::Session(error), Some(Credential::Cookie)) if is_definitive(error.kind()) => {
                Ok(None)
            }
            Outcome::Refused(refusal, _) => Err(self.reject(refusal.clone())),
        }
    }

    /// The client and the request's id, for the manager's operations.
    pub fn context(&self) -> &Arc<RequestContext> {
        &self.context
    }

    /// The manager.
    pub fn manager(&self) -> &SessionManager {
        &self.config.manager
    }

    /// The cookies, where there are any.
    pub fn cookies(&self) -> Option<&SessionCookies> {
        self.config.browser.as_ref().map(|browser| &browser.cookies)
    }

    /// Refuses an unsafe request that another site made a browser send. For handlers that act on cookies without a session: sign-in by
    /// form, refresh by cookie.
    ///
    /// # Errors
    /// 403; or 500 when the layer was given no cookies, and so no policy to judge by.
    pub fn require_first_party(&self, method: &Method, headers: &HeaderMap) -> Result<(), SessionRejection> {
        let browser = self.config.browser.as_ref().ok_or_else(|| self.reject(Refusal::NotConfigured))?;
        browser.refuse_other_sites(method, headers).map_err(|error| self.reject(Refusal::CrossSite(error)))
    }

    fn reject(&self, refusal: Refusal) -> SessionRejection {
        SessionRejection::new(refusal, self.context.request_id.as_deref())
    }
}

impl CurrentSession {
    pub(crate) fn new(
        manager: SessionManager,
        context: Arc<RequestContext>,
        authenticated: Authenticated,
        credential: Credential,
    ) -> Self {
        Self(Arc::new(SignedIn { manager, context, authenticated, read: OnceLock::new(), credential }))
    }

    /// The session: as the check has read it, or else read now, once a request.
    ///
    /// # Errors
    /// Where the check had no need of the storage ([`Verification::Feed`](session_manager_core::Verification) and `Stateless`): 401 when the
    /// session is over, 503 while that cannot be told.
    pub async fn session(&self) -> Result<Arc<Session>, SessionRejection> {
        if let Some(session) = self.0.authenticated.session().or_else(|| self.0.read.get()) {
            return Ok(Arc::clone(session));
        }
        match self.0.manager.load(&self.0.authenticated).await {
            Ok(snapshot) => Ok(Arc::clone(self.0.read.get_or_init(|| snapshot.session))),
            Err(error) => Err(SessionRejection::new(Refusal::Session(error), self.0.context.request_id.as_deref())),
        }
    }

    /// How the session is looked up.
    pub fn key(&self) -> SessionKey {
        self.0.authenticated.key()
    }

    /// Whose it is.
    pub fn user_id(&self) -> &UserId {
        self.0.authenticated.user_id()
    }

    /// Its id.
    pub fn session_id(&self) -> SessionId {
        self.0.authenticated.session_id()
    }

    /// Where the token came from.
    pub fn credential(&self) -> Credential {
        self.0.credential
    }

    /// A claim of the access token, where it carries claims.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.authenticated.claim(name)
    }

    /// The session as far as it was read, and what the token says.
    pub fn authenticated(&self) -> &Authenticated {
        &self.0.authenticated
    }

    /// The client and the request's id, for the manager's operations.
    pub fn context(&self) -> &Arc<RequestContext> {
        &self.0.context
    }

    /// Refuses with the step-up challenge of RFC 9470 unless the user proved who they are at most `max_age` ago.
    ///
    /// # Errors
    /// 403.
    pub async fn require_fresh(&self, max_age: Duration) -> Result<(), SessionRejection> {
        // What a token says of its age may be older than the latest proof, or than a step-up that was asked for since.
        let session = self.session().await?;
        let refusal = match self.0.manager.require_fresh(&session, max_age) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::StepUpRequired => Refusal::StepUp(max_age),
            Err(error) => Refusal::Session(error),
        };
        Err(SessionRejection::new(refusal, self.0.context.request_id.as_deref()))
    }

    /// [`CurrentSession::require_fresh`] with the policy's [`step_up_max_age`](session_manager_core::SessionPolicy::step_up_max_age).
    ///
    /// # Errors
    /// 403.
    pub async fn require_fresh_by_policy(&self) -> Result<(), SessionRejection> {
        self.require_fresh(self.0.manager.policy().step_up_max_age).await
    }

    /// Waits until the session has ended, however: for event streams and sockets that outlive their request.
    ///
    /// The future borrows nothing, so that it can move into a task.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let manager = self.0.manager.clone();
        let key = self.key();
        async move { manager.ended(key).await }
    }
}

impl fmt::Debug for RequestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RequestSession");
        match &self.outcome {
            Outcome::SignedIn(current) => out.field("current", current),
            Outcome::Refused(refusal, _) => out.field("refusal", refusal),
        };
        out.finish_non_exhaustive()
    }
}

impl fmt::Debug for CurrentSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentSession").field("credential", &self.0.credential).finish_non_exhaustive()
    }
}
