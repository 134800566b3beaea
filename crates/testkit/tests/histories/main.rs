//! Concurrent histories: the reference passes, also while answers get lost, and storages that race with themselves are caught.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod racy;

use session_manager_testkit::conformance::{ConcurrentHistories, Mix};
use session_manager_testkit::fault::{Effect, FailingStorage, Method};
use session_manager_testkit::{ReferenceStorage, storage_histories};

use racy::{Race, Racy};

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

/// What a mix that is given a broken storage says.
fn caught(race: Race, mix: Mix) -> String {
    let histories = ConcurrentHistories::default().cases(200).seed("the kit is itself tested");
    let run = || histories.linearize(mix, || async { Racy::new(race) });
    let panic = std::panic::catch_unwind(run).expect_err("no history showed it");
    panic.downcast_ref::<String>().unwrap().clone()
}

fn is_shown(race: Race, mix: Mix) {
    let message = caught(race, mix);
    assert!(message.starts_with("no order of these calls explains every answer"), "{message}");
    assert!(message.contains("calls    ") && message.contains("is told  "), "the history is shown:\n{message}");
}

#[test]
fn check_then_use_is_caught() {
    is_shown(Race::CheckThenRefresh, Mix::Refreshes);
    is_shown(Race::CheckThenRefresh, Mix::Everything);
}

#[test]
fn late_revocation_is_caught() {
    is_shown(Race::LateRevocation, Mix::Refreshes);
    is_shown(Race::LateRevocation, Mix::Everything);
}

#[test]
fn lost_update_is_caught() {
    is_shown(Race::CheckThenUpdate, Mix::Updates);
}

#[test]
fn second_end_is_caught() {
    is_shown(Race::CheckThenRevoke, Mix::Everything);
}

#[test]
fn stale_epoch_is_caught() {
    is_shown(Race::StaleEpoch, Mix::Epochs);
}

/// A storage that answers nothing proves nothing.
#[test]
fn outage_is_no_success() {
    let outage = || async {
        let storage = FailingStorage::new(ReferenceStorage::new());
        for method in [Method::Advance, Method::Revoke, Method::Update, Method::Bump, Method::Purge, Method::Epochs] {
            storage.fail_all(method, Effect::Nothing);
        }
        storage
    };
    let run = || ConcurrentHistories::default().cases(10).linearize(Mix::Updates, outage);
    let panic = std::panic::catch_unwind(run).expect_err("it passed");
    assert!(panic.downcast_ref::<String>().unwrap().contains("operations were answered"));
}

#[test]
fn raised_epochs_need_epochs() {
    let run = || ConcurrentHistories::default().linearize(Mix::Epochs, || async { ReferenceStorage::without_epochs() });
    let panic = std::panic::catch_unwind(run).expect_err("it passed");
    assert!(panic.downcast_ref::<String>().unwrap().contains("lacking = [Epochs]"));
}
