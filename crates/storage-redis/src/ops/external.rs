//! External ids: reserved in a slot of their own before the session is written, and released when it goes.

use chrono::{DateTime, Utc};
use session_manager_core::storage::EndedSession;
use session_manager_core::{ExternalId, Locator, Session, SessionId, SessionKey};
use uuid::Uuid;

use super::lifetime;
use crate::error::{Failure, Outcome};
use crate::reply::Reply;
use crate::script::{self, Call};
use crate::storage::RedisStorage;
use crate::value::Reader;

/// How long a reservation whose session is not there yet counts: the insert that made it is still under way.
const UNDER_WAY: i64 = 60_000;

/// What became of a reservation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// It was made now.
    New,
    /// The same session had it already.
    Own,
    /// Another session has it.
    Taken,
}

/// Who has an external id.
struct Holder {
    key: SessionKey,
    since: i64,
}

impl RedisStorage {
    /// Reserves a session's external id for it.
    pub(crate) async fn reserve(
        &self,
        external: &ExternalId,
        session: &Session,
        now: DateTime<Utc>,
    ) -> Outcome<Reservation> {
        let key = self.keys.external(external);
        let mut stale = Vec::new();
        loop {
            let call = script::RESERVE
                .on([&key])
                .with(holder(session))
                .with(now.timestamp_millis().to_be_bytes().as_slice())
                .with(lifetime(session, now))
                .with(&stale);
            let mut reply = Reply::of(self.run(&call).await?)?;
            let held = match reply.word()?.as_slice() {
                b"new" => return Ok(Reservation::New),
                b"own" => return Ok(Reservation::Own),
                b"taken" => reply.bytes()?,
                _ => return Err(Failure::Answer("reserve")),
            };
            let other = decode(&held)?;
            let has_it = match self.reading(&other.key).await? {
                Some(found) => found.session.external.as_ref() == Some(external),
                // Under way, or left behind by an insert that came to nothing, or by a session that was evicted.
                None => now.timestamp_millis() < other.since.saturating_add(UNDER_WAY),
            };
            if has_it || held == stale {
                return Ok(Reservation::Taken);
            }
            stale = held;
        }
    }

    /// The session that has an external id.
    pub(crate) async fn holder_of(&self, external: &ExternalId) -> Outcome<Option<SessionKey>> {
        let key = self.keys.external(external);
        let mut command = redis::cmd("GET");
        command.arg(&key);
        let held = crate::reply::bytes(self.link.call(&key, &command).await?)?;
        Ok(held.map(|held| decode(&held)).transpose()?.map(|holder| holder.key))
    }

    /// Gives back the external ids of sessions that are gone.
    pub(crate) async fn release_all(&self, gone: &[EndedSession]) -> Outcome<()> {
        let calls: Vec<_> = gone.iter().filter_map(|one| self.release(&one.session)).collect();
        if !calls.is_empty() {
            self.run_all(calls).await?;
        }
        Ok(())
    }

    /// Gives back a session's external id, if it has one.
    pub(crate) fn release(&self, session: &Session) -> Option<Call> {
        let external = session.external.as_ref()?;
        Some(script::RELEASE.on([&self.keys.external(external)]).with(holder(session)))
    }
}

fn holder(session: &Session) -> Vec<u8> {
    [session.id.as_bytes().as_slice(), session.user_id.locator().as_bytes()].concat()
}

fn decode(held: &[u8]) -> Outcome<Holder> {
    let mut reader = Reader(held);
    let damaged = |_| Failure::Damaged("an external id's record");
    let id = SessionId::from(Uuid::from_bytes(reader.take().map_err(damaged)?));
    let locator = Locator::from_bytes(reader.take().map_err(damaged)?);
    let since = i64::from_be_bytes(reader.take().map_err(damaged)?);
    Ok(Holder { key: SessionKey::new(id, locator), since })
}
