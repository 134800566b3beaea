//! The fault injectors do what they are told, and the suite and its report tell what they see.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use session_manager_core::storage::{
    Advance, BumpTarget, Consistency, Notice, OnceKey, Phase, Purge, PurgeScope, Query, Revoke, RevokeTarget,
    SessionPatch, Subject, Update,
};
use session_manager_core::{Actor, ErrorKind, Random, RevocationReason, SessionStorage, State};
use session_manager_testkit::conformance::{Ability, CheckOutcome, abilities_are_as_declared, report, run};
use session_manager_testkit::fault::{
    CountingStorage, Effect, FailingRandom, FailingStorage, HeldStorage, Method, PausingStorage,
};
use session_manager_testkit::{Fixture, GRACE, ReferenceStorage, storage_conformance, user};
use worker::Worker;

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
async fn several_failures_are_counted_apart() {
    let storage = FailingStorage::new(ReferenceStorage::new());
    for nth in [1, 2, 4] {
        storage.fail_nth(Method::Epochs, Effect::Nothing, nth);
    }
    let mut failed = Vec::new();
    for _ in 0..5 {
        failed.push(storage.epochs(None).await.is_err());
    }
    assert_eq!(failed, [true, true, false, true, false]);
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

/// Every method of the contract passes a hook: none can be called behind its back.
#[tokio::test]
async fn no_method_passes_unseen() {
    let storage = CountingStorage::new(FailingStorage::new(Worker::default()));
    let lab = Fixture::new(Arc::new(ReferenceStorage::new()));
    let (alice, now) = (user("alice"), lab.now());
    let snapshot = lab.login(&alice).await;
    let (key, one) = (snapshot.key(), RevokeTarget::One { key: snapshot.key(), owner: None });
    let notice = Notice::new(Subject::Session(snapshot.session.id), Phase::Done, now);
    // Whoever adds a method to the contract adds it to `Method`, and then has to say here how it is called.
    let call = async |method| {
        Some(
            match method {
                Method::TryRead => return storage.try_read(&key).is_none().then_some(ErrorKind::Unavailable),
                Method::Read => storage.read(&key, Consistency::Latest).await.err(),
                Method::ReadMany => storage.read_many(&[key], Consistency::Latest).await.err(),
                Method::Insert => storage.insert(&lab.insert_of(lab.session(&alice).record())).await.err(),
                Method::Advance => storage.advance(&Advance::new(key, 1, GRACE, now)).await.err(),
                Method::Update => storage.update(&Update::new(key, 1, SessionPatch::new(), now)).await.err(),
                Method::Touch => storage.touch(&[], now).await.err(),
                Method::Revoke => {
                    let revoke = Revoke::new(one.clone(), RevocationReason::LOGOUT, Actor::System, now);
                    storage.revoke(&revoke).await.err()
                }
                Method::Bump => {
                    storage.bump(&lab.bump_of(BumpTarget::User { user: alice.clone(), keep: None })).await.err()
                }
                Method::Epochs => storage.epochs(None).await.err(),
                Method::List => storage.list(&Query::of(alice.clone(), now)).await.err(),
                Method::Count => storage.count(&Query::of(alice.clone(), now)).await.err(),
                Method::Purge => storage.purge(&Purge::new(PurgeScope::One(key), 1, now)).await.err(),
                Method::RememberOnce => storage.remember_once(&OnceKey::parse("once").unwrap(), now, now).await.err(),
                Method::Check => storage.check(now).await.err(),
                Method::Announce => storage.feed().unwrap().announce(&[notice]).await.err(),
                Method::Since => storage.feed().unwrap().since(None, 1, now).await.err(),
                Method::Scan => storage.scan().unwrap().scan(None, 1).await.err(),
                Method::Put => storage.scan().unwrap().put(&snapshot).await.err(),
                Method::Maintenance => {
                    storage.maintenance().unwrap().await;
                    return (!storage.inner().inner().has_worked()).then_some(ErrorKind::Unavailable);
                }
                other => panic!("{other:?} is called by nobody"),
            }?
            .kind(),
        )
    };
    for method in Method::ALL {
        storage.reset();
        assert_eq!(call(method).await, None, "{method:?}");
        assert_eq!((storage.calls(method), storage.total()), (1, 1), "{method:?}");
        storage.inner().fail_all(if method == Method::TryRead { Method::Read } else { method }, Effect::Nothing);
        assert_eq!(call(method).await, Some(ErrorKind::Unavailable), "{method:?}");
        storage.inner().heal();
    }
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

    let report = report.to_string();
    assert!(report.contains("passed   random_histories_match_the_reference: 32 histories\n"), "{report}");
    if cfg!(feature = "linearizability") {
        assert!(report.contains("passed   refreshes_are_linearizable: 40 of 40 histories were judged"), "{report}");
        assert!(report.contains("SKIPPED  epochs_are_linearizable: lacks Epochs"), "{report}");
    } else {
        assert!(report.contains("NOT RUN  concurrent histories"), "{report}");
    }

    let dead = || async {
        let storage = FailingStorage::new(ReferenceStorage::new());
        storage.fail_all(Method::Revoke, Effect::Done);
        storage
    };
    let report = session_manager_testkit::conformance::report(dead).await;
    for failed in ["revocation_is_stored_and_returned", "random_histories_match_the_reference"] {
        assert!(report.failed().any(|name| name == failed), "{failed}");
    }
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
