//! Ending sessions: this one, another, all others, all.

use http::StatusCode;
use session_manager_core::{ErrorKind, RequestContext, RevocationReason, SessionId, SessionKey, UserId};
use session_manager_http::{Problem, ProblemType};
use session_manager_middleware_axum::CurrentSession;

use super::profile::current_user;
use crate::app::App;
use crate::problem::Rejection;

/// Ends the session of the request.
pub(crate) async fn logout(app: &App, session: &CurrentSession) -> Result<(), Rejection> {
    end(app, session.user_id(), session.key(), RevocationReason::LOGOUT, session.context()).await
}

/// Ends a session.
pub(super) async fn end(
    app: &App,
    owner: &UserId,
    key: SessionKey,
    reason: RevocationReason,
    context: &RequestContext,
) -> Result<(), Rejection> {
    match app.sessions().manager().revoke(Some(owner), key, reason, context).await {
        // Somebody else was faster: it has ended, as was asked for.
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyEnded | ErrorKind::NotFound) => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// Ends another session of the same user.
///
/// # Errors
/// 400 for the session of the request; 401 when the account is gone or disabled; 404 for what is unknown, another user's or no id at all;
/// 409 for one that had ended before.
pub(crate) async fn revoke_session(
    app: &App,
    session: &CurrentSession,
    id: &str,
    reason: Option<RevocationReason>,
) -> Result<SessionId, Rejection> {
    current_user(app, session).await?;
    let reason = reason.unwrap_or(RevocationReason::BY_USER);
    end_listed(app, session, session.user_id(), id, reason, session.context()).await
}

/// Ends a session of the owner's that is not the one of the request.
pub(super) async fn end_listed(
    app: &App,
    current: &CurrentSession,
    owner: &UserId,
    id: &str,
    reason: RevocationReason,
    context: &RequestContext,
) -> Result<SessionId, Rejection> {
    let id = SessionId::parse(id).map_err(|_| no_such_session())?;
    if id == current.session_id() {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "current-session", "This is the current session")
            .detail("use logout to end the session of this request"));
    }
    match app.sessions().manager().revoke(Some(owner), id, reason, context).await {
        Ok(_) => Ok(id),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(no_such_session()),
        Err(error) => Err(error.into()),
    }
}

/// Ends all of the user's sessions but that of the request. Returns how many.
///
/// # Errors
/// 401 when the account is gone or disabled.
pub(crate) async fn revoke_others(app: &App, session: &CurrentSession) -> Result<usize, Rejection> {
    current_user(app, session).await?;
    let (user, keep) = (session.user_id(), session.session_id());
    let manager = app.sessions().manager();
    Ok(manager.revoke_others(user, keep, RevocationReason::OTHERS, session.context()).await?.len())
}

/// Ends all of the user's sessions, that of the request too. Returns how many.
///
/// # Errors
/// 401 when the account is gone or disabled.
pub(crate) async fn revoke_all(app: &App, session: &CurrentSession) -> Result<usize, Rejection> {
    current_user(app, session).await?;
    let manager = app.sessions().manager();
    Ok(manager.revoke_all(session.user_id(), RevocationReason::ALL, session.context()).await?.len())
}

fn no_such_session() -> Rejection {
    Problem::of(ProblemType::NotFound).with_detail("there is no such session").into()
}
