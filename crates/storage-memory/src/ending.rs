//! Ending sessions: revoke, bump, purge, and making room.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Bumped, EndedSession, Purge, PurgeScope, Purged, Revoke, RevokeTarget, Revoked,
    SessionFilter,
};
use session_manager_core::{
    Epoch, Epochs, Error, ErrorKind, ExternalId, GlobalEpoch, LivePolicy, Result, Revocation, SessionId, Snapshot,
    State, UserId,
};

use crate::shard::{Entry, Shard};
use crate::storage::MemoryStorage;

impl MemoryStorage {
    pub(crate) fn revoke_now(&self, request: &Revoke) -> Result<Revoked> {
        let revocation = Arc::new(request.revocation.clone());
        Ok(match &request.target {
            RevokeTarget::One { key, owner } => self.revoke_one(key.id, owner.as_ref(), &revocation),
            RevokeTarget::User { user, except } => self.revoke_user(user, *except, &revocation),
            RevokeTarget::External(external) => self.revoke_external(external, &revocation),
            RevokeTarget::Matching { user: Some(user), filter } => {
                let mut shard = self.table().write(self.table().number(user.shard()));
                let found = matching(&shard, shard.sessions_of(user, false), filter, revocation.at);
                end_live(&mut shard, found, &revocation)
            }
            RevokeTarget::Matching { user: None, filter } => self.revoke_matching(filter, &revocation),
            _ => return Err(unknown("revoke")),
        })
    }

    fn revoke_one(&self, id: SessionId, owner: Option<&UserId>, revocation: &Arc<Revocation>) -> Revoked {
        let Some(mut shard) = self.table().lock_session(id) else { return Revoked::default() };
        match shard.read(id) {
            Some(snapshot) if owner.is_none_or(|owner| *owner == snapshot.session.user_id) => {
                end_live(&mut shard, [snapshot], revocation)
            }
            _ => Revoked::default(),
        }
    }

    fn revoke_user(&self, user: &UserId, except: Option<SessionId>, revocation: &Arc<Revocation>) -> Revoked {
        let mut shard = self.table().write(self.table().number(user.shard()));
        let found: Vec<Snapshot> = shard.sessions_of(user, false).map(|entry| shard.snapshot(entry)).collect();
        let meant = found.into_iter().filter(|one| Some(one.session.id) != except);
        let mut revoked = end_live(&mut shard, meant, revocation);
        // Those that had been revoked before need not be looked at, only counted; the excepted one may be among them.
        if let Some(record) = shard.users.by_id(user) {
            let excepted = except.is_some_and(|id| record.revoked.contains(&id));
            let count =
                record.revoked.len().saturating_sub(revoked.sessions.len()).saturating_sub(usize::from(excepted));
            revoked.already_ended = revoked.already_ended.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        if except.is_none()
            && let Some(slot) = shard.users.find(user)
            && let Some(epoch) = shard.users.get(slot).and_then(|user| user.epoch)
        {
            shard.set_epoch(slot, epoch.next());
        }
        revoked
    }

    fn revoke_external(&self, external: &ExternalId, revocation: &Arc<Revocation>) -> Revoked {
        let (mut revoked, holders) = (Revoked::default(), self.table().by_external(external));
        for holders in holders.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((number, _)) = holders.first() else { continue };
            // All of one user's stand in one shard and end in one step. Between the two locks a session may have been removed, or renamed.
            let mut shard = self.table().write(*number);
            let found = holders.iter().filter_map(|(_, id)| shard.read(*id));
            let named: Vec<_> = found.filter(|one| one.session.external.as_ref() == Some(external)).collect();
            let ended = end_live(&mut shard, named, revocation);
            revoked.sessions.extend(ended.sessions);
            revoked.already_ended = revoked.already_ended.saturating_add(ended.already_ended);
        }
        revoked
    }

