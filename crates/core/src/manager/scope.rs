//! What every operation stands on: a storage, the manager's parts, and where effects go — at once, or after the app's commit.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::delivery::Happening;
use super::{Inner, RequestContext};
use crate::audit::{AuditBackend, AuditEvent, AuditKind};
use crate::clock::to_millis;
use crate::control::Actor;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::id::SessionKey;
use crate::session::Session;
use crate::storage::{EndedSession, Notice, Phase, SessionStorage, Subject};
use crate::telemetry::Incident;
use crate::user::UserId;

/// How many sessions one change is told to have ended, at most: as many as a user may have.
const TOLD_ONE_BY_ONE: usize = 1000;

/// One operation's view of the manager.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) inner: &'a Inner,
    pub(super) storage: &'a dyn SessionStorage,
    pub(super) transaction: Option<&'a Transaction<'a>>,
}

/// What an operation inside the application's transaction holds back.
pub(super) struct Transaction<'a> {
    pub(super) joined: Vec<&'a dyn AuditBackend>,
    pub(super) pending: Mutex<Pending>,
}

/// Effects that wait for the application's commit.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) notices: Vec<Notice>,
    pub(super) happenings: Vec<Happening>,
}

impl Scope<'_> {
    pub(super) fn now(&self) -> DateTime<Utc> {
        to_millis(self.inner.clock.now())
    }

    /// Whether anybody listens to events: otherwise none is made.
    pub(super) fn listened(&self) -> bool {
        !self.inner.sinks.is_empty() || !self.inner.observers.is_empty()
    }

    /// An event about a session, done by the request's actor, or else by whoever acts in the session: its user, or somebody in their name.
    pub(super) fn about(&self, kind: AuditKind, session: &Arc<Session>, context: &RequestContext) -> Happening {
        let acting = || session.actor.clone().unwrap_or_else(|| Actor::User(session.user_id.clone()));
        let actor = context.actor.clone().unwrap_or_else(acting);
        let mut event = self.event(kind, actor, context);
        event.session_id = Some(session.id);
        event.user_id = Some(session.user_id.clone());
        Happening { event, session: Some(Arc::clone(session)) }
    }

    /// An event about no particular session.
    pub(super) fn event(&self, kind: AuditKind, actor: Actor, context: &RequestContext) -> AuditEvent {
        let mut event = AuditEvent::new(self.event_id(), kind, self.now(), actor);
        event.client = self.as_recorded(&context.client);
        event.request_id.clone_from(&context.request_id);
        event
    }

    /// The events of ended sessions.
    ///
    /// # Behaviour
    /// The id of an event about a session's end follows from the end, so that one that is told twice is recorded once.
    pub(super) fn endings(&self, kind: AuditKind, ended: &[EndedSession], context: &RequestContext) -> Vec<Happening> {
        let one = |ended: &EndedSession| {
            let mut happening = self.about(kind, &ended.session, context);
            let revocation = ended.revocation.as_ref();
            happening.event.reason = revocation.map(|revocation| revocation.reason.to_string());
            match (kind, revocation) {
                (AuditKind::Revoked | AuditKind::Evicted, Some(revocation)) => {
                    happening.event.id = end_id(kind, "", &ended.session, revocation.at);
                    happening.event.at = revocation.at;
                    happening.event.actor = revocation.by.clone();
                }
                (AuditKind::Expired, _) => {
                    happening.event.id = end_id(kind, "", &ended.session, ended.session.created_at);
                }
                _ => {}
            }
            happening
        };
        if self.listened() { ended.iter().map(one).collect() } else { Vec::new() }
    }

    /// Tells sinks and observers. The change itself stands.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`] when a required sink failed.
    pub(super) async fn emit(&self, happenings: Vec<Happening>) -> Result<()> {
        if happenings.is_empty() {
            return Ok(());
        }
        let Some(transaction) = self.transaction else {
            return self.inner.deliver(&happenings, false).await;
        };
        let events: Vec<AuditEvent> = happenings.iter().map(|happening| happening.event.clone()).collect();
        for sink in &transaction.joined {
            sink.record(&events).await?;
        }
        transaction.pending().happenings.extend(happenings);
        Ok(())
    }

    /// Tells of something that fails anyway: the first error is the one that counts.
    pub(super) async fn emit_aside(&self, happenings: Vec<Happening>) {
        if let Err(error) = self.emit(happenings).await {
            tracing::warn!(%error, "an audit event was not recorded");
        }
    }

    /// Says that a subject is about to change. From then on no node trusts its memory of it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the storage's feed cannot be written: nothing may be changed then.
    pub(super) async fn announce_intent(&self, subject: Subject) -> Result<Announced> {
        let at = self.now();
        let notice = Notice::new(subject, Phase::Intent, at);
        if let (Some(_), Some(feed)) = (self.transaction, self.storage.feed()) {
            self.inner.hear(&[notice]);
            feed.announce(&[notice]).await?;
            self.inner.publish(&[notice]).await;
        } else {
            // Inside a transaction that offers no feed it goes out over the manager's own connection: harmless if it is rolled back.
            self.inner.announce(&[notice]).await?;
        }
        Ok(Announced { subject, at })
    }

    /// Says that it has changed: at once, or after the application's commit. A failure delays other nodes by no more than their bound.
    ///
    /// # Behaviour
    /// Sessions that a change of a whole group has ended are told of one by one, before its own end: then nobody need look at the group's
    /// other sessions any longer. Where they are too many for that, its end is not told.
    pub(super) async fn announce_done(&self, announced: Announced, ended: &[EndedSession]) {
        let Announced { subject, at } = announced;
        let mut notices = Vec::new();
        if matches!(subject, Subject::User(_) | Subject::Global) {
            if ended.len() > TOLD_ONE_BY_ONE {
                return;
            }
            notices.extend(ended.iter().map(|ended| Notice::new(Subject::Session(ended.session.id), Phase::Done, at)));
        }
        notices.push(Notice::new(subject, Phase::Done, at));
        match self.transaction {
            Some(transaction) => transaction.pending().notices.append(&mut notices),
            None => self.inner.announce_late(&notices).await,
        }
    }

    fn event_id(&self) -> uuid::Uuid {
        let mut tail = [0; 10];
        // An event's id needs to be unique, not secret: without randomness the time and zeros still say what happened.
        let _ = self.inner.random.fill(&mut tail);
        let millis = u64::try_from(self.now().timestamp_millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }
}

