//! What the operations do, a module for each kind, and what they share: calling scripts, and finding a session's keys.

mod bump;
mod check;
mod epochs;
mod external;
mod failover;
mod feed;
mod insert;
mod list;
mod once;
mod purge;
mod read;
mod refresh;
mod revoke;
mod scan;
mod touch;
mod update;

use chrono::{DateTime, Utc};
use redis::Value;
use session_manager_core::storage::EndedSession;
use session_manager_core::{Error, ErrorKind, LivePolicy, Locator, Session, SessionKey, Snapshot};

use crate::error::{Failure, Outcome};
use crate::keys::Place;
use crate::reply::Reply;
use crate::script::{self, Call, is_forgotten};
use crate::storage::RedisStorage;
use crate::value;

/// The locator to begin with where none is known: the script names the right one.
const NOWHERE: Locator = Locator::from_bytes([0; 8]);

/// What a script has to know of a session beside its keys.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    locator: Locator,
    /// Answer `lost` where the shard's copy of the global epoch is missing, instead of judging by nothing.
    heal: bool,
}

impl Aim {
    /// How scripts read it.
    fn heal(self) -> &'static str {
        if self.heal { "1" } else { "" }
    }
}

impl RedisStorage {
    /// How long a session's keys live, in milliseconds.
    fn lifetime(&self, session: &Session, now: DateTime<Utc>) -> i64 {
        (session.expires_at - now).num_milliseconds().max(0).saturating_add(self.config.afterlife())
    }

    /// Calls a script.
    async fn run(&self, call: &Call) -> Outcome<Value> {
        Ok(script::run(&*self.link, call).await?)
    }

    /// Calls many scripts in one go. Fails where one of them does.
    async fn run_all(&self, calls: Vec<Call>) -> Outcome<Vec<Value>> {
        script::run_all(&*self.link, &calls).await
    }

    /// Calls a script that ends sessions, and waits for replicas where that was asked for. Says whether enough have acknowledged it.
    async fn run_confirmed(&self, call: &Call) -> Outcome<(Value, bool)> {
        let Some(acknowledge) = self.config.acknowledge else { return Ok((self.run(call).await?, true)) };
        let mut wait = redis::cmd("WAIT");
        wait.arg(acknowledge.replicas).arg(crate::config::millis(acknowledge.timeout).max(1));
        let mut answers = self.confirmed.call_then(&call.route, &call.command, &wait).await?;
        if answers.0.as_ref().is_err_and(is_forgotten) {
            answers = self.confirmed.call_then(&call.route, &call.in_full(), &wait).await?;
        }
        let answer = answers.0?;
        let replicas = answers.1.map_err(Failure::from).and_then(|value| crate::reply::number(&value));
        Ok((answer, replicas.is_ok_and(|replicas| replicas >= i64::from(acknowledge.replicas))))
    }

    /// Calls a script about a session: again where the session turns out to be another user's than its key says, and again after the
    /// shard's copy of the global epoch has been restored. Answers the script's word, what follows it, and whether it is confirmed.
    async fn on_session<F>(&self, key: &SessionKey, ending: bool, call: F) -> Outcome<(Vec<u8>, Reply, bool)>
    where
        F: Fn(&Place, Aim) -> Call + Sync,
    {
        let place = self.keys.shard(key.id.shard());
        let mut aim = Aim { locator: key.locator.unwrap_or(NOWHERE), heal: true };
        loop {
            let call = call(&place, aim);
            let (answer, confirmed) =
                if ending { self.run_confirmed(&call).await? } else { (self.run(&call).await?, true) };
            let mut reply = Reply::of(answer)?;
            let word = reply.word()?;
            match word.as_slice() {
                b"elsewhere" => {
                    let found = Locator::from_bytes(reply.array()?);
                    // It is another user's now: purged, and its id taken again, between two steps.
                    if found == aim.locator {
                        return Err(Failure::Answer("a session has two users"));
                    }
                    aim.locator = found;
                }
                b"lost" if aim.heal => {
                    self.restore_copy(key.id.shard()).await?;
                    aim.heal = false;
                }
                _ => return Ok((word, reply, confirmed)),
            }
        }
    }
}

/// A reading out of the three values that follow a script's word.
fn snapshot(reply: &mut Reply) -> Outcome<Snapshot> {
    let (session, user, global) = (reply.bytes()?, reply.filled()?, reply.filled()?);
    value::snapshot(&session, user.as_deref(), global.as_deref())
}

/// Sessions that were ended or removed, from their stored form afterwards and the epochs of their user.
fn ended(
    values: impl Iterator<Item = Outcome<Vec<u8>>>,
    user: Option<&[u8]>,
    global: Option<&[u8]>,
    now: DateTime<Utc>,
) -> Outcome<Vec<EndedSession>> {
    let one = |session: Vec<u8>| {
        let snapshot = value::snapshot(&session, user, global)?;
        let state = snapshot.state(now, LivePolicy::TRACKED);
        Ok(EndedSession::new(snapshot.session, state, snapshot.control.revocation))
    };
    values.map(|session| one(session?)).collect()
}

/// # Errors
/// [`ErrorKind::InvalidInput`] for a session whose id does not carry its user's shard: its keys would be in two slots.
fn in_its_shard(session: &Session, operation: &'static str) -> Outcome<()> {
    if session.id.shard() == session.user_id.shard() {
        return Ok(());
    }
    let message = "the session's id does not carry its user's shard: make it with SessionId::generate";
    Err(Error::new(ErrorKind::InvalidInput, operation).because(message).into())
}