    /// Shard by shard: each user's sessions in one step, but nobody waits while everybody's are examined.
    fn revoke_matching(&self, filter: &SessionFilter, revocation: &Arc<Revocation>) -> Revoked {
        let mut revoked = Revoked::default();
        for number in 0..self.table().shard_count() {
            let mut shard = self.table().write(number);
            let found = matching(&shard, shard.entries(), filter, revocation.at);
            revoked.sessions.extend(end_live(&mut shard, found, revocation).sessions);
        }
        revoked
    }

    pub(crate) fn bump_now(&self, request: &Bump) -> Result<BumpOutcome> {
        Ok(match &request.target {
            BumpTarget::User { user, keep } => {
                let outcome = self.bump_user(request, user, *keep);
                self.bound_users();
                outcome
            }
            BumpTarget::Global { grace } => self.table().change_global(|current| {
                let epoch = current.map(|global| global.epoch);
                let next = match raised(epoch, request.incarnations.global, request) {
                    Raise::To(next) => next,
                    Raise::Already => {
                        return (
                            current,
                            BumpOutcome::Bumped(Bumped::new(epoch, Epochs::new(None, current), None, false)),
                        );
                    }
                    Raise::Conflict(version) => return (current, BumpOutcome::Conflict { version }),
                };
                let until = (!grace.is_zero() && !request.new_incarnation)
                    .then(|| session_manager_core::clock::after(request.now, *grace));
                let global = Some(GlobalEpoch::rotated(next, Some(request.now), until));
                (global, BumpOutcome::Bumped(Bumped::new(epoch, Epochs::new(None, global), None, true)))
            }),
            _ => return Err(unknown("bump")),
        })
    }

    fn bump_user(&self, request: &Bump, user: &UserId, keep: Option<SessionId>) -> BumpOutcome {
        let mut shard = self.table().write(self.table().number(user.shard()));
        let current = shard.users.by_id(user).and_then(|user| user.epoch);
        let kept = keep.and_then(|id| shard.read(id)).filter(|one| one.session.user_id == *user);
        let next = match raised(current, request.incarnations.user, request) {
            Raise::To(next) => next,
            Raise::Already => {
                let epochs = Epochs::new(current, shard.global);
                return BumpOutcome::Bumped(Bumped::new(current, epochs, kept, false));
            }
            Raise::Conflict(version) => return BumpOutcome::Conflict { version },
        };
        let kept = kept.filter(|one| one.state(request.now, LivePolicy::TRACKED).is_live());
        if keep.is_some() && kept.is_none() {
            return BumpOutcome::KeepEnded;
        }
        let slot = shard.users.ensure(user);
        shard.set_epoch(slot, next);
        shard.users.keep(slot, request.now.timestamp_millis());
        let epochs = Epochs::new(Some(next), shard.global);
        let kept = kept.map(|mut one| {
            one.control.raise_floor(request.now);
            one.epochs = epochs;
            one.control.stamped = epochs.stamp();
            shard.store(one.session.id, &one.session, &one.control);
            one
        });
        BumpOutcome::Bumped(Bumped::new(current, epochs, kept, true))
    }

