//! Checks that nothing revives a session that has ended: no late write, no race, no refresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_manager_core::clock::after;
use session_manager_core::storage::{
    AdvanceOutcome, BumpOutcome, BumpTarget, Purge, PurgeScope, RevokeTarget, SessionPatch, Touch, Update,
    UpdateOutcome,
};
use session_manager_core::{SessionStorage, Snapshot, State};

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

/// Everything a request in flight may still write of the session it loaded before.
async fn write_late(lab: &Fixture, loaded: &Snapshot, current_version: u64) {
    let key = loaded.key();
    for version in [loaded.control.version, current_version, current_version + 1] {
        let mut patch = SessionPatch::new();
        patch.device_name = Some(Some("late".to_owned()));
        patch.raise_floor = true;
        let outcome = lab.storage().update(&Update::new(key, version, patch, lab.now())).await.unwrap();
        assert!(matches!(outcome, UpdateOutcome::Ended(..)), "a late update: {outcome:?}");
    }
    let late = Touch::new(key, lab.now(), after(lab.now(), Duration::from_hours(99)));
    assert_eq!(lab.storage().touch(&[late], lab.now()).await.unwrap().touched, 0, "a late touch");
    for presented in [loaded.control.generation, loaded.control.generation + 1, 1_000] {
        let outcome = lab.advance(loaded, presented).await;
        assert!(matches!(outcome, AdvanceOutcome::Ended(..)), "a late refresh: {outcome:?}");
    }
    let again = lab.insert_of(loaded.record());
    lab.storage().insert(&again).await.unwrap();
    if lab.storage().capabilities().epochs {
        let target = BumpTarget::User { user: loaded.session.user_id.clone(), keep: Some(loaded.session.id) };
        let outcome = lab.storage().bump(&lab.bump_of(target)).await.unwrap();
        assert!(matches!(outcome, BumpOutcome::KeepEnded), "a late keep: {outcome:?}");
    }
    if let Some(scan) = lab.storage().scan() {
        scan.put(loaded).await.unwrap();
        let mut newer = loaded.clone();
        newer.control.version = current_version + 100;
        scan.put(&newer).await.unwrap();
    }
}

/// Load, revoke, write: whatever is written late of a session that was revoked meanwhile, it stays dead and unchanged.
pub async fn late_writes_never_revive(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    for everywhere in [false, true] {
        let loaded = lab.login(&user("alice")).await;
        lab.tick(1);
        if everywhere {
            lab.revoke(RevokeTarget::User { user: user("alice"), except: None }).await;
        } else {
            lab.logout(&loaded).await;
        }
        let dead = lab.reread(&loaded).await;
        lab.tick(1);
        write_late(&lab, &loaded, dead.control.version).await;
        let after = lab.reread(&loaded).await;
        assert_eq!((&after.session, &after.control), (&dead.session, &dead.control));
        assert_eq!(lab.state(&loaded).await, State::Revoked);
        assert!(lab.live_ids(&user("alice")).await.is_empty());
    }
    Passed
}

/// The same for a session that ended by time: no touch, update or refresh brings it back.
pub async fn late_writes_never_revive_what_timed_out(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let loaded = lab.store(lab.session(&user("alice")).idle(Some(Duration::from_secs(1)))).await;
    lab.tick(1_000);
    let late = Touch::new(loaded.key(), lab.now(), after(lab.now(), Duration::from_hours(1)));
    let slow =
        Touch::new(loaded.key(), after(loaded.session.created_at, Duration::from_millis(999)), late.idle_expires_at);
    assert_eq!(lab.storage().touch(&[late, slow], lab.now()).await.unwrap().touched, 0);
    assert!(matches!(lab.update(&loaded, SessionPatch::new()).await, UpdateOutcome::Ended(State::Idle, _)));
    assert!(matches!(lab.advance(&loaded, 1).await, AdvanceOutcome::Ended(State::Idle, _)));
    lab.storage().insert(&lab.insert_of(loaded.record())).await.unwrap();
    assert_eq!(lab.reread(&loaded).await, loaded);
    assert_eq!(lab.state(&loaded).await, State::Idle);
    Passed
}

