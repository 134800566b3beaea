//! Checks of a user's epoch: ending all sessions by one number, keeping one, and repeating safely.

use std::sync::Arc;

use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Incarnations};
use session_manager_core::{Epoch, SessionStorage, State};

use super::ability::needs;
use super::advance::told;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, bumped, user};

fn of(lab: &Fixture, name: &str) -> Bump {
    lab.bump_of(BumpTarget::User { user: user(name), keep: None })
}

/// Raising a user's epoch ends all of theirs without writing a row, nobody else's, and no later sign-in.
pub async fn raised_user_epoch_ends_their_sessions(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let (one, two) = (lab.login(&user("alice")).await, lab.login(&user("alice")).await);
    let other = lab.login(&user("bob")).await;
    let raised = bumped(lab.bump_user(&user("alice"), None).await);
    let before = one.epochs.user.expect("an epoch");
    assert_eq!((raised.before, raised.epochs.user, raised.applied), (Some(before), Some(before.next()), true));
    assert_eq!(raised.epochs.global, one.epochs.global);
    for snapshot in [&one, &two] {
        let read = lab.reread(snapshot).await;
        assert_eq!(read.state(lab.now(), lab.live()), State::RotatedOut);
        assert_eq!(read.control, snapshot.control, "the row is as it was");
        assert_eq!(told(&lab.advance(snapshot, 1).await).0, "ended");
    }
    assert!(lab.live_ids(&user("alice")).await.is_empty());
    assert_eq!(lab.reread(&other).await, other);
    assert_eq!(lab.state(&lab.login(&user("alice")).await).await, State::Live);
    Passed
}

/// The kept session lives on with the new stamp and a raised floor: its old tokens are refused, the new one works.
pub async fn kept_session_survives_with_new_tokens(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let keep = lab.login(&user("alice")).await;
    let gone = lab.login(&user("alice")).await;
    lab.advance(&keep, 1).await;
    let before = lab.reread(&keep).await;
    lab.tick(9);
    let raised = bumped(lab.bump_user(&user("alice"), Some(keep.session.id)).await);
    let mut expected = before.control.clone();
    expected.raise_floor(lab.now());
    expected.stamped = raised.epochs.stamp();
    let kept = lab.reread(&keep).await;
    assert_eq!(kept.control, expected);
    assert_eq!(raised.kept, Some(kept));
    assert_eq!(raised.epochs.user, before.epochs.user.map(Epoch::next));
    assert_eq!((lab.state(&keep).await, lab.state(&gone).await), (State::Live, State::RotatedOut));
    for presented in [1, 2, 3] {
        assert_eq!(told(&lab.advance(&keep, presented).await), ("below floor", 4), "generation {presented}");
    }
    assert_eq!(told(&lab.advance(&keep, 4).await), ("advanced", 5));
    Passed
}

/// A session kept through a global grace is stamped with both current epochs, and outlives the grace.
pub async fn kept_session_is_stamped_with_both_epochs(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let keep = lab.login(&user("alice")).await;
    lab.bump_global(1_000).await;
    bumped(lab.bump_user(&user("alice"), Some(keep.session.id)).await);
    lab.tick(5_000);
    assert_eq!(lab.state(&keep).await, State::Live);
    Passed
}

/// What cannot be kept, because it is missing, over or another's, stops the whole step.
pub async fn only_an_own_live_session_is_kept(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let own = lab.login(&user("alice")).await;
    let over = lab.login(&user("alice")).await;
    lab.logout(&over).await;
    let foreign = lab.login(&user("bob")).await;
    let absent = lab.session(&user("alice")).record().session.id;
    for keep in [absent, over.session.id, foreign.session.id] {
        let outcome = lab.bump_user(&user("alice"), Some(keep)).await;
        assert!(matches!(outcome, BumpOutcome::KeepEnded), "{outcome:?}");
        assert_eq!(lab.reread(&own).await, own, "nothing was changed");
        assert_eq!(lab.reread(&foreign).await, foreign, "nothing was changed");
    }
    Passed
}

