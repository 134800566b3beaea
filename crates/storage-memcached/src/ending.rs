//! Ending sessions: revoke, bump, purge.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use session_manager_core::clock::after;
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Bumped, EndedSession, Purge, PurgeScope, Purged, Revoke, RevokeTarget, Revoked,
    SessionFilter,
};
use session_manager_core::{
    Epoch, Epochs, GlobalEpoch, LivePolicy, Locator, Result, Revocation, SessionId, SessionKey, Snapshot, UserId,
};

use crate::account::Account;
use crate::cache::{CacheClient, CacheConnection, TimeToLive};
use crate::encoding;
use crate::error::Failure;
use crate::storage::{MemcachedStorage, unsupported};
use crate::swap::{Move, Reading, Step};

/// Which of a user's sessions are meant.
enum Meant<'a> {
    Only(SessionId),
    AllBut(Option<SessionId>),
    Matching(&'a SessionFilter),
}

impl<C: CacheClient> MemcachedStorage<C> {
    pub(crate) async fn revoke_target(&self, request: &Revoke) -> Result<Revoked> {
        let revocation = Arc::new(request.revocation.clone());
        let revoked = match &request.target {
            RevokeTarget::One { key, owner } => self.revoke_one(*key, owner.as_ref(), &revocation).await,
            RevokeTarget::User { user, except } => {
                self.revoke_of(user.locator(), Some(user), Meant::AllBut(*except), &revocation).await
            }
            RevokeTarget::Matching { user: Some(user), filter } => {
                self.revoke_of(user.locator(), Some(user), Meant::Matching(filter), &revocation).await
            }
            RevokeTarget::Matching { user: None, .. } => {
                return Err(unsupported("revoke", "sessions are kept by user, and nobody knows all users"));
            }
            RevokeTarget::External(_) => {
                return Err(unsupported("revoke", "a cache may forget whose name an external id is"));
            }
            _ => return Err(unsupported("revoke", "this version cannot do that")),
        };
        revoked.map_err(|error| error.during("revoke"))
    }

    async fn revoke_one(
        &self,
        key: SessionKey,
        owner: Option<&UserId>,
        revocation: &Arc<Revocation>,
    ) -> Result<Revoked, Failure> {
        // With an owner no pointer is needed: it would count as absent in anybody else's item.
        let place = match owner {
            Some(owner) => Some(owner.locator()),
            None => self.place(key).await?,
        };
        let Some(locator) = place else { return Ok(Revoked::default()) };
        self.revoke_of(locator, owner, Meant::Only(key.id), revocation).await
    }

    async fn revoke_of(
        &self,
        locator: Locator,
        owner: Option<&UserId>,
        meant: Meant<'_>,
        revocation: &Arc<Revocation>,
    ) -> Result<Revoked, Failure> {
        self.change(locator, None, revocation.at, |Reading { account, global, .. }| {
            let Some(mut account) = account.filter(|account| owner.is_none_or(|owner| *owner == account.user)) else {
                return Ok(Step::Done(Revoked::default()));
            };
            let mut revoked = Revoked::default();
            for snapshot in account.snapshots(global)? {
                let is_meant = match meant {
                    Meant::Only(id) => snapshot.session.id == id,
                    Meant::AllBut(except) => Some(snapshot.session.id) != except,
                    Meant::Matching(filter) => filter.matches(&snapshot, revocation.at, LivePolicy::TRACKED),
                };
                if is_meant && snapshot.state(revocation.at, LivePolicy::TRACKED).is_live() {
                    revoked.sessions.push(account.end(snapshot, revocation));
                } else if is_meant {
                    revoked.already_ended = revoked.already_ended.saturating_add(1);
                }
            }
            let raise = matches!(meant, Meant::AllBut(None));
            if raise {
                account.epoch = account.epoch.next();
            }
            let changed = raise || !revoked.sessions.is_empty();
            Ok(if changed { Step::store(account, revoked) } else { Step::Done(revoked) })
        })
        .await
    }

    pub(crate) async fn bump_target(&self, request: &Bump) -> Result<BumpOutcome> {
        let bumped = match &request.target {
            BumpTarget::User { user, keep } => self.bump_user(request, user, *keep).await,
            BumpTarget::Global { grace } => {
                let until = (!grace.is_zero() && !request.new_incarnation).then(|| after(request.now, *grace));
                self.bump_global(request, until).await
            }
            _ => return Err(unsupported("bump", "this version cannot do that")),
        };
        bumped.map_err(|error| error.during("bump"))
    }