/// A purged session does not come back by any write but an insert.
pub async fn purged_sessions_stay_away(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let loaded = lab.login(&user("alice")).await;
    let scope = PurgeScope::One(loaded.key());
    let purge = Purge::new(scope, 1, lab.now());
    lab.storage().purge(&purge).await.unwrap();
    assert!(matches!(lab.update(&loaded, SessionPatch::new()).await, UpdateOutcome::Missing));
    assert!(matches!(lab.advance(&loaded, 1).await, AdvanceOutcome::Missing));
    lab.tick(1);
    assert_eq!(lab.touch(&loaded).await.touched, 0);
    let revoked = lab.logout(&loaded).await;
    assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 0));
    assert!(lab.find(loaded.key()).await.is_none());
    assert!(lab.stored(&user("alice")).await.is_empty());
    Passed
}

#[derive(Clone, Copy, Debug)]
enum End {
    One,
    User,
    Bump,
    Global,
}

/// Refreshing tasks race one that ends the session: none that begins after the end has returned may succeed.
async fn race(lab: &Fixture, end: End) {
    for round in 0..25 {
        let snapshot = lab.login(&user("alice")).await;
        let over = Arc::new(AtomicBool::new(false));
        at_once(9, |number| {
            let (lab, snapshot, over) = (lab.clone(), snapshot.clone(), Arc::clone(&over));
            async move {
                if number == 0 {
                    tokio::task::yield_now().await;
                    match end {
                        End::One => drop(lab.logout(&snapshot).await),
                        End::User => drop(lab.revoke(RevokeTarget::User { user: user("alice"), except: None }).await),
                        End::Bump => drop(lab.bump_user(&user("alice"), None).await),
                        End::Global => drop(lab.bump_global(0).await),
                    }
                    over.store(true, Ordering::SeqCst);
                    return;
                }
                for generation in 1..6 {
                    let ended_before = over.load(Ordering::SeqCst);
                    let outcome = lab.advance(&snapshot, generation).await;
                    let succeeded = !matches!(outcome, AdvanceOutcome::Ended(..));
                    assert!(!(ended_before && succeeded), "{end:?}, round {round}: {outcome:?} after the end");
                }
            }
        })
        .await;
        assert!(!lab.state(&snapshot).await.is_live(), "{end:?}, round {round}");
        let outcome = lab.advance(&snapshot, snapshot.control.generation).await;
        assert!(matches!(outcome, AdvanceOutcome::Ended(..)), "{end:?}, round {round}: {outcome:?}");
    }
}

/// After a revocation has returned, of one session or of the user's, no refresh succeeds, in many races.
pub async fn no_refresh_succeeds_after_a_revocation(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    race(&lab, End::One).await;
    race(&lab, End::User).await;
    Passed
}

/// After a raised epoch has returned, the user's or everybody's, no refresh succeeds, in many races.
pub async fn no_refresh_succeeds_after_a_raised_epoch(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    race(&lab, End::Bump).await;
    race(&lab, End::Global).await;
    Passed
}

/// Updates and touches that race a revocation never leave the session alive.
pub async fn no_write_outlives_a_concurrent_revocation(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    for round in 0..25 {
        let snapshot = lab.login(&user("alice")).await;
        lab.tick(1);
        at_once(9, |number| {
            let (lab, snapshot) = (lab.clone(), snapshot.clone());
            async move {
                match number {
                    0 => drop(lab.logout(&snapshot).await),
                    1..5 => drop(lab.update(&snapshot, SessionPatch::new()).await),
                    _ => drop(lab.touch(&snapshot).await),
                }
            }
        })
        .await;
        assert_eq!(lab.state(&snapshot).await, State::Revoked, "round {round}");
    }
    Passed
}
