//! `audit`: search, check, export and shorten the trail in the database.

use futures_util::StreamExt as _;
use session_manager::audit_db::{AuditQuery, MAX_PAGE, Verification};
use session_manager_core::{AuditKind, SessionId, SystemClock, clock::Clock as _};

use super::table::{Rows, time};
use super::{account, failed, misspelt, say, user_id};
use crate::app::App;
use crate::cli::{AuditCommand, EventFilter, Output};
use crate::exit::StartError;
use crate::sessions::Trail;

/// How many rows a step of the clean-up removes.
const BATCH: u32 = 1000;

pub(super) async fn run(app: &App, command: AuditCommand) -> Result<(), StartError> {
    let Some(audit) = app.sessions().audit() else {
        return Err(StartError::config(
            "there is no audit trail in the database",
            "`audit.sinks` has no db",
            "Run it with the configuration of the service, for example --set audit.sinks=log,db.",
        ));
    };
    match command {
        AuditCommand::Search { filter, limit, output } => search(app, audit, &filter, limit, output).await,
        AuditCommand::Export { filter } => {
            let query = query(app, &filter).await?.oldest_first();
            let mut lines = audit.export(query);
            while let Some(line) = lines.next().await {
                say(&line.map_err(|error| failed("the audit trail cannot be read", error))?)?;
            }
            Ok(())
        }
        AuditCommand::Verify { head } => verify(audit, head.as_deref()).await,
        AuditCommand::Purge { older_than } => {
            let before =
                chrono::TimeDelta::from_std(older_than).ok().and_then(|age| SystemClock.now().checked_sub_signed(age));
            let before = before.ok_or_else(|| misspelt("the age", "it is longer than time"))?;
            let mut removed = 0;
            loop {
                let step =
                    audit.purge(before, BATCH).await.map_err(|error| failed("the events cannot be removed", error))?;
                removed += step.removed;
                if step.complete {
                    return say(&format!("removed: {removed}\n"));
                }
            }
        }
    }
}

async fn query(app: &App, filter: &EventFilter) -> Result<AuditQuery, StartError> {
    let mut query = AuditQuery::new();
    if let Some(text) = &filter.user {
        query = query.user(user_id(&account(app, text).await?)?);
    }
    if let Some(id) = &filter.session {
        query = query.session(id.parse::<SessionId>().map_err(|error| misspelt("the session's id", error))?);
    }
    for kind in &filter.kind {
        let parsed = serde_json::from_value::<AuditKind>(kind.as_str().into());
        query = query.kind(parsed.map_err(|_| misspelt("the kind", "it is a name such as created or revoked"))?);
    }
    if let Some(since) = filter.since {
        query = query.from(since);
    }
    if let Some(until) = filter.until {
        query = query.until(until);
    }
    Ok(query)
}

async fn search(app: &App, audit: &Trail, filter: &EventFilter, limit: u32, output: Output) -> Result<(), StartError> {
    let mut query = query(app, filter).await?;
    let mut rows = Rows::new(&["TIME", "KIND", "USER", "SESSION", "ACTOR", "ADDRESS", "REASON"]);
    let mut left = limit;
    while left > 0 {
        let page = audit.query(&query.clone().limit(left.min(MAX_PAGE))).await;
        let page = page.map_err(|error| failed("the audit trail cannot be read", error))?;
        left = left.saturating_sub(u32::try_from(page.events.len()).unwrap_or(u32::MAX));
        for event in &page.events {
            if output.json {
                let line = serde_json::to_string(event).map_err(|error| failed("an event cannot be written", error))?;
                say(&format!("{line}\n"))?;
                continue;
            }
            rows.add(&[
                time(event.at),
                event.kind.as_str().to_owned(),
                event.user_id.as_ref().map(|user| user.as_str().to_owned()).unwrap_or_default(),
                event.session_id.map(|id| id.to_string()).unwrap_or_default(),
                event.actor.to_string(),
                event.client.ip_address.map(|address| address.to_string()).unwrap_or_default(),
                event.reason.clone().unwrap_or_default(),
            ]);
        }
        let Some(next) = page.next else { break };
        query = query.after(next);
    }
    if output.json { Ok(()) } else { say(&rows.into_text()) }
}

async fn verify(audit: &Trail, head: Option<&str>) -> Result<(), StartError> {
    let head = head.map(str::parse).transpose().map_err(|error| misspelt("the head", error))?;
    let found = audit.verify(head.as_ref()).await.map_err(|error| failed("the audit trail cannot be read", error))?;
    match found {
        Verification::Holds(verified) => say(&format!(
            "the chain holds: {} rows\nhead: {}\nKeep the head outside the database, and give it to the next check: --head {}\n",
            verified.rows, verified.head, verified.head
        )),
        found => Err(StartError::environment(
            "the audit trail was changed",
            found.broken().map(ToString::to_string).unwrap_or_default(),
            "Compare with a backup, and find out who could write to the database.",
        )),
    }
}
