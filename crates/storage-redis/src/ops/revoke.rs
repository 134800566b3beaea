//! Ending sessions.

use session_manager_core::storage::{Revoke, RevokeTarget, Revoked, SessionFilter};
use session_manager_core::{Error, ErrorKind, ExternalId, LivePolicy, SessionId, SessionKey, UserId};

use super::{Aim, ended};
use crate::error::{Failure, Outcome};
use crate::keys::name;
use crate::recent::Deed;
use crate::reply::{DONE, Reply};
use crate::script;
use crate::storage::RedisStorage;
use crate::value;

/// How often a revocation by filter begins anew because sessions changed under it.
const ATTEMPTS: u32 = 16;

impl RedisStorage {
    pub(crate) async fn revoke_target(&self, request: &Revoke) -> Outcome<Revoked> {
        let revoked = self.end(request).await?;
        self.recent.keep_ends(&revoked.sessions);
        Ok(revoked)
    }

    async fn end(&self, request: &Revoke) -> Outcome<Revoked> {
        match &request.target {
            RevokeTarget::One { key, owner } => self.end_one(request, key, owner.as_ref()).await,
            RevokeTarget::User { user, except } => self.revoke_user(request, user, *except).await,
            RevokeTarget::External(external) => self.revoke_external(request, external).await,
            RevokeTarget::Matching { user: Some(user), filter } => self.revoke_matching(request, user, filter).await,
            _ => unsupported(
                "redis ends sessions by filter for one user at a time; for everybody, raise the global epoch",
            ),
        }
    }

    pub(crate) async fn end_one(&self, request: &Revoke, key: &SessionKey, owner: Option<&UserId>) -> Outcome<Revoked> {
        let now = request.now();
        let note = value::note(&request.revocation);
        let owner = owner.map(|owner| owner.locator().as_bytes().to_vec()).unwrap_or_default();
        let (word, mut reply, confirmed) = self
            .on_session(key, true, |place, aim| {
                let locator = aim.locator;
                script::REVOKE
                    .on([&place.session(key.id), &place.user(locator), &place.global(), &place.index(locator)])
                    .with(&value::millis(now))
                    .with(aim.heal())
                    .with(locator.as_bytes().as_slice())
                    .with(&owner)
                    .with(&note)
                    .with(name(key.id))
            })
            .await?;
        match word.as_slice() {
            b"absent" => Ok(Revoked::default()),
            // A repeated call waits again, for what the first one did.
            b"ended" if !confirmed => Ok(Revoked::new(Vec::new(), 1).unconfirmed()),
            b"ended" => Ok(Revoked::new(Vec::new(), 1)),
            DONE => {
                let sessions = std::iter::once(reply.bytes());
                let revoked = Revoked::new(ended(sessions, None, None, now)?, 0);
                Ok(if confirmed { revoked } else { revoked.unconfirmed() })
            }
            _ => Err(Failure::Answer("revoke")),
        }
    }

    /// Ends all that have an external id, one after the other: they may be of several users, in as many slots.
    async fn revoke_external(&self, request: &Revoke, external: &ExternalId) -> Outcome<Revoked> {
        let mut all = Revoked::default();
        let holders = self.holders_of(external).await?;
        for holder in self.readings(&holders).await?.into_iter().flatten() {
            // What was left behind by an insert that came to nothing leads to no session, or to one that has another name.
            if holder.session.external.as_ref() != Some(external) {
                continue;
            }
            let one = self.end_one(request, &holder.key(), None).await?;
            all.already_ended = all.already_ended.saturating_add(one.already_ended);
            all.unconfirmed |= one.unconfirmed;
            all.sessions.extend(one.sessions);
        }
        Ok(all)
    }

    async fn revoke_user(&self, request: &Revoke, user: &UserId, except: Option<SessionId>) -> Outcome<Revoked> {
        let place = self.keys.shard(user.shard());
        let locator = user.locator();
        let mut aim = Aim { locator, heal: true };
        loop {
            let call = script::REVOKE_USER
                .on([&place.user(locator), &place.global(), &place.index(locator)])
                .with(request.now().timestamp_millis())
                .with(locator.as_bytes().as_slice())
                .with(aim.heal())
                .with(value::note(&request.revocation))
                .with(except.map(name).unwrap_or_default())
                .with(place.sessions())
                .with(user.as_str());
            let (answer, confirmed) = self.run_confirmed(&call).await?;
            let mut reply = Reply::of(answer)?;
            match reply.word()?.as_slice() {
                b"lost" if aim.heal => {
                    self.restore_copy(user.shard()).await?;
                    aim.heal = false;
                }
                b"revoked" => {
                    let (record, global) = (reply.filled()?, reply.filled()?);
                    // Without an exception the epoch is raised too.
                    if let Some(record) = record.as_deref().filter(|_| except.is_none()) {
                        // Of another user with the same hash nothing was raised.
                        if let Ok(epoch) = value::user_epoch(record, user) {
                            self.recent.keep(Deed::Raised(user.clone(), Some(epoch), epoch.next()));
                        }
                    }
                    return revoked(reply, record.as_deref(), global.as_deref(), request, 0, confirmed);
                }
                _ => return Err(Failure::Answer("revoke")),
            }
        }
    }

    /// Reads a user's sessions, lets core filter, and ends what it means in one step if nothing has changed.
    async fn revoke_matching(&self, request: &Revoke, user: &UserId, filter: &SessionFilter) -> Outcome<Revoked> {
        let (place, locator, now) = (self.keys.shard(user.shard()), user.locator(), request.now());
        let seen_before =
            filter.last_activity_before.map(|time| time.timestamp_millis().to_string()).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let (mut meant, mut already) = (Vec::new(), 0);
            for snapshot in self.sessions_of(user, filter, now).await? {
                if snapshot.state(now, LivePolicy::TRACKED).is_live() { meant.push(snapshot) } else { already += 1 }
            }
            if meant.is_empty() {
                return Ok(Revoked::new(Vec::new(), already));
            }
            let mut call = script::REVOKE_LISTED
                .on([&place.user(locator), &place.global(), &place.index(locator)])
                .with(now.timestamp_millis())
                .with(value::note(&request.revocation))
                .with(place.sessions())
                .with(&seen_before);
            for snapshot in meant {
                call = call.with(name(snapshot.session.id)).with(snapshot.control.version.to_be_bytes().as_slice());
            }
            let (answer, confirmed) = self.run_confirmed(&call).await?;
            let mut reply = Reply::of(answer)?;
            match reply.word()?.as_slice() {
                b"changed" => {}
                b"revoked" => {
                    let (record, global) = (reply.filled()?, reply.filled()?);
                    return revoked(reply, record.as_deref(), global.as_deref(), request, already, confirmed);
                }
                _ => return Err(Failure::Answer("revoke")),
            }
        }
        let error =
            Error::new(ErrorKind::Conflict, "revoke").because("the user's sessions change too quickly; try again");
        Err(error.into())
    }
}

fn revoked(
    reply: Reply,
    user: Option<&[u8]>,
    global: Option<&[u8]>,
    request: &Revoke,
    already: u64,
    confirmed: bool,
) -> Outcome<Revoked> {
    let revoked = Revoked::new(ended(reply.rest(), user, global, request.now())?, already);
    Ok(if confirmed { revoked } else { revoked.unconfirmed() })
}

fn unsupported<T>(message: &'static str) -> Outcome<T> {
    Err(Error::new(ErrorKind::Unsupported, "revoke").because(message).into())
}
