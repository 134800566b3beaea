//! Two storages written as one: they stay equal, ends reach both, and nothing that ended comes back by moving.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::sync::Arc;

use lab::{LEADS, inhabited, lab, over, side};
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, OnLimit, OnceKey, Purge, PurgeScope, RevokeTarget, Revoked, SessionPatch, Update,
};
use session_manager_core::{ErrorKind, SessionStorage, State};
use session_manager_storage_migration::{DualConfig, DualStorage, Lead};
use session_manager_testkit::fault::{Effect, Method};
use session_manager_testkit::{ReferenceStorage, user};

#[tokio::test]
async fn the_epochs_stay_in_step_whatever_fails_or_comes_between() {
    for lead in LEADS {
        let lab = Arc::new(lab(lead));
        let alice = user("alice");
        let target = RevokeTarget::User { user: alice.clone(), except: None };
        lab.fixture.login(&alice).await;
        let (leader, follower) = if lead == Lead::Old { (&lab.old, &lab.new) } else { (&lab.new, &lab.old) };
        for (failing, method) in [(leader, Method::Revoke), (follower, Method::Bump)] {
            failing.fail_next(method, Effect::Done);
            let revoked = lab.dual.revoke(&lab.revoke_of(target.clone())).await;
            assert!(revoked.is_err() || revoked.unwrap().unconfirmed, "{lead:?} {method:?}");
            lab.fixture.revoke(target.clone()).await;
            let [old, new] = lab.epochs(&alice).await;
            assert_eq!(old, new, "{lead:?}");
        }
        // Another session of theirs is written along between the two halves, and brings the raised epoch with it.
        let one = lab.fixture.login(&alice).await;
        let mut held = leader.inner().pause_next(Method::Revoke);
        let revoking = tokio::spawn({
            let (lab, target) = (Arc::clone(&lab), target.clone());
            async move { lab.fixture.revoke(target).await }
        });
        held.reached().await;
        let two = lab.fixture.login(&alice).await;
        held.release();
        revoking.await.unwrap();
        let [old, new] = lab.epochs(&alice).await;
        assert_eq!(old, new, "{lead:?}");
        assert_eq!(lab.states(&one).await, [Some(State::Revoked); 2]);
        let [old, new] = lab.states(&two).await;
        assert_eq!(old, new, "{lead:?}: alive in both or in none");
        let three = lab.fixture.login(&alice).await;
        assert_eq!(lab.states(&three).await, [Some(State::Live); 2], "{lead:?}");
    }
}

#[tokio::test]
async fn both_hold_the_same_after_every_kind_of_change() {
    for lead in LEADS {
        let lab = lab(lead);
        let (dual, alice) = (&lab.fixture, user("alice"));
        let one = dual.store(dual.session(&alice).with_everything()).await;
        let other = dual.login(&alice).await;
        let same = async |what: &str| {
            for snapshot in [&one, &other] {
                let [old, new] = lab.in_both(snapshot).await;
                assert!(old.is_some() && old == new, "{lead:?} after {what}: {old:#?} {new:#?}");
            }
        };
        same("insert").await;
        dual.tick(1_000);
        dual.advance(&one, 1).await;
        same("advance").await;
        let mut patch = SessionPatch::new();
        (patch.trust, patch.raise_floor) = (Some((true, None)), true);
        dual.update(&dual.reread(&one).await, patch).await;
        same("update").await;
        dual.tick(1_000);
        dual.touch(&other).await;
        same("touch").await;
        dual.bump_user(&alice, Some(one.session.id)).await;
        same("bump").await;
        dual.bump_global(10_000).await;
        dual.bump_global(10_000).await;
        same("global").await;
        dual.login_within(&alice, 1, OnLimit::EvictOldest).await;
        same("eviction").await;
        dual.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await;
        same("revocation").await;
        let mut anew = dual.bump_of(BumpTarget::User { user: alice.clone(), keep: None });
        anew.new_incarnation = true;
        lab.dual.bump(&anew).await.unwrap();
        same("new incarnation").await;
        let last = dual.login(&alice).await;
        assert_eq!(lab.states(&last).await, [Some(State::Live); 2]);
        let purge = Purge::new(PurgeScope::User(alice), 100, dual.now());
        lab.dual.purge(&purge).await.unwrap();
        assert_eq!(lab.states(&last).await, [None, None]);
        assert_eq!((lab.dual.stats().lagging, lab.dual.stats().failed), (0, 0));
    }
}

