//! Nodes with a shared cache: what they find there of each other, and what they do when it is out of reach.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;
mod shelf;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab::{Lab, MAX_AGE};
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Incarnations, OnLimit, Phase, Revoke, RevokeTarget,
};
use session_manager_core::storage::{Notice, Subject};
use session_manager_core::{
    Actor, ErrorKind, Incident, Operation, RevocationReason, SessionStorage, SharedCache, SharedSubject, Snapshot,
    State, Telemetry,
};
use session_manager_storage_tiered::TieredConfig;
use session_manager_testkit::fault::{CountingStorage, Effect, FailingStorage, Method, PausingStorage};
use session_manager_testkit::{ReferenceStorage, user};
use shelf::Shelf;
use tokio::task::yield_now;

/// A node that remembers nothing itself.
fn node<S: SessionStorage + 'static>(durable: &Arc<S>, shelf: &Arc<Shelf>) -> Lab {
    let config = TieredConfig::new().max_age(MAX_AGE).max_entries(0);
    Lab::built(durable, config, |tiered| tiered.with_shared(Arc::clone(shelf) as Arc<dyn SharedCache>))
}

async fn revoke(
    lab: &Lab,
    snapshot: &Snapshot,
) -> session_manager_core::Result<session_manager_core::storage::Revoked> {
    let target = RevokeTarget::One { key: snapshot.key(), owner: None };
    lab.tiered.revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, lab.now())).await
}

async fn login(lab: &Lab, shelf: &Shelf) -> Snapshot {
    let one = lab.login(&user("alice")).await;
    // A sign-in may have made room for itself: for a while nothing of the user is remembered.
    shelf.pass();
    one
}

#[tokio::test]
async fn what_one_node_has_read_the_others_find() {
    let durable = Arc::new(CountingStorage::new(ReferenceStorage::new()));
    let shelf = Arc::new(Shelf::default());
    let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
    let one = login(&here, &shelf).await;
    assert_eq!(here.eventual(&one).await, Some(one.clone()));
    assert_eq!(there.eventual(&one).await, Some(one.clone()));
    assert_eq!(durable.calls(Method::Read), 1);
    let (ours, theirs) = (here.tiered.stats(), there.tiered.stats());
    assert_eq!((ours.shared_misses, theirs.shared_hits, ours.entries + theirs.entries), (1, 1, 0));
    // Nobody's age is prolonged by having been handed on: 10 s after the read it is read again, also from a cache of this process.
    let both = Lab::built(&durable, TieredConfig::new().max_age(MAX_AGE), |tiered| {
        tiered.with_shared(Arc::clone(&shelf) as Arc<dyn SharedCache>)
    });
    both.tick(6_000);
    both.eventual(&one).await;
    assert_eq!((durable.calls(Method::Read), both.tiered.stats().entries), (1, 1));
    both.tick(3_999);
    both.eventual(&one).await;
    assert_eq!((durable.calls(Method::Read), both.tiered.stats().hits), (1, 1));
    both.tick(1);
    both.eventual(&one).await;
    assert_eq!(durable.calls(Method::Read), 2);
    // Without its user's name nobody knows which tombstones to look at, and what is absent is never remembered there.
    let by_id = session_manager_core::SessionKey::by_id(one.session.id);
    there.tiered.read(&by_id, session_manager_core::storage::Consistency::Eventual).await.unwrap();
    assert_eq!(durable.calls(Method::Read), 3);
    let nobody = here.session(&user("bob")).record().session.key();
    for _ in 0..2 {
        let absent = there.tiered.read(&nobody, session_manager_core::storage::Consistency::Eventual).await.unwrap();
        assert_eq!((absent, shelf.has(nobody.id)), (None, false));
    }
}

/// The barrier: one node reads, another revokes, and then the first fills.
async fn read_revoke_fill(shelf: Shelf) -> State {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let shelf = Arc::new(shelf);
    let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
    let one = login(&here, &shelf).await;
    let mut slow = durable.pause_next(Method::Read);
    let reader = there.reading(&one);
    slow.reached().await;
    here.logout(&one).await;
    slow.release();
    assert_eq!(reader.await.unwrap(), Some(one.clone()), "it ran beside the revocation");
    there.seen(&one).await
}

#[tokio::test]
async fn read_revoke_fill_never_revives() {
    assert_eq!(read_revoke_fill(Shelf::default()).await, State::Revoked);
    assert_eq!(
        read_revoke_fill(Shelf::credulous()).await,
        State::Live,
        "the barrier is one: it catches a broken cache"
    );
}

