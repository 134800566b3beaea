//! Tells owners by mail of sessions that were ended because something looked wrong.

use std::sync::Arc;

use async_trait::async_trait;
use session_manager_core::{AuditEvent, AuditKind, RevocationReason, Session, SessionObserver};
use uuid::Uuid;

use super::listing::{describe, minute, place};
use crate::accounts::{Accounts, Fault};
use crate::background::Background;
use crate::mail::{DeviceSummary, Letter, Mailer};

/// Sends the mails, behind whatever made the manager end the session.
#[derive(Clone, Debug)]
pub(crate) struct SuspicionMails {
    accounts: Accounts,
    mailer: Mailer,
    background: Background,
}

impl SuspicionMails {
    /// Mails by these means.
    pub(crate) fn new(accounts: Accounts, mailer: Mailer, background: Background) -> Self {
        Self { accounts, mailer, background }
    }

    async fn tell(&self, event: &AuditEvent, session: &Session) -> Result<(), Fault> {
        let id: Result<Uuid, _> = session.user_id.as_str().parse();
        let Some(user) = (match id {
            Ok(id) => self.accounts.find(id).await?,
            Err(_) => None,
        }) else {
            return Ok(());
        };
        let device = DeviceSummary {
            device: describe(session).unwrap_or_else(|| "unknown".to_owned()).into(),
            place: place(session).into(),
            time: minute(session.created_at).into(),
        };
        self.mailer.send(&user.recipient(), &Letter::SessionSuspicious { device }, event.at).await?;
        Ok(())
    }
}

/// A suspicion rule ended it, or its refresh token was used by two. Other ends are somebody's own doing, and known to them.
fn is_by_suspicion(event: &AuditEvent) -> bool {
    let reasons = [RevocationReason::SUSPICIOUS, RevocationReason::REFRESH_REPLAY];
    event.kind == AuditKind::Revoked && reasons.iter().any(|reason| event.reason.as_deref() == Some(reason.as_str()))
}

#[async_trait]
impl SessionObserver for SuspicionMails {
    async fn observe(&self, event: &AuditEvent, session: Option<&Arc<Session>>) {
        let Some(session) = session.filter(|_| is_by_suspicion(event)) else { return };
        let (mails, event, session) = (self.clone(), event.clone(), Arc::clone(session));
        let work = async move {
            if let Err(error) = mails.tell(&event, &session).await {
                tracing::warn!(%error, "the owner of a session that looked wrong could not be told of its end");
            }
        };
        self.background.spawn(work).await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use session_manager_core::Actor;

    use super::*;

    #[test]
    fn only_what_looked_wrong_is_told_of() {
        for (kind, reason, told) in [
            (AuditKind::Revoked, Some("suspicious"), true),
            (AuditKind::Revoked, Some("refresh_replay"), true),
            (AuditKind::Suspicious, Some("refresh_replay_after_grace"), false),
            (AuditKind::Suspicious, Some("suspicious"), false),
            (AuditKind::Revoked, Some("logout"), false),
            (AuditKind::Revoked, None, false),
        ] {
            let mut event = AuditEvent::new(Uuid::nil(), kind, DateTime::UNIX_EPOCH, Actor::System);
            event.reason = reason.map(str::to_owned);
            assert_eq!(is_by_suspicion(&event), told, "{kind:?} {reason:?}");
        }
    }
}
