//! Who may call the endpoints of administrators. The handlers behind find the [`Administrator`] in the request.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use session_manager_middleware_axum::CurrentSession;

use super::path::named;
use crate::app::App;
use crate::flows::{self, Administrator};
use crate::problem::Rejection;

/// Lets administrators pass.
pub(super) async fn admin(
    State(app): State<App>,
    session: CurrentSession,
    mut request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let admin = Administrator::of(&app, &session).await?;
    request.extensions_mut().insert(admin);
    Ok(next.run(request).await)
}

/// Lets administrators pass who proved not long ago who they are. Others hear nothing of step-up: it would not help them.
pub(super) async fn fresh_admin(
    State(app): State<App>,
    session: CurrentSession,
    mut request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let admin = Administrator::of(&app, &session).await?;
    request.extensions_mut().insert(admin.fresh().await?);
    Ok(next.run(request).await)
}

/// Lets the user pass whom the path names, and administrators.
pub(super) async fn self_or_admin(
    State(app): State<App>,
    session: CurrentSession,
    user: Result<Path<String>, PathRejection>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    if !flows::is_own(&session, &named(user)) {
        Administrator::of(&app, &session).await?;
    }
    Ok(next.run(request).await)
}