    async fn bump_user(&self, request: &Bump, user: &UserId, keep: Option<SessionId>) -> Result<BumpOutcome, Failure> {
        self.change(user.locator(), None, request.now, |Reading { account, global, .. }| {
            if account.as_ref().is_some_and(|account| account.user != *user) {
                return Err(Failure::Collision);
            }
            let current = account.as_ref().map(|account| account.epoch);
            let kept = match (&account, keep) {
                (Some(account), Some(id)) => account.snapshot(id, global)?,
                _ => None,
            };
            let next = match raised(current, request.incarnations.user, request) {
                Raise::To(next) => next,
                Raise::Already => {
                    let bumped = Bumped::new(current, Epochs::new(current, global), kept, false);
                    return Ok(Step::Done(BumpOutcome::Bumped(bumped)));
                }
                Raise::Conflict(version) => return Ok(Step::Done(BumpOutcome::Conflict { version })),
            };
            let kept = kept.filter(|one| one.state(request.now, LivePolicy::TRACKED).is_live());
            if keep.is_some() && kept.is_none() {
                return Ok(Step::Done(BumpOutcome::KeepEnded));
            }
            let mut account = account.unwrap_or_else(|| Account::new(user.clone(), next));
            account.epoch = next;
            let epochs = account.epochs(global);
            let kept = kept.map(|mut one| {
                one.control.raise_floor(request.now);
                one.control.stamped = epochs.stamp();
                one.epochs = epochs;
                account.set_control(one.session.id, &one.control);
                one
            });
            Ok(Step::store(account, BumpOutcome::Bumped(Bumped::new(current, epochs, kept, true))))
        })
        .await
    }

    async fn bump_global(&self, request: &Bump, until: Option<DateTime<Utc>>) -> Result<BumpOutcome, Failure> {
        self.swap(&self.keys().global(), &[], |item, _| {
            let current = item.map(|bytes| encoding::read_global(&bytes)).transpose()?;
            let epoch = current.map(|global| global.epoch);
            let (global, applied) = match raised(epoch, request.incarnations.global, request) {
                Raise::To(next) => (Some(GlobalEpoch::rotated(next, Some(request.now), until)), true),
                Raise::Already => (current, false),
                Raise::Conflict(version) => return Ok(Move::Done(BumpOutcome::Conflict { version })),
            };
            let result = BumpOutcome::Bumped(Bumped::new(epoch, Epochs::new(None, global), None, applied));
            Ok(match global {
                Some(global) if applied => {
                    Move::Store { value: encoding::global(&global)?, ttl: TimeToLive::Unlimited, first: None, result }
                }
                _ => Move::Done(result),
            })
        })
        .await
    }

    pub(crate) async fn purge_scope(&self, request: &Purge) -> Result<Purged> {
        let purged = match &request.scope {
            // memcached does that, and tells nobody.
            PurgeScope::EndedBefore(_) => return Ok(Purged::default()),
            PurgeScope::One(key) => match self.place(*key).await {
                Ok(Some(locator)) => self.purge_of(locator, None, Some(key.id), request).await,
                Ok(None) => Ok(Purged::default()),
                Err(error) => Err(error),
            },
            PurgeScope::User(user) => self.purge_of(user.locator(), Some(user), None, request).await,
            _ => return Err(unsupported("purge", "this version cannot do that")),
        };
        purged.map_err(|error| error.during("purge"))
    }

    async fn purge_of(
        &self,
        locator: Locator,
        owner: Option<&UserId>,
        only: Option<SessionId>,
        request: &Purge,
    ) -> Result<Purged, Failure> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let purged = self
            .change(locator, None, request.now, |Reading { account, global, .. }| {
                let Some(mut account) = account.filter(|account| owner.is_none_or(|owner| *owner == account.user))
                else {
                    return Ok(Step::Done(Purged::default()));
                };
                let mut meant = account.snapshots(global)?;
                meant.retain(|one| only.is_none_or(|id| id == one.session.id));
                let more = meant.len() > limit;
                meant.truncate(limit);
                if meant.is_empty() {
                    return Ok(Step::Done(Purged::new(Vec::new(), more)));
                }
                for one in &meant {
                    account.remove(one.session.id);
                }
                let removed = meant.into_iter().map(|one| removed_at(one, request.now)).collect();
                Ok(Step::store(account, Purged::new(removed, more)))
            })
            .await?;
        self.forget_pointers(&purged.sessions).await;
        Ok(purged)
    }

    /// Removes the pointers of removed sessions. One that stays leads nowhere and goes by itself.
    async fn forget_pointers(&self, removed: &[EndedSession]) {
        if removed.is_empty() {
            return;
        }
        let Ok(mut connection) = self.client().connection().await else { return };
        for ended in removed {
            if connection.delete(&self.keys().pointer(ended.session.id)).await.is_err() {
                return;
            }
        }
    }
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
    match request.expected {
        Some(expected) if current.version != expected => {
            // A new incarnation is not begun by somebody else's raise: only the very epoch that was asked for counts as done.
            let done =
                if request.new_incarnation { current == anew } else { current.version == expected.saturating_add(1) };
            if done { Raise::Already } else { Raise::Conflict(current.version) }
        }
        _ if request.new_incarnation => Raise::To(anew),
        _ => Raise::To(current.next()),
    }
}

fn removed_at(snapshot: Snapshot, now: DateTime<Utc>) -> EndedSession {
    let state = snapshot.state(now, LivePolicy::TRACKED);
    EndedSession::new(snapshot.session, state, snapshot.control.revocation)
}
