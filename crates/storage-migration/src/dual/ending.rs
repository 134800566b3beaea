//! What ends sessions: made in both storages, the old one first, and acknowledged when both have it.

use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Bumped, Consistency, Purge, PurgeScope, Purged, Revoke, RevokeTarget, Revoked,
};
use session_manager_core::{LivePolicy, Result, SessionKey, SessionStorage};

use super::following::unconfirmed;
use super::{Dual, Lead, count};
use crate::carry::carry;
use crate::epochs::{acknowledged, raise_global, raise_user, safe};

impl Dual {
    pub(super) async fn revoke_both(&self, request: &Revoke) -> Result<Revoked> {
        if let RevokeTarget::User { user, except: None } = &request.target {
            self.acquaint(user, request.now()).await?;
        }
        // Both are tried whatever becomes of the other: better dead in one than in none.
        if self.config.lead == Lead::Old {
            let old = self.old.revoke(request).await;
            let new = self.revoke_alongside(&*self.new, request).await;
            let answer = old?;
            let followed = async {
                let is_safe = !new?.unconfirmed;
                self.bury(&*self.old, &*self.new, request, &answer).await?;
                self.level(request).await?;
                safe(is_safe)
            };
            let followed = followed.await;
            return Ok(self.revoked(request, answer, &followed));
        }
        let old = self.revoke_alongside(&*self.old, request).await;
        let mut answer = self.new.revoke(request).await?;
        let followed = async {
            let old = old?;
            self.bury(&*self.new, &*self.old, request, &answer).await?;
            if self.falls_back() {
                let unknown = self.unknown_to_new(&old).await?;
                self.bury(&*self.old, &*self.new, request, &old).await?;
                if answer.sessions.is_empty() && answer.already_ended == 0 {
                    answer.already_ended = old.already_ended;
                }
                answer.sessions.extend(unknown.sessions);
            }
            self.level(request).await?;
            safe(!old.unconfirmed)
        };
        let followed = followed.await;
        Ok(self.revoked(request, answer, &followed))
    }

    /// The answer to a revocation that the leading storage has made. Where the other does not have it, that is no error: whoever asked has
    /// to announce and record what ended. What is known by name is brought over in the background even if nobody repeats the call.
    fn revoked(&self, request: &Revoke, answer: Revoked, followed: &Result<()>) -> Revoked {
        if followed.is_ok() {
            return answer;
        }
        count(&self.counters.failed);
        for key in keys_of(request, &answer) {
            self.wait(key);
        }
        answer.unconfirmed()
    }

    /// Ends in the storage that does not lead what is to end, unless its epoch does that when it follows the leading one's. That one never
    /// goes its own way: if it were ahead, sessions would be over there that live here; and so would be one that began between the two steps.
    async fn revoke_alongside(&self, storage: &dyn SessionStorage, request: &Revoke) -> Result<Revoked> {
        if matches!(request.target, RevokeTarget::User { except: None, .. }) && storage.capabilities().epochs {
            return Ok(Revoked::default());
        }
        storage.revoke(request).await
    }

    /// Brings the follower's epoch to the leader's where a revocation has raised that.
    async fn level(&self, request: &Revoke) -> Result<()> {
        let RevokeTarget::User { user, except: None } = &request.target else { return Ok(()) };
        if !self.leader().capabilities().epochs {
            return Ok(());
        }
        let wanted = self.leader().epochs(Some(user)).await?;
        raise_user(self.follower(), user, wanted, request.now()).await
    }

    /// Which of the sessions that ended in the old storage the new one has never heard of.
    async fn unknown_to_new(&self, old: &Revoked) -> Result<Revoked> {
        let keys: Vec<SessionKey> = old.sessions.iter().map(|ended| ended.session.key()).collect();
        let there = self.new.read_many(&keys, Consistency::Latest).await?;
        let unknown = old.sessions.iter().zip(there).filter(|(_, there)| there.is_none());
        Ok(Revoked::new(unknown.map(|(ended, _)| ended.clone()).collect(), 0))
    }

    /// Leaves in `to` a record of what ended in `from`: whoever still carries such a session finds it dead there.
    async fn bury(
        &self,
        from: &dyn SessionStorage,
        to: &dyn SessionStorage,
        request: &Revoke,
        ended: &Revoked,
    ) -> Result<()> {
        let found = from.read_many(&keys_of(request, ended), Consistency::Latest).await?;
        for snapshot in found.into_iter().flatten().filter(|snapshot| snapshot.revocation().is_some()) {
            carry(from, to, snapshot, request.now()).await?;
        }
        Ok(())
    }

