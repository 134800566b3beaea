//! Sessions that ended in each way there is, some that live, and what is asked of them after a loss.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use session_manager_core::storage::{
    AdvanceOutcome, Consistency, InsertOutcome, Notice, OnLimit, OnceKey, Phase, Query, RevokeTarget, SessionPatch,
    Subject, Touch, UpdateOutcome,
};
use session_manager_core::{SessionId, Snapshot, State, UserId};

use crate::conformance::Ability;
use crate::fixture::{Fixture, user};
use crate::session::external;

/// Each has a user of their own, so that nothing else ends or hides what is looked at.
pub(super) struct Scene {
    lab: Fixture,
    ended: Vec<Snapshot>,
    /// They live, and their tokens below this generation are worth nothing.
    alive: Vec<(Snapshot, u64)>,
}

impl Scene {
    /// Everything that can happen to a session happens to one; the user is called by what it is.
    pub(super) async fn play(lab: Fixture) -> Self {
        let epochs = Ability::Epochs.of(lab.storage());
        let mut scene = Self { lab, ended: Vec::new(), alive: Vec::new() };
        let lab = scene.lab.clone();
        if epochs {
            scene.ended.push(lab.login(&user("rotated out with everybody")).await);
            lab.tick(1);
            lab.bump_global(0).await;
            scene.ended.push(lab.login(&user("rotated out with the user's")).await);
            lab.bump_user(&user("rotated out with the user's"), None).await;
        }
        scene.ended.push(lab.login(&user("ended with all of the user's")).await);
        lab.revoke(RevokeTarget::User { user: user("ended with all of the user's"), except: None }).await;
        let signed_out = lab.login(&user("signed out")).await;
        lab.logout(&signed_out).await;
        scene.ended.push(signed_out);
        let named = lab.session(&user("with a name elsewhere")).external("sid");
        if Ability::External.of(lab.storage()) {
            scene.ended.push(lab.store(named).await);
            lab.revoke(RevokeTarget::External(external("sid"))).await;
        }
        scene.ended.push(lab.store(lab.session(&user("timed out")).idle(Some(Duration::from_secs(1)))).await);
        lab.tick(1_000);
        scene.some_stay(epochs).await;
        scene.leave_traces().await;
        for snapshot in &scene.ended {
            scene.is_dead(&lab.reread(snapshot).await, "before anything is lost, one");
        }
        for (snapshot, _) in &scene.alive {
            assert_eq!(lab.state(snapshot).await, State::Live, "before anything is lost");
        }
        scene
    }

    /// Sessions that ended beside one that lives on.
    async fn some_stay(&mut self, epochs: bool) {
        let (lab, mut living) = (self.lab.clone(), Vec::new());
        let excepting = user("ended beside the excepted one");
        self.ended.push(lab.login(&excepting).await);
        let survivor = lab.login(&excepting).await;
        lab.revoke(RevokeTarget::User { user: excepting, except: Some(survivor.session.id) }).await;
        living.push(survivor);
        if Ability::Cap.of(lab.storage()) {
            let limited = user("evicted by the limit");
            self.ended.push(lab.login(&limited).await);
            lab.tick(1);
            let within = lab.login_within(&limited, 1, OnLimit::EvictOldest).await;
            let InsertOutcome::Inserted { snapshot, .. } = within else { panic!("{within:?}") };
            living.push(snapshot);
        }
        if epochs {
            let keeping = user("rotated out beside the kept one");
            self.ended.push(lab.login(&keeping).await);
            let kept = lab.login(&keeping).await;
            lab.bump_user(&keeping, Some(kept.session.id)).await;
            living.push(kept);
        }
        for snapshot in living {
            self.use_up(snapshot).await;
        }
    }

    /// Two refreshes and the grace after them: the session's first token is a replay, and so is its second.
    async fn use_up(&mut self, snapshot: Snapshot) {
        let mut generation = self.lab.reread(&snapshot).await.control.generation;
        for _ in 0..2 {
            assert!(matches!(self.lab.advance(&snapshot, generation).await, AdvanceOutcome::Advanced(_)));
            generation += 1;
        }
        self.lab.tick(60_000);
        self.alive.push((snapshot, generation));
    }

    /// A value that is remembered, and a notice.
    async fn leave_traces(&self) {
        let (storage, now) = (self.lab.storage(), self.lab.now());
        if Ability::RememberOnce.of(storage) {
            let key = OnceKey::parse("once").expect("a key");
            assert!(storage.remember_once(&key, now, now + Duration::from_hours(1)).await.unwrap());
        }
        if let Some(feed) = storage.feed() {
            let subject = Subject::Session(self.ended[0].session.id);
            feed.announce(&[Notice::new(subject, Phase::Done, now)]).await.unwrap();
        }
    }

