//! The audit trail, as administrators read it.

use session_manager::audit_db::{AuditPage, AuditQuery};
use session_manager_core::{AuditEvent, UserId};
use session_manager_http::{Problem, ProblemType};

use super::administration::Administrator;
use crate::accounts::User;
use crate::app::App;
use crate::problem::Rejection;

/// A page of the trail. What still waits to be written is not in it.
///
/// # Errors
/// 404 where no trail is kept in the database.
pub(crate) async fn audit_trail(app: &App, _: &Administrator, query: &AuditQuery) -> Result<AuditPage, Rejection> {
    let Some(audit) = app.sessions().audit() else {
        let detail = "no audit trail is kept in the database: `audit.sinks` has no db";
        return Err(Problem::of(ProblemType::NotFound).with_detail(detail).into());
    };
    Ok(audit.query(query).await?)
}

/// The latest events of an account, newest first; none where no trail is kept in the database.
pub(crate) async fn latest_events(
    app: &App,
    _: &Administrator,
    user: &User,
    limit: u32,
) -> Result<Option<Vec<AuditEvent>>, Rejection> {
    let Some(audit) = app.sessions().audit() else { return Ok(None) };
    let query = AuditQuery::new().user(UserId::from(user.id)).limit(limit);
    Ok(Some(audit.query(&query).await?.events))
}
