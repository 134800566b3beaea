//! The fault injectors do what they are told, and the suite and its report tell what they see.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use session_manager_core::storage::{Consistency, RevokeTarget};
use session_manager_core::{ErrorKind, Random, SessionStorage, State};
use session_manager_testkit::conformance::{Ability, CheckOutcome, abilities_are_as_declared, report, run};
use session_manager_testkit::fault::{
    CountingStorage, Effect, FailingRandom, FailingStorage, HeldStorage, Method, PausingStorage,
};
use session_manager_testkit::{Fixture, ReferenceStorage, storage_conformance, user};

// An idle injector changes nothing: it goes through the suite like the storage within.
storage_conformance!(idle_failing, || async { FailingStorage::new(ReferenceStorage::new()) });
storage_conformance!(idle_pausing, || async { PausingStorage::new(ReferenceStorage::new()) });

#[tokio::test]
async fn failures_come_before_or_after_the_effect_at_the_chosen_call() {
    let storage = Arc::new(FailingStorage::new(ReferenceStorage::new()));
    let lab = Fixture::new(storage.clone());
    let alice = user("alice");
    for (effect, stored) in [(Effect::Nothing, 0), (Effect::Done, 1)] {
        storage.fail_nth(Method::Insert, effect, 2);
        let before = lab.stored(&alice).await.len();
        lab.login(&alice).await;
        let insert = lab.insert_of(lab.session(&alice).record());
        let error = storage.insert(&insert).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
        assert_eq!(lab.stored(&alice).await.len(), before + 1 + stored, "{effect:?}");
        storage.insert(&insert).await.unwrap();
        assert_eq!(lab.stored(&alice).await.len(), before + 2, "repeating is harmless");
    }
}

#[tokio::test]
async fn an_outage_lasts_until_it_is_healed() {
    let storage = Arc::new(FailingStorage::new(ReferenceStorage::new()));
    let lab = Fixture::new(storage.clone());
    let snapshot = lab.login(&user("alice")).await;
    storage.outage();
    assert!(storage.try_read(&snapshot.key()).is_none(), "a read without waiting would hide the outage");
    for _ in 0..3 {
        assert!(storage.read(&snapshot.key(), Consistency::Latest).await.is_err());
        assert!(storage.epochs(None).await.is_err());
    }
    storage.heal();
    assert_eq!(lab.state(&snapshot).await, State::Live);
    storage.fail_all(Method::Touch, Effect::Nothing);
    lab.logout(&snapshot).await;
    assert!(storage.touch(&[], lab.now()).await.is_err());
}

#[tokio::test]
async fn a_paused_read_answers_with_what_it_saw_before() {
    let storage = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let lab = Fixture::new(storage.clone());
    let snapshot = lab.login(&user("alice")).await;
    let mut paused = storage.pause_next(Method::Read);
    assert!(storage.try_read(&snapshot.key()).is_none());
    let reader = tokio::spawn({
        let (lab, snapshot) = (lab.clone(), snapshot.clone());
        async move { lab.find(snapshot.key()).await }
    });
    paused.reached().await;
    lab.revoke(RevokeTarget::User { user: user("alice"), except: None }).await;
    assert!(!reader.is_finished());
    paused.release();
    let late = reader.await.unwrap().unwrap();
    assert!(late.revocation().is_none(), "it was read before the revocation");
    assert_eq!(lab.state(&snapshot).await, State::Revoked, "the next read is not held");
}

#[tokio::test]
async fn calls_are_counted_by_method() {
    let storage = Arc::new(CountingStorage::new(ReferenceStorage::new()));
    let lab = Fixture::new(storage.clone());
    let snapshot = lab.login(&user("alice")).await;
    lab.find(snapshot.key()).await;
    lab.find(snapshot.key()).await;
    assert!(storage.try_read(&snapshot.key()).is_some());
    let counts = [Method::Insert, Method::Read, Method::TryRead, Method::Touch].map(|method| storage.calls(method));
    assert_eq!((counts, storage.total()), ([1, 2, 1, 0], 4));
    storage.reset();
    assert_eq!(storage.total(), 0);
}

#[test]
fn randomness_runs_out() {
    let random = FailingRandom::after(2);
    let mut bytes = [0; 16];
    assert!(random.fill(&mut bytes).is_ok() && random.fill(&mut bytes).is_ok());
    assert_ne!(bytes, [0; 16]);
    for _ in 0..3 {
        assert_eq!(random.fill(&mut bytes).unwrap_err().kind(), ErrorKind::Internal);
    }
    assert!(FailingRandom::always().fill(&mut bytes).is_err());
}

#[test]
fn a_skipped_check_is_no_silent_success() {
    let plain = || async { ReferenceStorage::without_epochs() };
    run("only_an_own_live_session_is_kept", &[Ability::Epochs], plain);
    let undeclared = || run("only_an_own_live_session_is_kept", &[], plain);
    assert!(std::panic::catch_unwind(undeclared).is_err(), "not declared, and green");
    let overdeclared = || abilities_are_as_declared(&[Ability::Epochs, Ability::Feed], plain);
    assert!(std::panic::catch_unwind(overdeclared).is_err(), "declared absent, and there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_tells_passed_skipped_and_failed() {
    let report = report(|| async { ReferenceStorage::without_epochs() }).await;
    assert!(report.is_certified(&[Ability::Epochs]), "{report}");
    assert!(!report.is_certified(&[]));
    assert!(report.skipped().all(|(_, ability)| ability == Ability::Epochs));
    assert!(report.to_string().contains("SKIPPED  kept_session_survives_with_new_tokens: lacks Epochs"));

    let dead = || async {
        let storage = FailingStorage::new(ReferenceStorage::new());
        storage.fail_all(Method::Revoke, Effect::Done);
        storage
    };
    let report = session_manager_testkit::conformance::report(dead).await;
    assert!(report.failed().any(|name| name == "revocation_is_stored_and_returned"));
    assert!(report.lines.iter().any(|line| matches!(line.result, Ok(CheckOutcome::Passed))));
    assert!(!report.is_certified(&Ability::ALL));
}

#[tokio::test]
async fn a_guard_outlives_its_storage() {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let storage = HeldStorage::new(ReferenceStorage::new(), Guard(Arc::clone(&dropped)));
    Fixture::new(Arc::new(storage)).login(&user("alice")).await;
    assert!(dropped.load(Ordering::SeqCst), "and goes with it");
}
