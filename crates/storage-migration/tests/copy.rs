//! Copying beside the traffic: complete, resumable, at a rate, and never a way back to life.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lab::{LEADS, inhabited, over, side};
use session_manager_core::storage::{AdvanceOutcome, Consistency, RevokeTarget, SessionFilter};
use session_manager_core::{ErrorKind, LivePolicy, SessionStorage, State};
use session_manager_storage_memory::MemoryStorage;
use session_manager_storage_migration::{CopyOptions, CopyProgress, Lead, copy};
use session_manager_testkit::fault::{Effect, Method};
use session_manager_testkit::user;

#[tokio::test]
async fn an_application_moves_and_nobody_is_signed_out() {
    let (old, new) = (side(), side());
    let (before, all) = inhabited(&old).await;
    let mut expected = Vec::new();
    for snapshot in &all {
        expected.push(before.state(snapshot).await);
    }
    assert!(expected.contains(&State::Live) && expected.contains(&State::RotatedOut));
    let dual = over(&old, &new, Lead::Old);
    dual.fixture.clock().set(before.now());
    let during = dual.fixture.login(&user("dave")).await;
    let done = dual.copy().await;
    assert_eq!((done.scanned, done.written, done.kept, done.gone), (13, 12, 1, 0));
    assert_eq!(dual.copy().await.written, 0, "a second copy finds nothing to do");
    for lead in [Lead::NewThenOld, Lead::New, Lead::Old] {
        let led = dual.led_by(lead);
        for (snapshot, expected) in all.iter().zip(&expected) {
            assert_eq!(led.fixture.state(snapshot).await, *expected, "{lead:?}");
            let [old, new] = led.in_both(snapshot).await;
            assert_eq!(old, new, "{lead:?}");
        }
        assert_eq!(led.fixture.state(&during).await, State::Live);
        // The refresh tokens of before work, and only once.
        led.fixture.tick(5_000);
        let current = led.fixture.reread(&all[3]).await.control.generation;
        let outcome = led.fixture.advance(&all[3], current).await;
        assert!(matches!(outcome, AdvanceOutcome::Advanced(_)), "{lead:?} {outcome:?}");
        dual.fixture.clock().set(led.fixture.now());
        expected[3] = State::Live;
    }
}

#[tokio::test]
async fn revoked_while_it_is_copied_it_is_dead_in_both() {
    for lead in LEADS {
        for method in [Method::Read, Method::Revoke] {
            let (old, new) = (side(), side());
            let (before, all) = inhabited(&old).await;
            let lab = Arc::new(over(&old, &new, lead));
            lab.fixture.clock().set(before.now());
            let one = all[3].clone();
            let done = if method == Method::Read {
                // The copy has scanned and put; its second look is held while the session is revoked.
                let mut held = old.inner().pause_next(Method::Read);
                let copying = tokio::spawn({
                    let lab = Arc::clone(&lab);
                    async move { lab.copy().await }
                });
                held.reached().await;
                for snapshot in &all {
                    lab.fixture.logout(snapshot).await;
                }
                held.release();
                copying.await.unwrap()
            } else {
                // The revocation has been made in the old one and is held before the new one while everything is copied.
                let mut held = old.inner().pause_next(Method::Revoke);
                let revoking = tokio::spawn({
                    let (lab, one) = (Arc::clone(&lab), one.clone());
                    async move { lab.fixture.logout(&one).await }
                });
                held.reached().await;
                let done = lab.copy().await;
                held.release();
                revoking.await.unwrap();
                done
            };
            assert_eq!(done.scanned, 12);
            assert_eq!(lab.states(&one).await, [Some(State::Revoked); 2], "{lead:?} {method:?}");
        }
    }
}

#[tokio::test]
async fn an_interrupted_copy_goes_on_where_it_was() {
    let (old, new) = (side(), side());
    let (before, all) = inhabited(&old).await;
    let options = CopyOptions::new().page(5).parallel(3).clock(before.clock());
    let mut last = None;
    old.fail_nth(Method::Read, Effect::Nothing, 8);
    let error = copy(&old, &new, &options, &mut |progress| last = Some(progress.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let last = last.expect("one page was done");
    assert_eq!((last.scanned, last.cursor.is_some()), (5, true));
    let done = copy(&old, &new, &options.clone().resume(last.cursor), &mut |_| {}).await.unwrap();
    assert_eq!((done.scanned, done.cursor), (7, None));
    for snapshot in &all {
        let key = snapshot.key();
        assert_eq!(
            old.read(&key, Consistency::Latest).await.unwrap(),
            new.read(&key, Consistency::Latest).await.unwrap()
        );
    }
    // Activity since then has no version, and comes along all the same.
    before.tick(5_000);
    before.touch(&all[3]).await;
    let again = copy(&old, &new, &options, &mut |_| {}).await.unwrap();
    assert_eq!((again.written, again.kept), (0, 12));
    assert_eq!(new.read(&all[3].key(), Consistency::Latest).await.unwrap(), before.find(all[3].key()).await);
}

#[tokio::test]
async fn a_copy_keeps_to_its_rate() {
    let old = side();
    let (before, _) = inhabited(&old).await;
    let clock = before.clock();
    let options = CopyOptions::new().page(4).per_second(NonZeroU32::new(2)).clock(before.clock());
    let new = Arc::new(MemoryStorage::default());
    let pages = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let copying = tokio::spawn({
        let (new, pages) = (Arc::clone(&new), Arc::clone(&pages));
        async move {
            let count = &mut |_: &CopyProgress| {
                pages.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            };
            copy(&old, &new, &options, count).await.unwrap()
        }
    });
    for expected in 1..=3 {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pages.load(std::sync::atomic::Ordering::SeqCst), expected);
        clock.advance(Duration::from_secs(2));
    }
    assert_eq!(copying.await.unwrap().scanned, 12);
    assert_eq!(new.len(), 12);
}

#[tokio::test]
async fn what_changed_after_its_page_was_read_is_copied_as_it_is_now() {
    let (old, new) = (side(), side());
    let (before, _) = inhabited(&old).await;
    let page = old.scan().unwrap().scan(None, 200).await.unwrap().sessions;
    let (first, last) = (
        page[0].clone(),
        page.iter().rfind(|one| one.state(before.now(), LivePolicy::TRACKED).is_live()).unwrap().clone(),
    );
    assert_ne!(first.session.id, last.session.id);
    // The second look at the first is held. The last of the page ends meanwhile, by a node that does not write both.
    let mut held = old.inner().pause_next(Method::Read);
    let copying = tokio::spawn({
        let (old, new, clock) = (Arc::clone(&old), Arc::clone(&new), before.clock());
        async move {
            let options = CopyOptions::new().parallel(1).clock(clock);
            copy(&old, &new, &options, &mut |_| {}).await.unwrap()
        }
    });
    held.reached().await;
    let user = last.session.user_id.clone();
    before.revoke(RevokeTarget::Matching { user: Some(user), filter: SessionFilter::new() }).await;
    held.release();
    copying.await.unwrap();
    let found = [before.find(last.key()).await, new.read(&last.key(), Consistency::Latest).await.unwrap()];
    assert!(found[0].as_ref().is_some_and(|one| one.revocation().is_some()));
    assert_eq!(found[0], found[1]);
}
