//! What the storage that does not lead has or has not: confirmed only when it is there, brought over later where it is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::sync::Arc;

use lab::{Lab, lab, over, side};
use session_manager_core::storage::{SessionPatch, Update, UpdateOutcome};
use session_manager_core::{ErrorKind, Result, SessionStorage, Snapshot};
use session_manager_storage_migration::Lead;
use session_manager_testkit::fault::{Effect, Method};
use session_manager_testkit::user;

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
