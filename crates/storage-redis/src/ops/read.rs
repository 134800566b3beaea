//! Reading: one `MGET` of the session, its user's record and the shard's copy of the global epoch.

use redis::{Cmd, Value};
use session_manager_core::{Locator, SessionKey, Snapshot};

use super::NOWHERE;
use crate::error::{Failure, Outcome};
use crate::link::Command;
use crate::reply::Reply;
use crate::storage::RedisStorage;
use crate::value;

/// What one `MGET` tells.
enum Reading {
    Missing,
    /// Its user's keys are elsewhere.
    Elsewhere(Locator),
    /// The shard has no copy of the global epoch.
    Lost(Box<Snapshot>),
    Found(Box<Snapshot>),
}

impl RedisStorage {
    pub(crate) async fn reading(&self, key: &SessionKey) -> Outcome<Option<Snapshot>> {
        let locator = key.locator.unwrap_or(NOWHERE);
        let command = self.mget(key, locator);
        let reading = reading(self.link.call(&command.route, &command.command).await?, locator)?;
        self.complete(key, reading).await
    }

    pub(crate) async fn readings(&self, keys: &[SessionKey]) -> Outcome<Vec<Option<Snapshot>>> {
        let commands: Vec<_> = keys.iter().map(|key| self.mget(key, key.locator.unwrap_or(NOWHERE))).collect();
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut snapshots = Vec::with_capacity(keys.len());
        for (answer, key) in self.link.call_all(&commands).await?.into_iter().zip(keys) {
            let reading = reading(answer?, key.locator.unwrap_or(NOWHERE))?;
            snapshots.push(self.complete(key, reading).await?);
        }
        Ok(snapshots)
    }

    /// Reads again where one step was not enough.
    async fn complete(&self, key: &SessionKey, mut found: Reading) -> Outcome<Option<Snapshot>> {
        let (mut locator, mut healed) = (key.locator.unwrap_or(NOWHERE), false);
        loop {
            match found {
                Reading::Missing => return Ok(None),
                Reading::Found(snapshot) => return Ok(Some(*snapshot)),
                Reading::Lost(snapshot) if healed => return Ok(Some(*snapshot)),
                Reading::Lost(snapshot) => {
                    healed = true;
                    if !self.restore_copy(key.id.shard()).await? {
                        return Ok(Some(*snapshot));
                    }
                }
                Reading::Elsewhere(other) if other == locator => {
                    return Err(Failure::Answer("a session has two users"));
                }
                Reading::Elsewhere(other) => locator = other,
            }
            let command = self.mget(key, locator);
            found = reading(self.link.call(&command.route, &command.command).await?, locator)?;
        }
    }

    fn mget(&self, key: &SessionKey, locator: Locator) -> Command {
        let place = self.keys.shard(key.id.shard());
        let session = place.session(key.id);
        let mut command = Cmd::new();
        command.arg("MGET").arg(&session).arg(place.user(locator)).arg(place.global());
        Command::new(session, command)
    }
}

fn reading(answer: Value, locator: Locator) -> Outcome<Reading> {
    let mut reply = Reply::of(answer)?;
    let Some(session) = reply.optional()? else { return Ok(Reading::Missing) };
    let theirs = value::locator(&session)?;
    if theirs != locator {
        return Ok(Reading::Elsewhere(theirs));
    }
    let (user, global) = (reply.optional()?, reply.optional()?);
    let snapshot = Box::new(value::snapshot(&session, user.as_deref(), global.as_deref())?);
    Ok(if global.is_some() { Reading::Found(snapshot) } else { Reading::Lost(snapshot) })
}
