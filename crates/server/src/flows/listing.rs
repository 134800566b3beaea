//! The list of a user's sessions, as users see them: no token, no hash, nothing of another user.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use session_manager_core::storage::{Cursor, SessionFilter};
use session_manager_core::{Device, RevocationReason, Session, SessionId, SessionView, State, UserId};
use session_manager_middleware_axum::CurrentSession;
use utoipa::ToSchema;

use super::profile::current_user;
use crate::app::App;
use crate::problem::Rejection;

/// The most that one page holds, and what it holds without being asked.
pub(crate) const MAX_PAGE: u32 = 200;
pub(crate) const USUAL_PAGE: u32 = 50;

/// Which sessions, and which page of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListQuery {
    pub(crate) filter: SessionFilter,
    pub(crate) cursor: Option<Cursor>,
    /// At most [`MAX_PAGE`].
    pub(crate) limit: Option<u32>,
}

/// A page of sessions, newest first.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) sessions: Vec<SessionEntry>,
    /// Of all pages.
    pub(crate) total: u64,
    pub(crate) next: Option<Cursor>,
}

/// A session in the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionEntry {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: SessionId,
    /// In words: what the user calls the device, or what it was recognised as, or its user agent.
    pub(crate) device_info: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub(crate) device: Option<Device>,
    /// `Berlin, DE`, as far as known.
    pub(crate) location: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) ip_address: Option<IpAddr>,
    #[schema(value_type = String, format = "date-time")]
    pub(crate) created_at: DateTime<Utc>,
    #[schema(value_type = String, format = "date-time")]
    pub(crate) last_activity: DateTime<Utc>,
    #[schema(value_type = String, format = "date-time")]
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) is_current: bool,
    pub(crate) is_trusted: bool,
    /// Somebody ended it; one that ran out is not live either, and is not revoked.
    pub(crate) is_revoked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(crate) revoked_reason: Option<RevocationReason>,
    /// All that is known of it, for the pages.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) session: Arc<Session>,
}

/// Lists the sessions of the request's user.
///
/// # Errors
/// 400 for a cursor that belongs to another list; 401 when the account is gone or disabled.
pub(crate) async fn list_sessions(app: &App, session: &CurrentSession, query: ListQuery) -> Result<Listing, Rejection> {
    current_user(app, session).await?;
    list_of(app, session.user_id(), session.session_id(), query).await
}

/// Lists a user's sessions; `current` is that of the request, whoever's it is.
pub(super) async fn list_of(
    app: &App,
    user: &UserId,
    current: SessionId,
    query: ListQuery,
) -> Result<Listing, Rejection> {
    let manager = app.sessions().manager();
    let limit = query.limit.unwrap_or(USUAL_PAGE).clamp(1, MAX_PAGE);
    let page = manager.list(user, query.filter.clone(), query.cursor, limit).await?;
    let total = manager.count(Some(user), query.filter).await?.value;
    let now = app.now();
    let sessions = page.sessions.iter().map(|view| SessionEntry::of(view, current, now)).collect();
    Ok(Listing { sessions, total, next: page.next })
}

impl SessionEntry {
    fn of(view: &SessionView, current: SessionId, now: DateTime<Utc>) -> Self {
        let session = &view.snapshot.session;
        let is_revoked = matches!(view.state, State::Revoked | State::RotatedOut | State::EpochLost);
        let stated = view.snapshot.revocation().map(|revocation| revocation.reason.clone());
        Self {
            id: session.id,
            device_info: describe(session),
            device: session.device.clone(),
            location: session.location.as_ref().map(ToString::to_string).filter(|place| !place.is_empty()),
            ip_address: session.ip_address,
            created_at: session.created_at,
            last_activity: view.snapshot.control.last_activity,
            expires_at: session.expires_at,
            is_current: session.id == current,
            is_trusted: session.is_trusted_at(now),
            is_revoked,
            revoked_reason: is_revoked.then(|| stated.unwrap_or(RevocationReason::ROTATED)),
            session: Arc::clone(session),
        }
    }
}

/// The device in words.
pub(super) fn describe(session: &Session) -> Option<String> {
    session.device_name.clone().or_else(|| session.device_info.clone()).or_else(|| session.user_agent.clone())
}

/// Where the session began: place and address, as far as known.
pub(super) fn place(session: &Session) -> String {
    let place = session.location.as_ref().map(ToString::to_string).filter(|place| !place.is_empty());
    let address = session.ip_address.map(|address| address.to_string());
    match (place, address) {
        (Some(place), Some(address)) => format!("{place} ({address})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "unknown".to_owned(),
    }
}

/// A time in a letter.
pub(super) fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
