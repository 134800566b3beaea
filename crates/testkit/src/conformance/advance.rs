//! Checks of `advance`, the step of a refresh: the whole table of the protocol, its boundaries, and concurrency.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{Advance, AdvanceOutcome, SessionPatch};
use session_manager_core::{SessionStorage, Snapshot, State};

use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, GRACE, user};

/// A name and, where there is one, the session's generation after it.
pub(crate) fn told(outcome: &AdvanceOutcome) -> (&'static str, u64) {
    match outcome {
        AdvanceOutcome::Advanced(snapshot) => ("advanced", snapshot.control.generation),
        AdvanceOutcome::Converge(snapshot) => ("converge", snapshot.control.generation),
        AdvanceOutcome::Behind(snapshot) => ("behind", snapshot.control.generation),
        AdvanceOutcome::BelowFloor(snapshot) => ("below floor", snapshot.control.generation),
        AdvanceOutcome::Ahead(snapshot) => ("ahead", snapshot.control.generation),
        AdvanceOutcome::Ended(..) => ("ended", 0),
        AdvanceOutcome::Missing => ("missing", 0),
        other => panic!("the kit does not know {other:?} yet"),
    }
}

/// A session at generation 7 with floor 3, rotated `now`.
async fn seventh_generation(lab: &Fixture) -> Snapshot {
    let snapshot = lab.login(&user("alice")).await;
    let mut patch = SessionPatch::new();
    patch.raise_floor = true;
    lab.update(&snapshot, patch).await;
    for generation in 3..7 {
        lab.tick(60_000);
        assert_eq!(told(&lab.advance(&snapshot, generation).await), ("advanced", generation + 1));
    }
    let snapshot = lab.reread(&snapshot).await;
    assert_eq!((snapshot.control.generation, snapshot.control.floor), (7, 3));
    snapshot
}

/// Every row of the protocol's table: the outcome, the generation after it, and what changed.
pub async fn advance_follows_the_table_of_the_protocol(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let table = [
        (7, 0, ("advanced", 8)),
        (7, 60_000, ("advanced", 8)),
        (6, 0, ("converge", 7)),
        (6, 9_999, ("converge", 7)),
        (6, 10_000, ("behind", 7)),
        (5, 0, ("behind", 7)),
        (3, 0, ("behind", 7)),
        (2, 0, ("below floor", 7)),
        (0, 0, ("below floor", 7)),
        (8, 0, ("ahead", 9)),
        (1 << 40, 0, ("ahead", (1 << 40) + 1)),
    ];
    for (presented, after, expected) in table {
        let before = seventh_generation(&lab).await;
        lab.tick(after);
        let outcome = lab.advance(&before, presented).await;
        assert_eq!(told(&outcome), expected, "generation {presented} after {after} ms");
        let stored = lab.reread(&before).await;
        if matches!(expected.0, "advanced" | "ahead") {
            let mut moved = before.control.clone();
            moved.advance_to(expected.1, lab.now());
            assert_eq!(stored.control, moved, "generation {presented} after {after} ms");
        } else {
            assert_eq!(stored, before, "{} changes nothing", expected.0);
        }
        lab.logout(&before).await;
    }
    Passed
}

/// The grace of a rotated token ends at exactly its length: one millisecond before it converges, at it the token is a replay.
pub async fn grace_is_exact_to_the_millisecond(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.tick(123);
    lab.advance(&snapshot, 1).await;
    let rotated = lab.now();
    for (grace, offset, expected) in [
        (10_000, 9_999, "converge"),
        (10_000, 10_000, "behind"),
        (10_000, 10_001, "behind"),
        (1, 0, "converge"),
        (1, 1, "behind"),
        (0, 0, "behind"),
    ] {
        lab.set(rotated, offset);
        let outcome = lab.advance_within(&snapshot, 1, Duration::from_millis(grace)).await;
        assert_eq!(told(&outcome), (expected, 2), "grace {grace} after {offset} ms");
    }
    Passed
}