    pub(crate) fn purge_now(&self, request: &Purge) -> Result<Purged> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        Ok(match &request.scope {
            PurgeScope::EndedBefore(time) => self.purge_ended(time.timestamp_millis(), limit, 0, request.now),
            PurgeScope::One(key) => {
                let Some(mut shard) = self.table().lock_session(key.id) else { return Ok(Purged::default()) };
                self.purge_these(&mut shard, vec![key.id], limit, request.now)
            }
            PurgeScope::User(user) => {
                let mut shard = self.table().write(self.table().number(user.shard()));
                let ids = shard.sessions_of(user, true).map(|entry| entry.session.id).collect();
                self.purge_these(&mut shard, ids, limit, request.now)
            }
            _ => return Err(unknown("purge")),
        })
    }

    fn purge_these(&self, shard: &mut Shard, ids: Vec<SessionId>, limit: usize, now: DateTime<Utc>) -> Purged {
        let more = ids.len() > limit;
        let removed = ids.into_iter().take(limit).filter_map(|id| self.table().remove(shard, id));
        Purged::new(removed.map(|one| removed_at(one, now)).collect(), more)
    }

    /// Removes what ended before a time, from shard `first` on, and forgets users who have been without a session for long.
    pub(crate) fn purge_ended(&self, time: i64, limit: usize, first: usize, now: DateTime<Utc>) -> Purged {
        let forget = time.saturating_sub(i64::try_from(self.config().epoch_retention.as_millis()).unwrap_or(i64::MAX));
        let mut sessions = Vec::new();
        for number in (first..).take(self.table().shard_count()) {
            // Most shards have nothing to do, and are not locked against readers for it.
            let idle = {
                let shard = self.table().read(number);
                !shard.may_be_due(time) && !shard.users.has_idle(forget)
            };
            if idle {
                continue;
            }
            let mut shard = self.table().write(number);
            while let Some(id) = shard.due(time) {
                if sessions.len() >= limit {
                    return Purged::new(sessions, true);
                }
                sessions.extend(self.table().remove(&mut shard, id).map(|one| removed_at(one, now)));
            }
            shard.users.forget_idle(forget);
        }
        Purged::new(sessions, false)
    }
}

/// Ends one session.
pub(crate) fn end(shard: &mut Shard, mut snapshot: Snapshot, revocation: &Arc<Revocation>) -> EndedSession {
    snapshot.control.revocation = Some(Arc::clone(revocation));
    snapshot.control.version = snapshot.control.version.saturating_add(1);
    shard.store(snapshot.session.id, &snapshot.session, &snapshot.control);
    EndedSession::new(snapshot.session, State::Revoked, snapshot.control.revocation)
}

/// Ends those that live, and counts the others.
fn end_live(shard: &mut Shard, meant: impl IntoIterator<Item = Snapshot>, revocation: &Arc<Revocation>) -> Revoked {
    let mut revoked = Revoked::default();
    for snapshot in meant {
        if snapshot.state(revocation.at, LivePolicy::TRACKED).is_live() {
            revoked.sessions.push(end(shard, snapshot, revocation));
        } else {
            revoked.already_ended = revoked.already_ended.saturating_add(1);
        }
    }
    revoked
}

fn matching<'a>(
    shard: &Shard,
    entries: impl Iterator<Item = &'a Entry>,
    filter: &SessionFilter,
    now: DateTime<Utc>,
) -> Vec<Snapshot> {
    entries.map(|entry| shard.snapshot(entry)).filter(|one| filter.matches(one, now, LivePolicy::TRACKED)).collect()
}

/// What a bump makes of an epoch.
enum Raise {
    To(Epoch),
    /// The caller repeats itself.
    Already,
    Conflict(u64),
}

fn raised(current: Option<Epoch>, incarnation: u64, request: &Bump) -> Raise {
    let anew = Epoch::first(incarnation);
    let current = current.unwrap_or(anew);
    let next = if request.new_incarnation { anew } else { current.next() };
    match request.expected {
        Some(expected) if current.version != expected => {
            // A new incarnation is not begun by somebody else's raise: only the very epoch that was asked for counts as done.
            let done =
                if request.new_incarnation { current == anew } else { current.version == expected.saturating_add(1) };
            if done { Raise::Already } else { Raise::Conflict(current.version) }
        }
        _ => Raise::To(next),
    }
}

/// Core may learn to ask for more than this version can do.
fn unknown(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation)
}

fn removed_at(snapshot: Snapshot, now: DateTime<Utc>) -> EndedSession {
    let state = snapshot.state(now, LivePolicy::TRACKED);
    EndedSession::new(snapshot.session, state, snapshot.control.revocation)
}
