//! Checks of `update`: a compare-and-set of live sessions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use session_manager_core::clock::after;
use session_manager_core::storage::{SessionPatch, Update, UpdateOutcome};
use session_manager_core::{Authentication, SessionStorage, Snapshot, State};

use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

fn updated(outcome: UpdateOutcome) -> Snapshot {
    match outcome {
        UpdateOutcome::Updated(snapshot) => snapshot,
        other => panic!("expected an update, got {other:?}"),
    }
}

fn renamed(name: &str) -> SessionPatch {
    let mut patch = SessionPatch::new();
    patch.device_name = Some(Some(name.to_owned()));
    patch
}

/// Every field of a patch is written, alone and together, and what it does not name stays as it was.
pub async fn update_applies_every_field(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let soon = after(lab.now(), Duration::from_millis(1_234));
    let mut all = renamed("Küche");
    all.trust = Some((true, Some(soon)));
    all.authentication = Some(Authentication::at(soon).by(["hwk"]).level("aal3"));
    all.attributes = json!({"a": [1, {"b": null}]}).as_object().cloned();
    all.raise_floor = true;
    let patches = [
        SessionPatch::new(),
        renamed("Büro"),
        one(|patch| patch.device_name = Some(None)),
        one(|patch| patch.trust = Some((true, None))),
        one(|patch| patch.trust = Some((false, None))),
        one(|patch| patch.authentication = Some(Authentication::at(soon))),
        one(|patch| patch.attributes = Some(serde_json::Map::new())),
        one(|patch| patch.raise_floor = true),
        all,
    ];
    let mut current = lab.store(lab.session(&user("alice")).with_everything()).await;
    for patch in patches {
        lab.tick(1);
        let expected = patch.apply(&current.record(), lab.now());
        let answer = updated(lab.update(&current, patch.clone()).await);
        assert_eq!(answer.record(), expected, "{patch:?}");
        current = lab.reread(&current).await;
        assert_eq!(current, answer, "{patch:?}");
        assert_eq!(current.control.version, expected.control.version);
    }
    Passed
}

fn one(change: impl FnOnce(&mut SessionPatch)) -> SessionPatch {
    let mut patch = SessionPatch::new();
    change(&mut patch);
    patch
}

/// An update of another version changes nothing and is told what stands there.
pub async fn update_of_another_version_conflicts(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let stale = lab.login(&user("alice")).await;
    let current = updated(lab.update(&stale, renamed("first")).await);
    for version in [0, stale.control.version, current.control.version + 1] {
        let update = Update::new(stale.key(), version, renamed("second"), lab.now());
        match lab.storage().update(&update).await.unwrap() {
            UpdateOutcome::Conflict(seen) => assert_eq!(seen, current, "version {version}"),
            other => panic!("version {version}: {other:?}"),
        }
    }
    assert_eq!(lab.reread(&stale).await, current);
    lab.advance(&stale, 1).await;
    let outcome = lab.update(&current, renamed("third")).await;
    assert!(matches!(outcome, UpdateOutcome::Conflict(_)), "a refresh raises the version too: {outcome:?}");
    Passed
}

/// Missing comes before everything, and ended before conflict.
pub async fn update_tells_missing_from_ended_from_conflict(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let absent = lab.session(&user("alice")).record().session.key();
    let outcome = lab.storage().update(&Update::new(absent, 1, renamed("x"), lab.now())).await.unwrap();
    assert!(matches!(outcome, UpdateOutcome::Missing), "{outcome:?}");
    assert!(lab.find(absent).await.is_none(), "an update never creates");
    let stale = lab.login(&user("alice")).await;
    lab.logout(&stale).await;
    let ended = lab.reread(&stale).await;
    for version in [stale.control.version, ended.control.version] {
        let update = Update::new(stale.key(), version, renamed("x"), lab.now());
        match lab.storage().update(&update).await.unwrap() {
            UpdateOutcome::Ended(State::Revoked, seen) => assert_eq!(seen, ended),
            other => panic!("version {version}: {other:?}"),
        }
    }
    Passed
}

/// Of many updates of one version at once exactly one is applied.
pub async fn concurrent_updates_admit_one(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    let outcomes = at_once(32, |number| {
        let (lab, snapshot) = (lab.clone(), snapshot.clone());
        async move { lab.update(&snapshot, renamed(&format!("name {number}"))).await }
    })
    .await;
    let winners: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            UpdateOutcome::Updated(snapshot) => Some(snapshot),
            UpdateOutcome::Conflict(_) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(winners.len(), 1, "one winner");
    assert_eq!(lab.reread(&snapshot).await, winners[0]);
    Passed
}

/// After a raised floor neither the current token nor the grace of the one before is good for anything; the session lives on.
pub async fn raised_floor_ends_every_older_token(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.advance(&snapshot, 1).await;
    let current = lab.reread(&snapshot).await;
    let raised = updated(lab.update(&current, one(|patch| patch.raise_floor = true)).await);
    assert_eq!((raised.control.generation, raised.control.floor), (4, 4));
    for presented in [1, 2, 3] {
        let outcome = super::advance::told(&lab.advance(&snapshot, presented).await);
        assert_eq!(outcome, ("below floor", 4), "generation {presented}");
    }
    assert_eq!(super::advance::told(&lab.advance(&snapshot, 4).await), ("advanced", 5));
    Passed
}