/// However often a token is retried, its grace still ends where it would have ended.
pub async fn retries_never_extend_the_grace(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.advance(&snapshot, 1).await;
    for _ in 0..10 {
        assert_eq!(told(&lab.advance(&snapshot, 1).await), ("converge", 2));
        lab.tick(1_000);
    }
    assert_eq!(told(&lab.advance(&snapshot, 1).await), ("behind", 2));
    Passed
}

/// A node whose clock is up to five seconds behind converges; beyond that the token counts as outside its grace.
pub async fn clock_skew_is_forgiven_for_five_seconds(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.tick(60_000);
    lab.advance(&snapshot, 1).await;
    let rotated = lab.now();
    for (offset, expected) in [(-1, "converge"), (-5_000, "converge"), (-5_001, "behind")] {
        lab.set(rotated, offset);
        assert_eq!(told(&lab.advance(&snapshot, 1).await), (expected, 2), "{offset} ms");
    }
    Passed
}

/// A refresh moves the generation and its times, and nothing else.
pub async fn refresh_moves_nothing_else(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let before = lab.store(lab.session(&user("alice")).with_everything()).await;
    lab.tick(60_000);
    lab.advance(&before, 1).await;
    let after = lab.reread(&before).await;
    assert_eq!(after.session, before.session);
    let (new, old) = (&after.control, &before.control);
    assert_eq!((new.last_activity, new.idle_expires_at), (old.last_activity, old.idle_expires_at));
    assert_eq!((new.stamped, new.floor, &new.seed), (old.stamped, old.floor, &old.seed));
    assert_eq!((new.rotated_at, new.previous_rotated_at), (lab.now(), old.rotated_at));
    assert_eq!(after.epochs, before.epochs);
    Passed
}

/// A session that has ended says so whatever token is presented, and one that never was is missing.
pub async fn advance_of_an_ended_session_says_so(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.advance(&snapshot, 1).await;
    lab.logout(&snapshot).await;
    let before = lab.reread(&snapshot).await;
    for presented in [0, 1, 2, 3] {
        match lab.advance(&snapshot, presented).await {
            AdvanceOutcome::Ended(State::Revoked, seen) => assert_eq!(seen, before),
            other => panic!("{presented}: {other:?}"),
        }
    }
    let absent = lab.session(&user("alice")).record().session.key();
    let outcome = lab.storage().advance(&Advance::new(absent, 1, GRACE, lab.now())).await.unwrap();
    assert!(matches!(outcome, AdvanceOutcome::Missing), "{outcome:?}");
    Passed
}

/// Sixty-four refreshes with one token at once make one generation: one advances and all others get the same successor.
pub async fn sixty_four_concurrent_refreshes_make_one_generation(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    for generation in 1..4 {
        lab.tick(60_000);
        let outcomes = at_once(64, |_| {
            let (lab, snapshot) = (lab.clone(), snapshot.clone());
            async move { lab.advance(&snapshot, generation).await }
        })
        .await;
        let count = |name| outcomes.iter().filter(|outcome| told(outcome) == (name, generation + 1)).count();
        assert_eq!((count("advanced"), count("converge")), (1, 63), "generation {generation}");
        let stored = lab.reread(&snapshot).await.control;
        assert_eq!((stored.generation, stored.version), (generation + 1, generation + 1));
    }
    Passed
}

/// Without a grace, of many uses of one token at once exactly one succeeds.
pub async fn concurrent_refreshes_without_grace_admit_one(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    let outcomes = at_once(32, |_| {
        let (lab, snapshot) = (lab.clone(), snapshot.clone());
        async move { lab.advance_within(&snapshot, 1, Duration::ZERO).await }
    })
    .await;
    let count = |name| outcomes.iter().filter(|outcome| told(outcome) == (name, 2)).count();
    assert_eq!((count("advanced"), count("behind")), (1, 31));
    Passed
}
