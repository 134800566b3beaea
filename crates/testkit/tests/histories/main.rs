//! Concurrent histories: the reference passes, also while answers get lost, and storages that race with themselves are caught.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use session_manager_testkit::broken::Race;
use session_manager_testkit::conformance::{ConcurrentHistories, Mix, races_are_caught};
use session_manager_testkit::fault::{Effect, FailingStorage, Method};
use session_manager_testkit::{ReferenceStorage, storage_histories, storage_races};

storage_histories!(reference, || async { ReferenceStorage::new() });
storage_histories!(without_epochs, || async { ReferenceStorage::without_epochs() }, lacking = [Epochs]);

/// The reference with some of its answers lost, and some of its calls: nothing that is right is called wrong.
async fn losing_answers() -> FailingStorage<ReferenceStorage> {
    let storage = FailingStorage::new(ReferenceStorage::new());
    for (method, effect) in [
        (Method::Advance, Effect::Done),
        (Method::Advance, Effect::Nothing),
        (Method::Revoke, Effect::Done),
        (Method::Update, Effect::Done),
        (Method::Bump, Effect::Done),
        (Method::Bump, Effect::Nothing),
    ] {
        for nth in (7..400).step_by(11) {
            storage.fail_nth(method, effect, nth);
        }
    }
    storage
}

storage_histories!(with_lost_answers, losing_answers);

storage_races!(races, || async { ReferenceStorage::new() });
storage_races!(races_without_epochs, || async { ReferenceStorage::without_epochs() }, lacking = [Epochs]);

/// A failure shows the history, with every call and every answer, and a fixed seed finds it too.
#[test]
fn check_then_use_is_caught() {
    for mix in [Mix::Refreshes, Mix::Everything] {
        let histories = ConcurrentHistories::default().cases(200).seed("the kit is itself tested");
        let racy = || async { Race::CheckThenRefresh.over(Arc::new(ReferenceStorage::new())) };
        let panic = std::panic::catch_unwind(|| histories.linearize(mix, racy)).expect_err("no history showed it");
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.starts_with("no order of these calls explains every answer"), "{message}");
        assert!(message.contains("calls    ") && message.contains("is told  "), "the history is shown:\n{message}");
    }
}

#[test]
fn what_does_not_race_is_not_called_a_race() {
    assert_eq!(Race::ALL.map(Race::name), RACES, "and each has a test");
    let run = || races_are_caught(Race::StaleEpoch, || async { ReferenceStorage::without_epochs() });
    assert!(std::panic::catch_unwind(run).is_err(), "without epochs there are none to be stale");
}

const RACES: [&str; 5] =
    ["check_then_refresh", "check_then_update", "check_then_revoke", "late_revocation", "stale_epoch"];

/// Calls fail where nobody can know whether they happened, as often as the plan says.
fn failing(every: usize) -> FailingStorage<ReferenceStorage> {
    let storage = FailingStorage::new(ReferenceStorage::new());
    for method in [Method::Advance, Method::Revoke, Method::Update, Method::Bump, Method::Purge, Method::Epochs] {
        for nth in (1..4_000).step_by(every) {
            storage.fail_nth(method, Effect::Done, nth);
        }
    }
    storage
}

/// What nobody can judge is counted, and not taken for a proof.
#[test]
fn histories_of_too_many_failures_are_counted_and_not_judged() {
    let histories = ConcurrentHistories::default().cases(40).seed("some fail");
    let judged = histories.linearize(Mix::Refreshes, async || failing(3));
    assert!(judged.judged > 0 && judged.judged < judged.histories && judged.histories == 40, "{judged}");
    assert!(judged.answered > 0 && judged.answered < judged.calls, "{judged}");
}

/// A storage that answers nothing proves nothing.
#[test]
fn outage_is_no_success() {
    let run =
        || ConcurrentHistories::default().cases(10).seed("all fail").linearize(Mix::Refreshes, async || failing(1));
    let panic = std::panic::catch_unwind(run).expect_err("it passed");
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("0 of 10 histories were judged") && message.ends_with("proves nothing"), "{message}");
}

/// Nor does one whose few answers are all to questions that change nothing.
#[test]
fn reads_alone_are_no_success() {
    let run = || ConcurrentHistories::default().cases(200).linearize(Mix::Updates, async || failing(1));
    let panic = std::panic::catch_unwind(run).expect_err("it passed");
    assert!(panic.downcast_ref::<String>().unwrap().ends_with("proves nothing"));
}

#[test]
fn raised_epochs_need_epochs() {
    let run = || ConcurrentHistories::default().linearize(Mix::Epochs, || async { ReferenceStorage::without_epochs() });
    let panic = std::panic::catch_unwind(run).expect_err("it passed");
    assert!(panic.downcast_ref::<String>().unwrap().contains("lacking = [Epochs]"));
}
