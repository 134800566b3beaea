//! Checks of everybody's epoch and the grace of its rotation.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{BumpOutcome, BumpTarget, Query};
use session_manager_core::{SessionStorage, State};

use super::ability::needs;
use super::advance::told;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, bumped, user};

/// Without a grace everybody's sessions end at once, without writing a row, and new sign-ins live.
pub async fn global_raise_ends_everybody_at_once(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let mut all = Vec::new();
    for name in ["alice", "bob", "carol"] {
        all.push(lab.login(&user(name)).await);
    }
    lab.tick(1);
    let raised = lab.bump_global(0).await;
    let global = raised.epochs.global.expect("a global epoch");
    let before = all[0].epochs.global.expect("a global epoch").epoch;
    assert_eq!((raised.before, global.epoch, raised.applied), (Some(before), before.next(), true));
    assert_eq!((global.rotated_at, global.grace_until), (Some(lab.now()), None));
    assert_eq!(lab.storage().epochs(None).await.unwrap().global, Some(global));
    for snapshot in &all {
        assert_eq!(lab.state(snapshot).await, State::RotatedOut);
        assert_eq!(lab.reread(snapshot).await.control, snapshot.control);
        assert_eq!(told(&lab.advance(snapshot, 1).await).0, "ended");
    }
    assert_eq!(lab.state(&lab.login(&user("alice")).await).await, State::Live);
    Passed
}

/// Within the grace the sessions of the version before live, until one millisecond before its end.
pub async fn global_grace_is_exact_to_the_millisecond(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let snapshot = lab.login(&alice).await;
    lab.tick(1);
    let raised = lab.bump_global(1_500).await;
    let until = raised.epochs.global.expect("a global epoch").grace_until.expect("a grace");
    assert_eq!(until, session_manager_core::clock::after(lab.now(), Duration::from_millis(1_500)));
    for (offset, expected) in [(-1_500, State::Live), (-1, State::Live), (0, State::RotatedOut), (1, State::RotatedOut)]
    {
        lab.set(until, offset);
        let live = expected.is_live();
        assert_eq!(lab.state(&snapshot).await, expected, "{offset} ms: read");
        assert_eq!(lab.live_ids(&alice).await.contains(&snapshot.session.id), live, "{offset} ms: list");
        let count = lab.storage().count(&Query::of(alice.clone(), lab.now())).await.unwrap();
        assert_eq!(count.value, u64::from(live), "{offset} ms: count");
    }
    let revoked = lab.logout(&snapshot).await;
    assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 1), "at the end of the grace it is over");
    Passed
}

/// A refresh within the grace works, and does not smuggle the session into the new epoch.
pub async fn refresh_within_the_global_grace_keeps_the_stamp(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.bump_global(1_000).await;
    lab.tick(500);
    assert_eq!(told(&lab.advance(&snapshot, 1).await), ("advanced", 2));
    assert_eq!(lab.touch(&snapshot).await.touched, 1);
    assert_eq!(lab.reread(&snapshot).await.control.stamped, snapshot.control.stamped);
    lab.tick(500);
    assert_eq!(lab.state(&snapshot).await, State::RotatedOut);
    Passed
}

/// A second rotation inside the grace of the first ends the older sessions at once; the newer ones have the new grace.
pub async fn second_rotation_ends_the_older_at_once(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let older = lab.login(&user("alice")).await;
    lab.bump_global(60_000).await;
    let newer = lab.login(&user("alice")).await;
    assert_eq!((lab.state(&older).await, lab.state(&newer).await), (State::Live, State::Live));
    lab.tick(1);
    lab.bump_global(1_000).await;
    assert_eq!((lab.state(&older).await, lab.state(&newer).await), (State::RotatedOut, State::Live));
    lab.tick(1_000);
    assert_eq!(lab.state(&newer).await, State::RotatedOut);
    Passed
}

/// A new incarnation ends everybody's sessions, whatever grace was asked for.
pub async fn new_global_incarnation_knows_no_grace(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    let bump = lab.bump_of(BumpTarget::Global { grace: Duration::from_hours(1) }).anew();
    let raised = bumped(lab.storage().bump(&bump).await.unwrap());
    let global = raised.epochs.global.expect("a global epoch");
    assert_eq!((global.epoch.incarnation, global.epoch.version), (bump.incarnations.global, 1));
    assert_eq!(global.grace_until, None);
    assert_eq!(lab.state(&snapshot).await, State::EpochLost);
    assert_eq!(lab.state(&lab.login(&user("alice")).await).await, State::Live);
    Passed
}

/// An expected version makes the global raise idempotent: of many at once one is applied, a repeat moves neither version nor grace.
pub async fn expected_version_makes_the_global_raise_idempotent(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    lab.login(&user("alice")).await;
    let bump = |grace| lab.bump_of(BumpTarget::Global { grace: Duration::from_millis(grace) });
    let answers = at_once(16, |_| {
        let (lab, bump) = (lab.clone(), bump(1_000).expecting(1));
        async move { bumped(lab.storage().bump(&bump).await.unwrap()).applied }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|applied| *applied).count(), 1);
    let first = lab.storage().epochs(None).await.unwrap().global;
    lab.tick(500);
    let repeated = bumped(lab.storage().bump(&bump(1_000).expecting(1)).await.unwrap());
    assert!(!repeated.applied);
    assert_eq!(lab.storage().epochs(None).await.unwrap().global, first, "a repeat does not extend the grace");
    let outcome = lab.storage().bump(&bump(0).expecting(3)).await.unwrap();
    assert!(matches!(outcome, BumpOutcome::Conflict { version: 2 }), "{outcome:?}");
    Passed
}

/// Raising everybody's epoch where there is none yet creates it one version on.
pub async fn missing_global_epoch_is_created_raised(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let bump = lab.bump_of(BumpTarget::Global { grace: Duration::ZERO });
    let raised = bumped(lab.storage().bump(&bump).await.unwrap());
    let global = raised.epochs.global.expect("a global epoch").epoch;
    assert_eq!((raised.before, global.incarnation, global.version), (None, bump.incarnations.global, 2));
    let snapshot = lab.login(&user("alice")).await;
    assert_eq!(snapshot.control.stamped.expect("a stamp").global, global);
    assert_eq!(lab.state(&snapshot).await, State::Live);
    Passed
}
