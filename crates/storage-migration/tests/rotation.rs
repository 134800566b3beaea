//! Raised epochs move with the sessions: no rotation is lost by a copy, by a node that comes late, or by two nodes at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::sync::Arc;

use lab::{LEADS, inhabited, over, side};
use session_manager_core::storage::RevokeTarget;
use session_manager_core::{SessionStorage, State};
use session_manager_storage_migration::{CopyOptions, Lead, copy};
use session_manager_testkit::fault::Method;
use session_manager_testkit::user;

#[tokio::test]
async fn a_rotation_after_the_first_copy_comes_with_the_second() {
    for of_everybody in [false, true] {
        let (old, new) = (side(), side());
        let (before, all) = inhabited(&old).await;
        let options = CopyOptions::new().clock(before.clock());
        copy(&old, &new, &options, &mut |_| {}).await.unwrap();
        // By a node that does not write both yet. No row changes.
        if of_everybody {
            before.bump_global(0).await;
        } else {
            before.bump_user(&user("alice"), None).await;
            before.bump_user(&user("alice"), None).await;
        }
        assert_eq!(copy(&old, &new, &options, &mut |_| {}).await.unwrap().written, 0, "the rows are there");
        let moved = over(&old, &new, Lead::New);
        moved.fixture.clock().set(before.now());
        let [there, here] = moved.epochs(&user("alice")).await;
        assert_eq!(there, here);
        assert_eq!(moved.fixture.state(&all[3]).await, State::RotatedOut, "it does not live again");
        let carol = if of_everybody { State::RotatedOut } else { State::Live };
        assert_eq!(moved.fixture.state(&all[11]).await, carol);
    }
}

#[tokio::test]
async fn a_rotation_of_somebody_whom_the_other_storage_does_not_know_reaches_it() {
    for lead in LEADS {
        for by_revocation in [false, true] {
            let (old, new) = (side(), side());
            let (before, _) = inhabited(&old).await;
            let lab = over(&old, &new, lead);
            lab.fixture.clock().set(before.now());
            let alice = user("alice");
            if by_revocation {
                lab.fixture.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await;
            } else {
                lab.fixture.bump_user(&alice, None).await;
            }
            let [there, here] = lab.epochs(&alice).await;
            assert_eq!((there.user, there.user.map(|epoch| epoch.version)), (here.user, Some(3)), "{lead:?}");
        }
        let (old, new) = (side(), side());
        let (before, _) = inhabited(&old).await;
        let lab = over(&old, &new, lead);
        lab.fixture.clock().set(before.now());
        let raised = lab.fixture.bump_global(60_000).await.epochs.global;
        for epochs in lab.epochs(&user("alice")).await {
            assert_eq!(epochs.global, raised, "{lead:?}");
        }
    }
}

#[tokio::test]
async fn a_rotation_while_a_page_is_copied_is_not_lost() {
    let (old, new) = (side(), side());
    let (before, _) = inhabited(&old).await;
    let page = old.scan().unwrap().scan(None, 200).await.unwrap().sessions;
    let first = page[0].session.user_id.clone();
    let one = page.iter().rfind(|one| one.session.user_id != first && one.revocation().is_none()).unwrap().clone();
    let lab = Arc::new(over(&old, &new, Lead::Old));
    lab.fixture.clock().set(before.now());
    // The page is read, and its first session's second look is held: the others are still to be written.
    let mut held = old.inner().pause_next(Method::Read);
    let copying = tokio::spawn({
        let (old, new, clock) = (Arc::clone(&old), Arc::clone(&new), before.clock());
        async move {
            let options = CopyOptions::new().parallel(1).clock(clock);
            copy(&old, &new, &options, &mut |_| {}).await.unwrap()
        }
    });
    held.reached().await;
    lab.fixture.bump_user(&one.session.user_id, None).await;
    lab.fixture.bump_global(0).await;
    held.release();
    copying.await.unwrap();
    let [there, here] = lab.epochs(&one.session.user_id).await;
    assert_eq!(there, here);
    assert_eq!(lab.states(&one).await, [Some(State::RotatedOut); 2]);
}

#[tokio::test]
async fn two_nodes_that_make_a_missing_epoch_at_once_undo_no_rotation() {
    let (old, new) = (side(), side());
    let (before, _) = inhabited(&old).await;
    let (here, there) = (Arc::new(over(&old, &new, Lead::New)), over(&old, &new, Lead::New));
    here.fixture.clock().set(before.now());
    there.fixture.clock().set(before.now());
    let alice = user("alice");
    // The new storage knows everybody's epoch, and not yet alice's.
    there.fixture.login(&user("dave")).await;
    // One node has looked for it, was told that there is none, and is about to make it.
    let [mut first, mut second, mut last] = [(); 3].map(|()| new.inner().pause_next(Method::Epochs));
    let late = tokio::spawn({
        let (here, alice) = (Arc::clone(&here), alice.clone());
        async move { here.fixture.login(&alice).await }
    });
    first.reached().await;
    first.release();
    second.reached().await;
    second.release();
    last.reached().await;
    // Meanwhile the other makes it, signs alice in, and ends that session by another rotation.
    let one = there.fixture.login(&alice).await;
    there.fixture.bump_user(&alice, None).await;
    assert_eq!(there.states(&one).await, [Some(State::RotatedOut); 2]);
    last.release();
    let two = late.await.unwrap();
    assert_eq!(there.states(&one).await, [Some(State::RotatedOut); 2], "the late node begins nothing anew");
    assert_eq!(there.states(&two).await, [Some(State::Live); 2]);
    let [in_old, in_new] = there.epochs(&alice).await;
    assert_eq!(in_old, in_new);
}