/// A change that has been announced. Dropped, it stays open on every node: what became of it is not known.
#[must_use]
pub(super) struct Announced {
    subject: Subject,
    at: DateTime<Utc>,
}

impl Transaction<'_> {
    pub(super) fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// This node knows at once, before anybody can ask it.
    fn hear(&self, notices: &[Notice]) {
        if let Some(watch) = &self.watch {
            let now = to_millis(self.clock.now());
            for notice in notices {
                watch.hear(notice, now);
            }
        }
    }

    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.hear(notices);
        if let Some(feed) = self.storage.feed() {
            feed.announce(notices).await?;
        }
        self.publish(notices).await;
        Ok(())
    }

    pub(super) async fn announce_late(&self, notices: &[Notice]) {
        if let Err(error) = self.announce(notices).await {
            self.telemetry.incident(Incident::AnnouncementFailed);
            tracing::warn!(%error, "the end of a change could not be announced");
        }
    }

    async fn publish(&self, notices: &[Notice]) {
        let Some(bus) = &self.bus else { return };
        for notice in notices {
            if let Err(error) = bus.publish(notice).await {
                self.telemetry.incident(Incident::AnnouncementFailed);
                tracing::warn!(%error, "the invalidation bus failed");
            }
        }
    }
}

/// The id of the one event that tells of a session's end: its time, and a digest of what it tells.
pub(super) fn end_id(kind: AuditKind, detail: &str, session: &Session, at: DateTime<Utc>) -> uuid::Uuid {
    let digest = Sha256::new()
        .chain_update("sm-event/1")
        .chain_update(session.id.as_bytes())
        .chain_update(kind.as_str())
        .chain_update(detail)
        .finalize();
    let mut tail = [0; 10];
    for (to, from) in tail.iter_mut().zip(digest) {
        *to = from;
    }
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// What a session's or user's end is announced as.
pub(super) fn subject_of(key: SessionKey) -> Subject {
    Subject::Session(key.id)
}

/// What the end of all of a user's sessions is announced as.
pub(super) fn subject_of_user(user: &UserId) -> Subject {
    Subject::User(user.locator())
}
