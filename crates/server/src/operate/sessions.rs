//! `sessions`: list them, end them, write them all down.

use serde_json::{Value, json};
use session_manager_core::storage::{Cursor, SessionFilter};
use session_manager_core::{RevocationReason, SessionId, SessionView};

use super::table::{Rows, time};
use super::{account, context, failed, misspelt, refused, say, user_id};
use crate::app::App;
use crate::cli::{Output, SessionsCommand};
use crate::exit::StartError;

/// The most that a storage gives at once.
const PAGE: u32 = 200;

pub(super) async fn run(app: &App, command: SessionsCommand) -> Result<(), StartError> {
    match command {
        SessionsCommand::List { user, include_ended, limit, output } => {
            list(app, user.as_deref(), include_ended, limit, output).await
        }
        SessionsCommand::Revoke { ids, user, reason } => revoke(app, &ids, user.as_deref(), &reason).await,
        SessionsCommand::Export => {
            each(app, None, SessionFilter::including_ended(), u32::MAX, |view| say(&format!("{}\n", described(view))))
                .await
        }
    }
}

async fn list(
    app: &App,
    user: Option<&str>,
    include_ended: bool,
    limit: u32,
    output: Output,
) -> Result<(), StartError> {
    let filter = if include_ended { SessionFilter::including_ended() } else { SessionFilter::new() };
    if output.json {
        return each(app, user, filter, limit, |view| say(&format!("{}\n", described(view)))).await;
    }
    let mut rows = Rows::new(&["SESSION", "USER", "STATE", "DEVICE", "ADDRESS", "SIGNED IN", "LAST SEEN"]);
    each(app, user, filter, limit, |view| {
        let session = &view.snapshot.session;
        rows.add(&[
            session.id.to_string(),
            session.user_id.as_str().to_owned(),
            view.state.as_str().to_owned(),
            session.device_name.clone().or_else(|| session.user_agent.clone()).unwrap_or_default(),
            session.ip_address.map(|address| address.to_string()).unwrap_or_default(),
            time(session.created_at),
            time(view.snapshot.control.last_activity),
        ]);
        Ok(())
    })
    .await?;
    say(&rows.into_text())
}

/// Calls for each session, newest first.
async fn each(
    app: &App,
    user: Option<&str>,
    filter: SessionFilter,
    limit: u32,
    mut see: impl FnMut(&SessionView) -> Result<(), StartError>,
) -> Result<(), StartError> {
    let user = match user {
        Some(text) => Some(user_id(&account(app, text).await?)?),
        None => None,
    };
    let manager = app.sessions().manager();
    let (mut left, mut cursor): (u32, Option<Cursor>) = (limit, None);
    while left > 0 {
        let size = left.min(PAGE);
        let page = match &user {
            Some(user) => manager.list(user, filter.clone(), cursor, size).await,
            None => manager.list_all(filter.clone(), cursor, size).await,
        };
        let page = page.map_err(|error| failed("the sessions cannot be listed", error))?;
        for view in &page.sessions {
            see(view)?;
        }
        left = left.saturating_sub(u32::try_from(page.sessions.len()).unwrap_or(u32::MAX));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// A session without its seed and its tokens' numbers.
fn described(view: &SessionView) -> Value {
    let (snapshot, session) = (&view.snapshot, &view.snapshot.session);
    json!({
        "id": session.id,
        "user_id": session.user_id,
        "state": view.state.as_str(),
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "last_activity": snapshot.control.last_activity,
        "ip_address": session.ip_address,
        "user_agent": session.user_agent,
        "device_name": session.device_name,
        "device": session.device,
        "location": session.location,
        "application": session.application,
        "revoked_at": snapshot.control.revocation.as_ref().map(|revocation| revocation.at),
        "revoked_reason": snapshot.control.revocation.as_ref().map(|revocation| revocation.reason.as_str().to_owned()),
        "revoked_by": snapshot.control.revocation.as_ref().map(|revocation| revocation.by.to_string()),
    })
}

async fn revoke(app: &App, ids: &[String], user: Option<&str>, reason: &str) -> Result<(), StartError> {
    let reason = RevocationReason::parse(reason).map_err(|error| misspelt("the reason", error))?;
    let manager = app.sessions().manager();
    if let Some(text) = user {
        let user = user_id(&account(app, text).await?)?;
        let ended = manager.revoke_all(&user, reason, &context()).await;
        let ended = ended.map_err(|error| refused("the sessions could not be ended", &error))?;
        return say(&format!("ended: {}\n", ended.len()));
    }
    // All are read before the first is ended.
    let ids: Result<Vec<SessionId>, _> = ids.iter().map(|id| id.parse()).collect();
    let ids = ids.map_err(|error| misspelt("a session's id", error))?;
    for id in ids {
        let ended = manager.revoke(None, id, reason.clone(), &context()).await;
        ended.map_err(|error| refused(&format!("session {id} could not be ended"), &error))?;
        say(&format!("ended: {id}\n"))?;
    }
    Ok(())
}
