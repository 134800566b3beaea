//! External ids: each has a sorted set in a slot of its own that says which sessions may have it, by their absolute deadlines.
//!
//! It is written before the session and never trusted: what has an external id is what says so itself.

use chrono::{DateTime, Utc};
use session_manager_core::storage::EndedSession;
use session_manager_core::{ExternalId, Locator, Session, SessionId, SessionKey};
use uuid::Uuid;

use crate::error::{Failure, Outcome};
use crate::reply::Reply;
use crate::script::{self, Call};
use crate::storage::RedisStorage;
use crate::value::Reader;

impl RedisStorage {
    /// Notes that a session is about to have its external id, if it has one.
    pub(crate) async fn point(&self, session: &Session, now: DateTime<Utc>) -> Outcome<()> {
        let Some(external) = &session.external else { return Ok(()) };
        let call = script::POINT
            .on([&self.keys.external(external)])
            .with(holder(session))
            .with(session.expires_at.timestamp_millis())
            .with(now.timestamp_millis().saturating_sub(self.config.afterlife()))
            .with(self.lifetime(session, now));
        self.run(&call).await.map(|_| ())
    }

    /// The sessions that may have an external id.
    pub(crate) async fn holders_of(&self, external: &ExternalId) -> Outcome<Vec<SessionKey>> {
        let key = self.keys.external(external);
        let mut command = redis::cmd("ZRANGE");
        command.arg(&key).arg(0).arg(-1);
        let held = Reply::of(self.link.call(&key, &command).await?)?;
        held.rest().map(|holder| decode(&holder?)).collect()
    }

    /// Takes sessions that are gone from their external ids.
    pub(crate) async fn release_all(&self, gone: &[EndedSession]) -> Outcome<()> {
        let calls: Vec<_> = gone.iter().filter_map(|one| self.release(&one.session)).collect();
        if !calls.is_empty() {
            self.run_all(calls).await?;
        }
        Ok(())
    }

    /// Takes a session from its external id, if it has one.
    pub(crate) fn release(&self, session: &Session) -> Option<Call> {
        let external = session.external.as_ref()?;
        Some(script::RELEASE.on([&self.keys.external(external)]).with(holder(session)))
    }
}

fn holder(session: &Session) -> Vec<u8> {
    [session.id.as_bytes().as_slice(), session.user_id.locator().as_bytes()].concat()
}

fn decode(held: &[u8]) -> Outcome<SessionKey> {
    let mut reader = Reader(held);
    let damaged = |_| Failure::Damaged("an external id's record");
    let id = SessionId::from(Uuid::from_bytes(reader.take().map_err(damaged)?));
    let locator = Locator::from_bytes(reader.take().map_err(damaged)?);
    Ok(SessionKey::new(id, locator))
}
