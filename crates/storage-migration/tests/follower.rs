//! What the storage that does not lead has or has not: confirmed only when it is there, brought over later where it is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod doubtful;
mod lab;

use std::sync::Arc;

use doubtful::Doubtful;
use lab::{LEADS, Lab, lab, over, side};
use session_manager_core::storage::{
    BumpOutcome, BumpTarget, OnLimit, RevokeTarget, SessionFilter, SessionPatch, Update, UpdateOutcome,
};
use session_manager_core::{ErrorKind, Result, SessionStorage, Snapshot, State};
use session_manager_storage_migration::{DualConfig, DualStorage, Lead};
use session_manager_testkit::fault::{Effect, Method};
use session_manager_testkit::{Fixture, user};

async fn raise_floor(lab: &Lab, snapshot: &Snapshot) -> Result<UpdateOutcome> {
    let mut patch = SessionPatch::new();
    patch.raise_floor = true;
    let current = lab.fixture.reread(snapshot).await;
    lab.dual.update(&Update::new(current.key(), current.control.version, patch, lab.fixture.now())).await
}

fn floors(found: [Option<Snapshot>; 2]) -> [u64; 2] {
    found.map(|found| found.unwrap().control.floor)
}

#[tokio::test]
async fn a_raised_floor_that_the_other_storage_lacks_is_not_confirmed() {
    let (old, new) = (side(), side());
    let (by_old, by_new) = (over(&old, &new, Lead::Old), Arc::new(over(&old, &new, Lead::New)));
    let one = by_old.fixture.login(&user("alice")).await;
    // A node that is led by the new storage has named the device there, and is held before it writes that along: both storages are about
    // to have a second version of the session, each its own.
    let mut held = new.inner().pause_next(Method::Update);
    let naming = tokio::spawn({
        let (by_new, one) = (Arc::clone(&by_new), one.clone());
        async move {
            let mut patch = SessionPatch::new();
            patch.device_name = Some(Some("tablet".into()));
            by_new.fixture.update(&one, patch).await
        }
    });
    held.reached().await;
    let error = raise_floor(&by_old, &one).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "the new storage still takes the old tokens");
    assert_eq!(floors(by_old.in_both(&one).await), [3, 1]);
    held.release();
    naming.await.unwrap();
    raise_floor(&by_old, &one).await.unwrap();
    assert_eq!(floors(by_old.in_both(&one).await), [5, 5], "repeating it is the cure");
}

#[tokio::test]
async fn what_another_node_has_done_since_is_no_reason_for_doubt() {
    let (old, new) = (side(), side());
    let (here, there) = (Arc::new(over(&old, &new, Lead::Old)), over(&old, &new, Lead::Old));
    let one = here.fixture.login(&user("alice")).await;
    let mut held = old.inner().pause_next(Method::Update);
    let raising = tokio::spawn({
        let (here, one) = (Arc::clone(&here), one.clone());
        async move { raise_floor(&here, &one).await }
    });
    held.reached().await;
    there.fixture.advance(&one, 3).await;
    held.release();
    assert!(raising.await.unwrap().is_ok());
    assert_eq!(floors(here.in_both(&one).await), [3, 3]);
}

/// So many sessions that could not be written along.
async fn lagging(lab: &Lab, count: usize) -> Vec<Snapshot> {
    let mut all = Vec::new();
    for number in 0..count {
        let one = lab.fixture.login(&user(&format!("user {number}"))).await;
        // The look after the write fails, so that nobody knows whether it arrived.
        lab.old.fail_nth(Method::Read, Effect::Nothing, 1);
        lab.fixture.advance(&one, 1).await;
        all.push(one);
    }
    assert_eq!(lab.dual.stats().lagging, u64::try_from(count).unwrap());
    all
}

#[tokio::test]
async fn one_that_cannot_be_repaired_keeps_no_other_waiting() {
    let lab = lab(Lead::Old);
    lagging(&lab, 5).await;
    lab.old.fail_nth(Method::Read, Effect::Nothing, 1);
    assert_eq!(lab.dual.repair().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(lab.dual.stats().lagging, 1, "the others are through, and this one is not forgotten");
    assert_eq!(lab.dual.repair().await.unwrap(), 0);
}

#[tokio::test]
async fn what_fails_again_while_it_is_repaired_waits_on() {
    let lab = Arc::new(lab(Lead::Old));
    let one = lagging(&lab, 1).await.remove(0);
    let mut held = lab.old.inner().pause_next(Method::Read);
    let repairing = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.dual.repair().await.unwrap() }
    });
    held.reached().await;
    lab.old.fail_nth(Method::Read, Effect::Nothing, 1);
    lab.fixture.advance(&one, 2).await;
    held.release();
    assert_eq!(repairing.await.unwrap(), 1, "it was written as it stood before");

    // The same for a repair that is given up in the middle.
    let mut held = lab.old.inner().pause_next(Method::Read);
    let repairing = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.dual.repair().await }
    });
    held.reached().await;
    repairing.abort();
    assert!(repairing.await.unwrap_err().is_cancelled());
    assert_eq!(lab.dual.stats().lagging, 1);
}