/// With an expected version it is applied once: repeating says so and raises nothing, any other version is a conflict.
pub async fn expected_version_makes_it_idempotent(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    lab.login(&user("alice")).await;
    for version in 1..4 {
        for (repeat, applied) in [(0, true), (1, false), (2, false)] {
            let raised = bumped(lab.storage().bump(&of(&lab, "alice").expecting(version)).await.unwrap());
            assert_eq!(raised.applied, applied, "version {version}, repeat {repeat}");
            assert_eq!(raised.epochs.user.map(|epoch| epoch.version), Some(version + 1));
        }
        for other in [version + 2, version + 50] {
            let outcome = lab.storage().bump(&of(&lab, "alice").expecting(other)).await.unwrap();
            assert!(matches!(outcome, BumpOutcome::Conflict { version: at } if at == version + 1), "{outcome:?}");
        }
    }
    let outcome = lab.storage().bump(&of(&lab, "alice").expecting(1)).await.unwrap();
    assert!(matches!(outcome, BumpOutcome::Conflict { version: 4 }), "{outcome:?}");
    Passed
}

/// Of many raises of one expected version at once exactly one is applied, and without an expectation all are.
pub async fn concurrent_raises_are_counted_exactly(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    lab.login(&user("alice")).await;
    let answers = at_once(16, |_| {
        let (lab, bump) = (lab.clone(), of(&lab, "alice").expecting(1));
        async move { bumped(lab.storage().bump(&bump).await.unwrap()).applied }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|applied| *applied).count(), 1);
    at_once(16, |_| {
        let lab = lab.clone();
        async move { bumped(lab.bump_user(&user("alice"), None).await) }
    })
    .await;
    let epochs = lab.storage().epochs(Some(&user("alice"))).await.unwrap();
    assert_eq!(epochs.user.map(|epoch| epoch.version), Some(18));
    Passed
}

/// Raising an epoch that does not exist creates it one version on; a new incarnation ends whatever was stamped with the old one.
pub async fn missing_and_new_incarnations(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let mut bump = of(&lab, "alice");
    bump.incarnations = Incarnations { user: u64::MAX - 7, global: 5 };
    let raised = bumped(lab.storage().bump(&bump).await.unwrap());
    assert_eq!((raised.before, raised.applied), (None, true));
    assert_eq!(raised.epochs.user, Some(Epoch::first(u64::MAX - 7).next()));
    let snapshot = lab.login(&user("alice")).await;
    assert_eq!(snapshot.control.stamped.expect("a stamp").user, Epoch::first(u64::MAX - 7).next());

    let anew = of(&lab, "alice").anew();
    let raised = bumped(lab.storage().bump(&anew).await.unwrap());
    assert_eq!(raised.epochs.user, Some(Epoch::first(anew.incarnations.user)));
    assert_eq!(lab.state(&snapshot).await, State::EpochLost);
    assert_eq!(lab.state(&lab.login(&user("alice")).await).await, State::Live);
    Passed
}

/// A new incarnation that was expected of an older version has begun only if the record is the one asked for: a plain raise is a conflict.
pub async fn new_incarnation_is_not_begun_by_a_raise(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    lab.login(&user("alice")).await;
    lab.bump_user(&user("alice"), None).await;
    bumped(lab.bump_user(&user("alice"), None).await);
    let anew = of(&lab, "alice").anew();
    let outcome = lab.storage().bump(&anew.clone().expecting(2)).await.unwrap();
    assert!(matches!(outcome, BumpOutcome::Conflict { version: 3 }), "{outcome:?}");
    let begun = anew.expecting(3);
    assert!(bumped(lab.storage().bump(&begun).await.unwrap()).applied);
    let repeated = bumped(lab.storage().bump(&begun).await.unwrap());
    assert_eq!((repeated.applied, repeated.epochs.user), (false, Some(Epoch::first(begun.incarnations.user))));
    Passed
}

/// Sign-ins that race a raise are stamped before it or after it, and what is stamped after it lives.
pub async fn logins_during_a_raise_are_before_or_after(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    lab.login(&user("alice")).await;
    let born = at_once(24, |number| {
        let lab = lab.clone();
        async move {
            if number % 6 == 0 {
                lab.bump_user(&user("alice"), None).await;
                return None;
            }
            Some(lab.login(&user("alice")).await)
        }
    })
    .await;
    let current = lab.storage().epochs(Some(&user("alice"))).await.unwrap();
    for snapshot in born.into_iter().flatten() {
        let stamped = snapshot.control.stamped.expect("a stamp");
        let expected = if Some(stamped.user) == current.user { State::Live } else { State::RotatedOut };
        assert_eq!(lab.state(&snapshot).await, expected);
    }
    Passed
}
