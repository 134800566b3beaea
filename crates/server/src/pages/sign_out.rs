//! Signing out: this device, or all of them.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use session_manager_middleware_axum::OptionalSession;

use super::guard::SignedIn;
use super::notice::Notice;
use crate::app::App;
use crate::flows;
use crate::problem::Rejection;
use crate::sessions::CLEAR_SITE_DATA;

/// Ends the session of this browser. Where there is none, the cookies go all the same.
pub(super) async fn here(
    State(app): State<App>,
    OptionalSession(session): OptionalSession,
) -> Result<Response, Rejection> {
    if let Some(session) = session {
        flows::logout(&app, &session).await?;
    }
    Ok(gone(&app, Notice::SignedOut))
}

/// Ends all sessions of the user, this one too.
pub(super) async fn everywhere(State(app): State<App>, SignedIn(session): SignedIn) -> Result<Response, Rejection> {
    flows::revoke_all(&app, &session).await?;
    Ok(gone(&app, Notice::SignedOutEverywhere))
}

fn gone(app: &App, notice: Notice) -> Response {
    let removed = app.sessions().cookies().session(false).clear();
    (removed, [CLEAR_SITE_DATA], Redirect::to(&notice.on("/sign-in"))).into_response()
}