#[tokio::test]
async fn what_the_new_one_lacks_is_fetched_and_counts() {
    let (old, new) = (side(), side());
    let (before, all) = inhabited(&old).await;
    let lab = over(&old, &new, Lead::NewThenOld);
    lab.fixture.clock().set(before.now());
    let dual = &lab.fixture;
    assert!(lab.dual.try_read(&all[3].key()).is_none(), "not without waiting");
    assert_eq!(dual.state(&all[3]).await, State::Live);
    assert_eq!(lab.states(&all[3]).await, [Some(State::Live); 2]);
    // Alice has three sessions that a raised epoch ended, and this one; a limit of one counts it though the others were never fetched.
    let carol = user("carol");
    dual.login_within(&carol, 1, OnLimit::EvictOldest).await;
    assert_eq!(dual.live_ids(&carol).await.len(), 1);
    assert_eq!(lab.states(&all[11]).await, [Some(State::Revoked); 2]);
    // Bob's are ended before anybody asked the new storage for them.
    let bob = dual.login(&user("bob")).await;
    assert_eq!(dual.stored(&user("bob")).await.len(), 5);
    let epochs = (lab.old.epochs(Some(&user("bob"))).await.unwrap(), lab.new.epochs(Some(&user("bob"))).await.unwrap());
    assert_eq!(epochs.0, epochs.1);
    dual.bump_global(0).await;
    assert_eq!(lab.states(&bob).await, [Some(State::RotatedOut); 2]);
    assert_eq!(lab.dual.stats().lagging, 0);
}

#[tokio::test]
async fn a_session_that_ends_only_in_the_old_one_is_reported() {
    let (old, new) = (side(), side());
    let (before, all) = inhabited(&old).await;
    let lab = over(&old, &new, Lead::NewThenOld);
    lab.fixture.clock().set(before.now());
    let target = RevokeTarget::One { key: all[3].key(), owner: Some(user("alice")) };
    let revoked = lab.fixture.revoke(target.clone()).await;
    assert_eq!(revoked.sessions.len(), 1);
    assert_eq!(lab.fixture.revoke(target).await.already_ended, 1);
    assert_eq!(lab.states(&all[3]).await, [Some(State::Revoked); 2]);
    let elsewhere = RevokeTarget::One { key: all[11].key(), owner: Some(user("mallory")) };
    assert_eq!(lab.fixture.revoke(elsewhere).await, Revoked::default());
}

#[tokio::test]
async fn a_late_write_along_never_revives_in_the_new_one() {
    let (old, new) = (side(), side());
    let (before, all) = inhabited(&old).await;
    let lab = Arc::new(over(&old, &new, Lead::Old));
    lab.fixture.clock().set(before.now());
    // A refresh has advanced the old storage and is held before it writes along; meanwhile the session is revoked in both.
    let one = all[3].clone();
    let current = lab.fixture.reread(&one).await.control.generation;
    let mut held = old.inner().pause_next(Method::Advance);
    let refreshing = tokio::spawn({
        let (lab, one) = (Arc::clone(&lab), one.clone());
        async move { lab.fixture.advance(&one, current).await }
    });
    held.reached().await;
    lab.fixture.logout(&one).await;
    held.release();
    refreshing.await.unwrap();
    assert_eq!(lab.states(&one).await, [Some(State::Revoked); 2]);

    // The same with a removal, of which no record stays.
    let two = all[11].clone();
    let current = lab.fixture.reread(&two).await.control.generation;
    let mut held = old.inner().pause_next(Method::Advance);
    let refreshing = tokio::spawn({
        let (lab, two) = (Arc::clone(&lab), two.clone());
        async move { lab.fixture.advance(&two, current).await }
    });
    held.reached().await;
    let purge = Purge::new(PurgeScope::User(user("carol")), 100, lab.fixture.now());
    lab.dual.purge(&purge).await.unwrap();
    held.release();
    refreshing.await.unwrap();
    assert_eq!(lab.states(&two).await, [None, None]);
}