    /// Whatever was lost, and whatever happens after it: what ended stays ended, and signing in works.
    pub(super) async fn nothing_revives(mut self, when: &str) {
        self.nobody_is_back(when).await;
        let mut fresh = Vec::new();
        for user in self.users() {
            fresh.push(self.signs_in(&user, when).await);
        }
        self.nobody_is_back(&format!("{when}, after sign-ins")).await;
        if Ability::Epochs.of(self.lab.storage()) {
            for snapshot in &fresh {
                self.lab.bump_user(&snapshot.session.user_id, Some(snapshot.session.id)).await;
                assert_eq!(self.lab.state(snapshot).await, State::Live, "{when}: the kept one stays");
            }
            // All that lived before is rotated out now, and must stay so.
            self.ended.extend(std::mem::take(&mut self.alive).into_iter().map(|(snapshot, _)| snapshot));
            self.nobody_is_back(&format!("{when}, after rotations of the users")).await;
            self.lab.bump_global(0).await;
        } else {
            for snapshot in &fresh {
                self.lab.logout(snapshot).await;
            }
        }
        self.ended.extend(fresh);
        self.nobody_is_back(&format!("{when}, in the end")).await;
    }

    fn users(&self) -> BTreeSet<UserId> {
        let alive = self.alive.iter().map(|(snapshot, _)| snapshot);
        self.ended.iter().chain(alive).map(|snapshot| snapshot.session.user_id.clone()).collect()
    }

    async fn signs_in(&self, user: &UserId, when: &str) -> Snapshot {
        let snapshot = self.lab.login(user).await;
        assert_eq!(self.lab.state(&snapshot).await, State::Live, "{when}: {user:?} can sign in");
        assert!(matches!(self.lab.advance(&snapshot, 1).await, AdvanceOutcome::Advanced(_)), "{when}: and refresh");
        snapshot
    }

    async fn nobody_is_back(&self, when: &str) {
        let one = async |snapshot: &Snapshot| {
            let at = format!("{when}: what was {}", snapshot.session.user_id.as_str());
            self.is_not_seen(snapshot, &at).await;
            self.is_not_used(snapshot, &at).await;
            if let Some(found) = self.lab.find(snapshot.key()).await {
                self.is_dead(&found, &format!("{at}, after all that was tried,"));
            }
        };
        join_all(self.ended.iter().map(one)).await;
        let listed = async |user: UserId| {
            let live = self.lab.live_ids(&user).await;
            let counted = self.lab.storage().count(&Query::of(user, self.lab.now())).await.unwrap();
            let same = usize::try_from(counted.value).unwrap() == live.len();
            assert!(same || !counted.exact, "{when}: {counted:?} where {} are listed", live.len());
            let back = self.ended.iter().find(|snapshot| live.contains(&snapshot.session.id));
            assert!(back.is_none(), "{when}: {back:?} is listed as live");
        };
        join_all(self.users().into_iter().map(listed)).await;
        for (snapshot, current) in &self.alive {
            for presented in 1..*current {
                self.is_refused(snapshot, presented, &format!("{when}: a used token of a session that lives")).await;
            }
        }
    }

    /// By its key and by its id alone, in every way of reading.
    async fn is_not_seen(&self, snapshot: &Snapshot, at: &str) {
        let (storage, key, alone) = (self.lab.storage(), snapshot.key(), SessionId::into(snapshot.session.id));
        let mut seen = vec![storage.try_read(&key).flatten()];
        seen.push(storage.read(&key, Consistency::Latest).await.unwrap());
        seen.push(storage.read(&alone, Consistency::Eventual).await.unwrap());
        seen.extend(storage.read_many(&[key], Consistency::Eventual).await.unwrap());
        for found in seen.into_iter().flatten() {
            self.is_dead(&found, at);
        }
    }

    fn is_dead(&self, found: &Snapshot, at: &str) {
        assert!(!found.state(self.lab.now(), self.lab.live()).is_live(), "{at} is live: {found:?}");
    }

    async fn is_not_used(&self, snapshot: &Snapshot, at: &str) {
        let (storage, now) = (self.lab.storage(), self.lab.now());
        let found = self.lab.find(snapshot.key()).await;
        let generation = found.as_ref().map_or(1, |found| found.control.generation);
        for presented in generation.saturating_sub(1)..=generation + 1 {
            self.is_refused(snapshot, presented, at).await;
        }
        let outcome = self.lab.update(found.as_ref().unwrap_or(snapshot), SessionPatch::new()).await;
        assert!(!matches!(outcome, UpdateOutcome::Updated(_)), "{at} was updated: {outcome:?}");
        storage.touch(&[Touch::new(snapshot.key(), now, now + Duration::from_hours(1))], now).await.unwrap();
    }

    async fn is_refused(&self, snapshot: &Snapshot, presented: u64, at: &str) {
        let outcome = self.lab.advance(snapshot, presented).await;
        let accepted =
            matches!(outcome, AdvanceOutcome::Advanced(_) | AdvanceOutcome::Converge(_) | AdvanceOutcome::Ahead(_));
        assert!(!accepted, "{at} was refreshed with {presented}: {outcome:?}");
    }
}
