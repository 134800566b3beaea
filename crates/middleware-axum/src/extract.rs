//! What handlers ask for: axum extractors over the request's [`RequestSession`].

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use session_manager_core::{RequestContext, SessionManager};

use crate::rejection::{Refusal, SessionRejection};
use crate::state::{CurrentSession, RequestSession};

/// The session of a request that may also be served without one.
///
/// # Behaviour
/// That of [`RequestSession::optional`]: an outage is an error and never "not signed in". `Option<CurrentSession>` does the same.
#[derive(Clone, Debug)]
pub struct OptionalSession(pub Option<CurrentSession>);

/// A session whose user proved who they are not long ago: at most `MAX_AGE_SECONDS`, or the policy's
/// [`step_up_max_age`](session_manager_core::SessionPolicy::step_up_max_age) where that is 0.
///
/// Otherwise the answer is a 403 with the step-up challenge of RFC 9470. Freshness is judged from the time of authentication, never from
/// that of sign-in or of the token.
///
/// ```
/// use session_manager_middleware_axum::FreshSession;
///
/// async fn change_password(session: FreshSession) -> String {
///     format!("hello {}", session.user_id())
/// }
///
/// async fn wire_money(FreshSession(session): FreshSession<60>) -> String {
///     format!("hello {}", session.user_id())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct FreshSession<const MAX_AGE_SECONDS: u64 = 0>(pub CurrentSession);

/// The client of a request, for the manager's operations.
#[derive(Clone, Debug)]
pub struct ClientContext(pub Arc<RequestContext>);

/// The manager.
#[derive(Clone, Debug)]
pub struct SessionManagerHandle(pub SessionManager);

/// Refuses with 403 an unsafe request that another site made a browser send. See [`RequestSession::require_first_party`].
#[derive(Clone, Copy, Debug)]
pub struct FirstParty;

impl<S: Sync> FromRequestParts<S> for RequestSession {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        found_by_layer(parts).cloned()
    }
}

impl<S: Sync> FromRequestParts<S> for CurrentSession {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        found_by_layer(parts)?.current()
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CurrentSession {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, SessionRejection> {
        found_by_layer(parts)?.optional()
    }
}

impl<S: Sync> FromRequestParts<S> for OptionalSession {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        found_by_layer(parts)?.optional().map(Self)
    }
}

impl<S: Sync, const MAX_AGE_SECONDS: u64> FromRequestParts<S> for FreshSession<MAX_AGE_SECONDS> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let current = found_by_layer(parts)?.current()?;
        match MAX_AGE_SECONDS {
            0 => current.require_fresh_by_policy().await?,
            seconds => current.require_fresh(Duration::from_secs(seconds)).await?,
        }
        Ok(Self(current))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientContext {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        Ok(Self(Arc::clone(found_by_layer(parts)?.context())))
    }
}

impl<S: Sync> FromRequestParts<S> for SessionManagerHandle {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        Ok(Self(found_by_layer(parts)?.manager().clone()))
    }
}

impl<S: Sync> FromRequestParts<S> for FirstParty {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        found_by_layer(parts)?.require_first_party(&parts.method, &parts.headers)?;
        Ok(Self)
    }
}

impl<const MAX_AGE_SECONDS: u64> Deref for FreshSession<MAX_AGE_SECONDS> {
    type Target = CurrentSession;

    fn deref(&self) -> &CurrentSession {
        &self.0
    }
}

impl Deref for ClientContext {
    type Target = RequestContext;

    fn deref(&self) -> &RequestContext {
        &self.0
    }
}

impl Deref for SessionManagerHandle {
    type Target = SessionManager;

    fn deref(&self) -> &SessionManager {
        &self.0
    }
}

fn found_by_layer(parts: &Parts) -> Result<&RequestSession, SessionRejection> {
    parts.extensions.get::<RequestSession>().ok_or_else(|| {
        tracing::error!("a route asks for the session and has no SessionLayer");
        SessionRejection::new(Refusal::NotConfigured, None)
    })
}