#[tokio::test]
async fn the_tombstone_stands_before_the_durable_storage_is_changed() {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let shelf = Arc::new(Shelf::default());
    let lab = node(&durable, &shelf);
    let one = login(&lab, &shelf).await;
    lab.seen(&one).await;
    assert!(shelf.has(one.session.id));
    let mut slow = durable.pause_next(Method::Revoke);
    let revoking = lab.revoking(&one);
    slow.reached().await;
    let life = shelf.tombstone(SharedSubject::Session(one.session.id)).expect("a tombstone");
    assert_eq!(life, MAX_AGE + 2 * Duration::from_secs(5), "it outlives every entry, and whoever was reading");
    assert!(!shelf.has(one.session.id));
    slow.release();
    revoking.await.unwrap();
    // A change that takes longer than that protects is buried again: whoever was reading at it may still come.
    let two = login(&lab, &shelf).await;
    for (takes, again) in [(10_000, false), (10_001, true)] {
        let mut slow = durable.pause_next(Method::Revoke);
        let revoking = lab.revoking(&two);
        slow.reached().await;
        shelf.pass();
        lab.tick(takes);
        slow.release();
        revoking.await.unwrap();
        assert_eq!(shelf.tombstone(SharedSubject::Session(two.session.id)).is_some(), again, "{takes}");
    }
}

#[tokio::test]
async fn every_kind_of_end_puts_up_its_tombstone() {
    let durable = Arc::new(ReferenceStorage::new());
    for number in 0..6 {
        let shelf = Arc::new(Shelf::default());
        let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
        let alice = user(&format!("alice {number}"));
        let one = here.store(here.session(&alice).external(&format!("sid {number}"))).await;
        shelf.pass();
        assert_eq!(there.seen(&one).await, State::Live);
        assert!(shelf.has(one.session.id));
        match number {
            0 => drop(here.logout(&one).await),
            1 => drop(here.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await),
            2 => drop(here.bump_user(&alice, None).await),
            3 => drop(here.bump_global(0).await),
            4 => drop(here.revoke(RevokeTarget::External(one.session.external.clone().unwrap())).await),
            _ => drop(here.login_within(&alice, 1, OnLimit::EvictOldest).await),
        }
        assert!(!shelf.has(one.session.id) && !there.seen(&one).await.is_live(), "{number}");
    }
}

#[tokio::test]
async fn out_of_reach_the_revocation_runs_and_says_by_when_it_binds() {
    let durable = Arc::new(ReferenceStorage::new());
    let shelf = Arc::new(Shelf::default());
    let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
    let one = login(&here, &shelf).await;
    assert_eq!(revoke(&here, &login(&here, &shelf).await).await.unwrap().binds_by, None, "at once, as ever");
    shelf.pass();
    assert_eq!(there.seen(&one).await, State::Live);
    shelf.set_out(true);
    let revoked = revoke(&here, &one).await.unwrap();
    assert_eq!((revoked.sessions.len(), revoked.binds_by), (1, Some(here.now() + MAX_AGE)));
    assert_eq!(here.seen(&one).await, State::Revoked, "an unreachable cache is passed by");
    shelf.set_out(false);
    assert_eq!(there.seen(&one).await, State::Live, "the bound is no more than honest");
    assert_eq!((here.seen(&one).await, here.tiered.stats().unburied), (State::Revoked, 1), "whoever knows better");
    // As soon as it is reached again, it is told.
    let listening = here.listen().await;
    here.tick(1_000);
    for _ in 0..8 {
        yield_now().await;
    }
    assert_eq!((there.seen(&one).await, here.tiered.stats().unburied), (State::Revoked, 0));
    listening.abort();
    // And if it is never told, the entry is too old by the time that was said.
    let two = login(&here, &shelf).await;
    there.tick(1_000);
    there.seen(&two).await;
    shelf.set_out(true);
    let by = revoke(&here, &two).await.unwrap().binds_by.unwrap();
    shelf.set_out(false);
    there.tick((by - there.now()).num_milliseconds());
    assert_eq!(there.seen(&two).await, State::Revoked);
}

#[tokio::test]
async fn a_raised_epoch_says_by_when_it_binds_too() {
    let durable = Arc::new(ReferenceStorage::new());
    let shelf = Arc::new(Shelf::default());
    let lab = node(&durable, &shelf);
    let one = login(&lab, &shelf).await;
    for (is_out, by) in [(false, None), (true, Some(lab.now() + MAX_AGE))] {
        shelf.set_out(is_out);
        let target = BumpTarget::User { user: one.session.user_id.clone(), keep: None };
        let bump = Bump::new(target, Incarnations { user: 1, global: 1 }, lab.now());
        let BumpOutcome::Bumped(bumped) = lab.tiered.bump(&bump).await.unwrap() else {
            unreachable!("it has no expectation")
        };
        assert_eq!(bumped.binds_by, by);
    }
}