fn bumped(outcome: BumpOutcome) -> session_manager_core::storage::Bumped {
    match outcome {
        BumpOutcome::Bumped(bumped) => bumped,
        other => panic!("expected a raised epoch, got {other:?}"),
    }
}

#[tokio::test]
async fn an_end_that_the_other_storage_lacks_is_told_and_brought_over_later() {
    for lead in LEADS {
        let lab = lab(lead);
        let alice = user("alice");
        let follower = if lead == Lead::Old { &lab.new } else { &lab.old };
        let (one, two) = (lab.fixture.login(&alice).await, lab.fixture.login(&alice).await);

        follower.fail_next(Method::Revoke, Effect::Nothing);
        let revoked = lab.fixture.logout(&one).await;
        assert_eq!((revoked.sessions.len(), revoked.unconfirmed), (1, true), "{lead:?}: what ended is to be announced");
        assert!(lab.states(&one).await.contains(&Some(State::Live)), "not everywhere yet");
        assert_eq!(lab.dual.stats().failed, 1);
        assert_eq!(lab.dual.repair().await.unwrap(), 0);
        assert_eq!(lab.states(&one).await, [Some(State::Revoked); 2], "{lead:?}: also if nobody repeats the call");

        follower.fail_next(Method::Bump, Effect::Nothing);
        let target = BumpTarget::User { user: alice.clone(), keep: Some(two.session.id) };
        let raised = bumped(lab.dual.bump(&lab.fixture.bump_of(target)).await.unwrap());
        assert_eq!((raised.applied, raised.unconfirmed), (true, true), "{lead:?}");
        assert_eq!(lab.dual.repair().await.unwrap(), 0);
        let [old, new] = lab.in_both(&two).await;
        assert_eq!(old, new, "{lead:?}: the kept session brings the epoch with it");
        assert_eq!(lab.states(&two).await, [Some(State::Live); 2]);
    }
}

#[tokio::test]
async fn the_doubt_of_either_storage_is_passed_on() {
    for lead in LEADS {
        for doubts_old in [true, false] {
            let (sure, doubtful) = (side(), Arc::new(Doubtful::default()));
            let (old, new): (Arc<dyn SessionStorage>, Arc<dyn SessionStorage>) =
                if doubts_old { (doubtful.clone(), sure) } else { (sure, doubtful.clone()) };
            let dual = Arc::new(DualStorage::new(old, new, DualConfig::new(lead)).unwrap());
            let lab = Fixture::new(dual);
            let alice = user("alice");
            let one = lab.login(&alice).await;
            lab.login(&alice).await;
            let lasting = [
                RevokeTarget::One { key: one.key(), owner: None },
                RevokeTarget::Matching { user: Some(alice.clone()), filter: SessionFilter::new() },
                RevokeTarget::User { user: alice.clone(), except: None },
            ];
            for target in lasting {
                doubtful.doubt(true);
                assert!(lab.revoke(target.clone()).await.unconfirmed, "{lead:?} {doubts_old} {target:?}");
                doubtful.doubt(false);
                assert!(!lab.revoke(target).await.unconfirmed, "{lead:?} {doubts_old}");
            }
            let targets = [
                BumpTarget::User { user: alice.clone(), keep: None },
                BumpTarget::Global { grace: std::time::Duration::ZERO },
            ];
            for target in targets {
                for anew in [false, true] {
                    let bump = || if anew { lab.bump_of(target.clone()).anew() } else { lab.bump_of(target.clone()) };
                    doubtful.doubt(true);
                    assert!(bumped(lab.storage().bump(&bump()).await.unwrap()).unconfirmed, "{lead:?} {target:?}");
                    doubtful.doubt(false);
                    assert!(!bumped(lab.storage().bump(&bump()).await.unwrap()).unconfirmed, "{lead:?} {target:?}");
                }
            }
            lab.login_within(&alice, 1, OnLimit::EvictOldest).await;
        }
    }
}