#[tokio::test]
async fn an_end_that_one_of_them_does_not_have_is_not_acknowledged() {
    for lead in LEADS {
        for fails_old in [true, false] {
            let lab = lab(lead);
            let alice = user("alice");
            let failing = if fails_old { &lab.old } else { &lab.new };
            let (one, two) = (lab.fixture.login(&alice).await, lab.fixture.login(&alice).await);
            let fails_leader = fails_old == (lead == Lead::Old);
            let expected = if fails_leader { ErrorKind::Unavailable } else { ErrorKind::Unconfirmed };

            failing.fail_next(Method::Revoke, Effect::Nothing);
            let revoke = lab.revoke_of(RevokeTarget::One { key: one.key(), owner: None });
            // Where the leader has made it, it is an answer; otherwise the leader's error.
            let revoked = lab.dual.revoke(&revoke).await;
            assert_eq!(revoked.is_err(), fails_leader, "{lead:?} {fails_old}");
            assert!(revoked.is_err() || revoked.unwrap().unconfirmed, "{lead:?} {fails_old}");
            let states = lab.states(&one).await;
            assert!(states.contains(&Some(State::Revoked)), "dead where it could be: {states:?}");
            assert!(!lab.dual.revoke(&revoke).await.unwrap().unconfirmed);
            assert_eq!(lab.states(&one).await, [Some(State::Revoked); 2], "repeating it is the cure");

            failing.fail_next(Method::Bump, Effect::Nothing);
            let bump = Bump::new(
                BumpTarget::User { user: alice.clone(), keep: None },
                lab.fixture.incarnations(),
                lab.fixture.now(),
            );
            match lab.dual.bump(&bump).await {
                Ok(BumpOutcome::Bumped(bumped)) => assert!(bumped.unconfirmed && !fails_leader, "{lead:?} {fails_old}"),
                outcome => assert!(outcome.is_err() && fails_leader, "{lead:?} {fails_old} {outcome:?}"),
            }
            lab.dual.bump(&bump).await.unwrap();
            assert_eq!(lab.states(&two).await, [Some(State::RotatedOut); 2]);

            let three = lab.fixture.login(&alice).await;
            failing.fail_next(Method::Purge, Effect::Nothing);
            let purge = Purge::new(PurgeScope::One(three.key()), 1, lab.fixture.now());
            assert_eq!(lab.dual.purge(&purge).await.unwrap_err().kind(), expected, "{lead:?} {fails_old}");
            lab.dual.purge(&purge).await.unwrap();
            assert_eq!(lab.states(&three).await, [None, None]);
        }
    }
}

#[tokio::test]
async fn a_raised_floor_is_confirmed_and_a_refresh_is_not() {
    for lead in LEADS {
        let lab = lab(lead);
        let one = lab.fixture.login(&user("alice")).await;
        let follower = if lead == Lead::Old { &lab.new } else { &lab.old };
        lab.fixture.tick(1_000);
        follower.outage();
        if lead != Lead::NewThenOld {
            lab.fixture.advance(&one, 1).await;
            assert_eq!(lab.dual.stats().lagging, 1, "it is done, and waits to be written along");
        }
        let mut patch = SessionPatch::new();
        patch.raise_floor = true;
        let current = lab.fixture.reread(&one).await;
        let update = Update::new(current.key(), current.control.version, patch, lab.fixture.now());
        assert_eq!(lab.dual.update(&update).await.unwrap_err().kind(), ErrorKind::Unconfirmed, "{lead:?}");
        assert_eq!(
            lab.dual
                .remember_once(&OnceKey::parse("x").unwrap(), lab.fixture.now(), lab.fixture.now(),)
                .await
                .unwrap_err()
                .kind(),
            ErrorKind::Unavailable
        );
        assert!(!lab.dual.check(lab.fixture.now()).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn what_could_not_be_written_along_is_repaired() {
    let lab = lab(Lead::Old);
    let one = lab.fixture.login(&user("alice")).await;
    lab.fixture.tick(1_000);
    // The look after the put fails, so that nobody knows whether it arrived.
    lab.old.fail_nth(Method::Read, Effect::Nothing, 1);
    lab.fixture.advance(&one, 1).await;
    assert_eq!((lab.dual.stats().lagging, lab.dual.stats().failed), (1, 1));
    assert!(!lab.dual.check(lab.fixture.now()).await.unwrap().findings.is_empty());
    assert_eq!(lab.dual.repair().await.unwrap(), 0);
    let [old, new] = lab.in_both(&one).await;
    assert_eq!(old, new);
}

#[tokio::test]
async fn storages_that_do_not_fit_are_refused() {
    let with: Arc<dyn SessionStorage> = Arc::new(ReferenceStorage::new());
    let without: Arc<dyn SessionStorage> = Arc::new(ReferenceStorage::without_epochs());
    let error = DualStorage::new(with, without, DualConfig::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn nothing_is_cleaned_up_while_sessions_move() {
    let lab = lab(Lead::Old);
    let one = lab.fixture.login(&user("alice")).await;
    lab.fixture.logout(&one).await;
    lab.fixture.tick(1_000);
    let purge = Purge::new(PurgeScope::EndedBefore(lab.fixture.now()), 100, lab.fixture.now());
    assert!(lab.dual.purge(&purge).await.unwrap().sessions.is_empty());
    assert!(lab.dual.capabilities().native_expiry, "and it says so");
    assert_eq!(lab.states(&one).await, [Some(State::Revoked); 2]);
}
