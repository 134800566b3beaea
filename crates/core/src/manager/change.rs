//! Change a live session: its name, trust and attributes, or a new proof of who the user is.

use serde_json::Value;

use super::create::{accept_attributes, accept_text};
use super::request::{Refreshed, RequestContext, SessionChange, SessionView};
use super::scope::{Scope, subject_of};
use crate::audit::AuditKind;
use crate::clock::{after, to_millis};
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::id::SessionKey;
use crate::session::{Authentication, Session};
use crate::snapshot::Snapshot;
use crate::storage::{Consistency, SessionPatch, Update, UpdateOutcome};
use crate::user::UserId;

/// How often a change is tried again when others are faster.
const ATTEMPTS: u32 = 16;

impl Scope<'_> {
    pub(super) async fn update(
        &self,
        owner: Option<&UserId>,
        key: SessionKey,
        change: &SessionChange,
        context: &RequestContext,
    ) -> Result<SessionView> {
        let limits = &self.inner.policy.limits;
        accept_text("device name", change.device_name.as_ref().and_then(Option::as_deref), limits.device_name)?;
        let snapshot =
            self.change(owner, key, change.privileges_changed, |session| self.patch(session, change)).await?;
        if self.listened() {
            let mut happening = self.about(AuditKind::Updated, &snapshot.session, context);
            happening.event.reason = change.privileges_changed.then(|| "privileges_changed".to_owned());
            self.emit(vec![happening]).await?;
        }
        Ok(self.view(snapshot))
    }

    pub(super) async fn reauthenticate<'m>(
        &self,
        key: SessionKey,
        methods: impl IntoIterator<Item = &'m str>,
        level: Option<&str>,
        context: &RequestContext,
    ) -> Result<Refreshed> {
        let now = self.now();
        let mut proof = Authentication::at(now).by(methods);
        proof.level = level.map(str::to_owned);
        proof
            .methods
            .iter()
            .map(String::as_str)
            .chain(level)
            .try_for_each(|text| accept_text("method or level", Some(text), 255))?;
        let patch = |session: &Session| {
            if session.actor.is_some() {
                let message = "a session in somebody's name proves nothing of its user";
                return Err(Error::new(ErrorKind::InvalidInput, "reauthenticate").because(message));
            }
            let mut patch = SessionPatch::new();
            patch.authentication = Some(proof.clone());
            patch.raise_floor = true;
            Ok(patch)
        };
        let snapshot = self.change(None, key, true, patch).await?;
        let tokens = self.issue(&snapshot, now).await?;
        if self.listened() {
            self.emit(vec![self.about(AuditKind::Reauthenticated, &snapshot.session, context)]).await?;
        }
        Ok(Refreshed { snapshot, tokens, converged: false })
    }

    /// Reads, patches and writes until no other change comes in between.
    async fn change(
        &self,
        owner: Option<&UserId>,
        key: SessionKey,
        announced: bool,
        patch: impl Fn(&Session) -> Result<SessionPatch> + Send + Sync,
    ) -> Result<Snapshot> {
        let not_found = || Error::new(ErrorKind::NotFound, "update");
        let mut snapshot = self.storage.read(&key, Consistency::Latest).await?.ok_or_else(not_found)?;
        if owner.is_some_and(|owner| *owner != snapshot.session.user_id) {
            return Err(not_found());
        }
        let announced = if announced { Some(self.announce_intent(subject_of(key)).await?) } else { None };
        let outcome = self.change_read(&mut snapshot, patch).await;
        // After an outage nothing is known of the change; after anything else it may be remembered again.
        let known = !outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
        if let Some(announced) = announced.filter(|_| known) {
            self.announce_done(announced, &[]).await;
        }
        outcome.map(|()| snapshot)
    }

    async fn change_read(
        &self,
        snapshot: &mut Snapshot,
        patch: impl Fn(&Session) -> Result<SessionPatch> + Send + Sync,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let update = Update::new(snapshot.key(), snapshot.control.version, patch(&snapshot.session)?, self.now());
            *snapshot = match self.storage.update(&update).await? {
                UpdateOutcome::Updated(updated) => {
                    *snapshot = updated;
                    return Ok(());
                }
                UpdateOutcome::Conflict(current) => current,
                UpdateOutcome::Ended(state, _) => return Err(Error::new(ErrorKind::SessionEnded(state), "update")),
                UpdateOutcome::Missing => return Err(Rejection::UnknownSession.into()),
            };
        }
        Err(Error::new(ErrorKind::Conflict, "update"))
    }

    fn patch(&self, session: &Session, change: &SessionChange) -> Result<SessionPatch> {
        let mut patch = SessionPatch::new();
        patch.device_name.clone_from(&change.device_name);
        patch.trust = change
            .trust
            .map(|(trusted, duration)| (trusted, duration.map(|duration| to_millis(after(self.now(), duration)))));
        patch.raise_floor = change.privileges_changed;
        if !change.attributes.is_empty() {
            let mut attributes = session.attributes.clone();
            for (name, value) in &change.attributes {
                if *value == Value::Null {
                    attributes.remove(name);
                } else {
                    attributes.insert(name.clone(), value.clone());
                }
            }
            accept_attributes(&attributes, self.inner.policy.limits.attributes)?;
            patch.attributes = Some(attributes);
        }
        Ok(patch)
    }
}