#[tokio::test]
async fn a_change_of_unknown_outcome_stays_buried() {
    for effect in [Effect::Nothing, Effect::Done] {
        let durable = Arc::new(FailingStorage::new(ReferenceStorage::new()));
        let shelf = Arc::new(Shelf::default());
        let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
        let one = login(&here, &shelf).await;
        there.seen(&one).await;
        durable.fail_next(Method::Revoke, effect);
        assert!(revoke(&here, &one).await.is_err());
        assert!(shelf.tombstone(SharedSubject::Session(one.session.id)).is_some() && !shelf.has(one.session.id));
        durable.fail_next(Method::Revoke, effect);
        shelf.pass();
        there.seen(&one).await;
        shelf.set_out(true);
        assert!(revoke(&here, &one).await.is_err());
        shelf.set_out(false);
        assert_eq!(here.tiered.stats().unburied, 1, "nor is it believed where it could not be buried");
        assert_eq!(here.seen(&one).await, if effect == Effect::Done { State::Revoked } else { State::Live });
        assert_eq!(here.tiered.stats().shared_hits, 0);
    }
}

#[tokio::test]
async fn a_refresh_replaces_what_the_others_know() {
    let durable = Arc::new(ReferenceStorage::new());
    let shelf = Arc::new(Shelf::default());
    let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
    let one = login(&here, &shelf).await;
    there.seen(&one).await;
    here.advance(&one, 1).await;
    assert_eq!(there.eventual(&one).await.unwrap().control.generation, 2);
}

#[tokio::test]
async fn activity_takes_out_what_is_older() {
    let durable = Arc::new(ReferenceStorage::new());
    let shelf = Arc::new(Shelf::default());
    let (here, there) = (node(&durable, &shelf), node(&durable, &shelf));
    let one = login(&here, &shelf).await;
    there.seen(&one).await;
    here.tick(1_000);
    here.touch(&one).await;
    assert_eq!(shelf.tombstone(SharedSubject::Session(one.session.id)), Some(Duration::from_millis(1)));
    shelf.pass();
    assert_eq!(here.eventual(&one).await.unwrap().control.last_activity, here.now());
}

#[tokio::test]
async fn what_is_announced_of_another_transaction_is_buried() {
    let durable = Arc::new(ReferenceStorage::new());
    let shelf = Arc::new(Shelf::default());
    let lab = node(&durable, &shelf);
    let one = login(&lab, &shelf).await;
    lab.seen(&one).await;
    let notice = Notice::new(Subject::User(one.session.user_id.locator()), Phase::Intent, lab.now());
    lab.storage().feed().unwrap().announce(&[notice]).await.unwrap();
    assert!(!shelf.has(one.session.id));
    let nowhere = SharedSubject::User { locator: one.session.user_id.locator(), shard: None };
    assert!(shelf.tombstone(nowhere).is_some());
}

/// Counts incidents.
#[derive(Debug, Default)]
struct Meter(Mutex<Vec<Incident>>);

impl Telemetry for Meter {
    fn operation(&self, _: Operation, _: Result<(), ErrorKind>, _: Duration) {}

    fn incident(&self, incident: Incident) {
        self.0.lock().unwrap().push(incident);
    }
}

#[tokio::test]
async fn failures_are_counted_and_reported() {
    let durable = Arc::new(ReferenceStorage::new());
    let (shelf, meter) = (Arc::new(Shelf::default()), Arc::<Meter>::default());
    let config = TieredConfig::new().max_age(MAX_AGE).max_entries(0);
    let lab = Lab::built(&durable, config, |tiered| {
        let telemetry = Arc::clone(&meter) as Arc<dyn Telemetry>;
        tiered.with_shared(Arc::clone(&shelf) as Arc<dyn SharedCache>).with_telemetry(telemetry)
    });
    let one = login(&lab, &shelf).await;
    shelf.set_out(true);
    lab.seen(&one).await;
    lab.logout(&one).await;
    assert_eq!(
        meter.0.lock().unwrap().as_slice(),
        [Incident::SharedCacheFailed; 3],
        "a look, and two attempts at a tombstone"
    );
    assert_eq!(lab.tiered.stats().shared_failed, 3);
}
