//! What every operation stands on: a storage, the manager's parts, and where effects go — at once, or after the app's commit.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::{Inner, RequestContext};
use crate::audit::{AuditBackend, AuditEvent, AuditKind, Delivery};
use crate::clock::to_millis;
use crate::control::Actor;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionKey;
use crate::session::Session;
use crate::storage::{EndedSession, Notice, Phase, SessionStorage, Subject};
use crate::user::UserId;

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

/// An audit event with the session it is about.
pub(super) struct Happening {
    pub(super) event: AuditEvent,
    pub(super) session: Option<Arc<Session>>,
}

impl Scope<'_> {
    pub(super) fn now(&self) -> DateTime<Utc> {
        to_millis(self.inner.clock.now())
    }

    /// Whether anybody listens to events: otherwise none is made.
    pub(super) fn listened(&self) -> bool {
        !self.inner.sinks.is_empty() || !self.inner.observers.is_empty()
    }

    /// An event about a session, done by the request's actor or else by the session's user.
    pub(super) fn about(&self, kind: AuditKind, session: &Arc<Session>, context: &RequestContext) -> Happening {
        let actor = context.actor.clone().unwrap_or_else(|| Actor::User(session.user_id.clone()));
        let mut event = self.event(kind, actor, context);
        event.session_id = Some(session.id);
        event.user_id = Some(session.user_id.clone());
        Happening { event, session: Some(Arc::clone(session)) }
    }

    /// An event about no particular session.
    pub(super) fn event(&self, kind: AuditKind, actor: Actor, context: &RequestContext) -> AuditEvent {
        let mut event = AuditEvent::new(self.event_id(), kind, self.now(), actor);
        event.client = context.client.clone();
        event.client.ip_address =
            event.client.ip_address.and_then(|address| self.inner.policy.ip_recording.apply(address));
        event.request_id.clone_from(&context.request_id);
        event
    }

    /// The events of ended sessions.
    pub(super) fn endings(&self, kind: AuditKind, ended: &[EndedSession], context: &RequestContext) -> Vec<Happening> {
        let one = |ended: &EndedSession| {
            let mut happening = self.about(kind, &ended.session, context);
            if let Some(revocation) = &ended.revocation {
                happening.event.reason = Some(revocation.reason.to_string());
                happening.event.actor = revocation.by.clone();
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
            return self.inner.deliver(&happenings, |_| true).await;
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
    pub(super) async fn announce_intent(&self, subject: Subject) -> Result<()> {
        let notice = Notice::new(subject, Phase::Intent, self.now());
        if let (Some(_), Some(feed)) = (self.transaction, self.storage.feed()) {
            feed.announce(&[notice]).await?;
            self.inner.publish(&[notice]).await;
            return Ok(());
        }
        // Inside a transaction that offers no feed the intent goes out over the manager's own connection: harmless if it is rolled back.
        self.inner.announce(&[notice]).await
    }

    /// Says that it has changed: at once, or after the application's commit. A failure delays other nodes by no more than their bound.
    pub(super) async fn announce_done(&self, subject: Subject) {
        let notice = Notice::new(subject, Phase::Done, self.now());
        match self.transaction {
            Some(transaction) => transaction.pending().notices.push(notice),
            None => self.inner.announce_late(&[notice]).await,
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

impl Transaction<'_> {
    pub(super) fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Tells sinks (those that `wanted` names) and observers.
    pub(super) async fn deliver(&self, happenings: &[Happening], wanted: fn(Delivery) -> bool) -> Result<()> {
        let mut outcome = Ok(());
        if !self.sinks.is_empty() {
            let events: Vec<AuditEvent> = happenings.iter().map(|happening| happening.event.clone()).collect();
            for sink in self.sinks.iter().filter(|sink| wanted(sink.delivery)) {
                match (sink.backend.record(&events).await, sink.delivery) {
                    (Ok(()), _) => {}
                    (Err(error), Delivery::BestEffort) => {
                        tracing::warn!(%error, events = events.len(), "a best-effort audit sink failed");
                    }
                    (Err(error), Delivery::Required) => {
                        let message = "the change was made, but a required audit sink failed";
                        outcome = Err(Error::new(ErrorKind::Unconfirmed, "audit").because(message).with_source(error));
                    }
                }
            }
        }
        for observer in &self.observers {
            for happening in happenings {
                observer.observe(&happening.event, happening.session.as_ref()).await;
            }
        }
        outcome
    }

    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        if let Some(feed) = self.storage.feed() {
            feed.announce(notices).await?;
        }
        self.publish(notices).await;
        Ok(())
    }

    pub(super) async fn announce_late(&self, notices: &[Notice]) {
        if let Err(error) = self.announce(notices).await {
            tracing::warn!(%error, "the end of a change could not be announced");
        }
    }

    async fn publish(&self, notices: &[Notice]) {
        let Some(bus) = &self.bus else { return };
        for notice in notices {
            if let Err(error) = bus.publish(notice).await {
                tracing::warn!(%error, "the invalidation bus failed");
            }
        }
    }
}

/// What a session's or user's end is announced as.
pub(super) fn subject_of(key: SessionKey) -> Subject {
    Subject::Session(key.id)
}

/// What the end of all of a user's sessions is announced as.
pub(super) fn subject_of_user(user: &UserId) -> Subject {
    Subject::User(user.locator())
}