    pub(super) async fn bump_both(&self, request: &Bump) -> Result<BumpOutcome> {
        if let BumpTarget::User { user, keep } = &request.target {
            self.acquaint(user, request.now).await?;
            if let Some(keep) = keep.filter(|_| self.falls_back()) {
                let key = SessionKey::new(keep, user.locator());
                if self.new.read(&key, Consistency::Latest).await?.is_none() {
                    self.fetch(&key).await?;
                }
            }
        } else if self.config.lead != Lead::Old
            && self.new.epochs(None).await?.global.is_none()
            && let Some(global) = self.old.epochs(None).await?.global
        {
            raise_global(&*self.new, global, request.now).await?;
        }
        match self.leader().bump(request).await? {
            BumpOutcome::Bumped(bumped) if self.bump_follower(request, &bumped).await.is_err() => {
                count(&self.counters.failed);
                if let Some(kept) = &bumped.kept {
                    self.wait(kept.key());
                }
                Ok(BumpOutcome::Bumped(bumped.unconfirmed()))
            }
            outcome => Ok(outcome),
        }
    }

    async fn bump_follower(&self, request: &Bump, bumped: &Bumped) -> Result<()> {
        let follower = self.follower();
        if request.new_incarnation {
            let mut repeated = request.clone();
            // The expectation was the leader's; and whom it keeps is carried afterwards, with the new stamp.
            repeated.expected = None;
            if let BumpTarget::User { keep, .. } = &mut repeated.target {
                *keep = None;
            }
            safe(acknowledged(&follower.bump(&repeated).await?))?;
        } else if let BumpTarget::User { user, .. } = &request.target {
            raise_user(follower, user, bumped.epochs, request.now).await?;
        } else if let Some(global) = bumped.epochs.global {
            raise_global(follower, global, request.now).await?;
        }
        match &bumped.kept {
            Some(kept) => self.confirm_follower(kept, request.now).await,
            None => Ok(()),
        }
    }

    pub(super) async fn purge_both(&self, request: &Purge) -> Result<Purged> {
        let cleans_up = matches!(request.scope, PurgeScope::EndedBefore(_));
        if cleans_up && !self.config.clean_up {
            return Ok(Purged::default());
        }
        if cleans_up && self.falls_back() {
            return self.clean_up_from_old(request).await;
        }
        let old = self.old.purge(request).await;
        let mut new = self.new.purge(request).await;
        if self.config.lead != Lead::Old && !cleans_up {
            // What was just being written along to the old storage when it was removed there.
            if let Err(error) = self.old.purge(request).await {
                new = new.and(Err(unconfirmed("purge", error)));
            }
        }
        let (answer, other) = if self.config.lead == Lead::Old { (old, new) } else { (new, old) };
        let mut answer = answer?;
        let other = other.map_err(|error| unconfirmed("purge", error))?;
        if self.falls_back() {
            let known: Vec<_> = answer.sessions.iter().map(|ended| ended.session.id).collect();
            answer.sessions.extend(other.sessions.into_iter().filter(|ended| !known.contains(&ended.session.id)));
        }
        answer.more |= other.more;
        Ok(answer)
    }

    /// Cleans up where the old storage answers for the new: what goes goes from the old one first, or it would be fetched again.
    async fn clean_up_from_old(&self, request: &Purge) -> Result<Purged> {
        let purged = self.old.purge(request).await?;
        let keys: Vec<SessionKey> = purged.sessions.iter().map(|ended| ended.session.key()).collect();
        let live = if self.new.capabilities().epochs { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED };
        for snapshot in self.new.read_many(&keys, Consistency::Latest).await?.into_iter().flatten() {
            // Activity that was not written along may keep it alive here.
            if !snapshot.state(request.now, live).is_live() {
                self.new.purge(&Purge::new(PurgeScope::One(snapshot.key()), 1, request.now)).await?;
            }
        }
        Ok(purged)
    }
}

/// The sessions that a revocation is known to be about.
fn keys_of(request: &Revoke, ended: &Revoked) -> Vec<SessionKey> {
    match &request.target {
        // It may have ended by an earlier call that was not confirmed.
        RevokeTarget::One { key, .. } if ended.sessions.is_empty() => vec![*key],
        _ => ended.sessions.iter().map(|ended| ended.session.key()).collect(),
    }
}
