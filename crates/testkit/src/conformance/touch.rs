//! Checks of `touch`: last activity moves forward, never back, and on live sessions only.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager_core::SessionStorage;
use session_manager_core::clock::after;
use session_manager_core::storage::Touch;

use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

/// A touch moves last activity and the idle deadline and nothing else, not even the version.
pub async fn touch_moves_activity_and_nothing_else(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let before = lab.store(lab.session(&user("alice")).with_everything()).await;
    lab.tick(61_001);
    let report = lab.touch(&before).await;
    assert_eq!((report.touched, report.skipped), (1, 0));
    let mut expected = before.clone();
    expected.control.last_activity = lab.now();
    expected.control.idle_expires_at = before.session.idle_deadline(lab.now());
    assert_eq!(lab.reread(&before).await, expected);
    Passed
}

/// A late touch moves nothing back; the same touch again counts as skipped.
pub async fn touch_never_moves_back(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    let late = Touch::new(snapshot.key(), after(lab.now(), Duration::from_secs(5)), snapshot.control.idle_expires_at);
    lab.tick(60_000);
    lab.touch(&snapshot).await;
    let current = lab.reread(&snapshot).await;
    let again = Touch::new(snapshot.key(), lab.now(), after(lab.now(), Duration::from_hours(9)));
    for touch in [late, again] {
        let report = lab.storage().touch(&[touch], lab.now()).await.unwrap();
        assert_eq!((report.touched, report.skipped), (0, 1));
        assert_eq!(lab.reread(&snapshot).await, current);
    }
    Passed
}

/// The idle deadline is never lowered by a touch and never reaches beyond the absolute one.
pub async fn touch_keeps_the_idle_deadline_in_bounds(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.tick(1_000);
    let lower = Touch::new(snapshot.key(), lab.now(), after(lab.now(), Duration::from_millis(1)));
    assert_eq!(lab.storage().touch(&[lower], lab.now()).await.unwrap().touched, 1);
    let read = lab.reread(&snapshot).await.control;
    assert_eq!((read.last_activity, read.idle_expires_at), (lab.now(), snapshot.control.idle_expires_at));
    lab.tick(1_000);
    let beyond = Touch::new(snapshot.key(), lab.now(), after(snapshot.session.expires_at, Duration::from_hours(1)));
    assert_eq!(lab.storage().touch(&[beyond], lab.now()).await.unwrap().touched, 1);
    assert_eq!(lab.reread(&snapshot).await.control.idle_expires_at, snapshot.session.expires_at);
    Passed
}

/// A batch touches each session it names, and reports how many it moved.
pub async fn touch_takes_a_batch(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let mut touches = Vec::new();
    let mut moved = Vec::new();
    for number in 0..6 {
        let snapshot = lab.login(&user(["alice", "bob"][number % 2])).await;
        if number == 3 {
            lab.logout(&snapshot).await;
        } else {
            moved.push(snapshot.clone());
        }
        touches.push(snapshot);
    }
    lab.tick(60_000);
    let now = lab.now();
    let touch =
        |key, snapshot: &session_manager_core::Snapshot| Touch::new(key, now, snapshot.session.idle_deadline(now));
    let mut batch: Vec<_> = touches.iter().map(|snapshot| touch(snapshot.key(), snapshot)).collect();
    batch.push(touch(lab.session(&user("alice")).record().session.key(), &touches[0]));
    let report = lab.storage().touch(&batch, now).await.unwrap();
    assert_eq!((report.touched, report.skipped), (5, 2));
    for snapshot in &moved {
        assert_eq!(lab.reread(snapshot).await.control.last_activity, now);
    }
    let empty = lab.storage().touch(&[], now).await.unwrap();
    assert_eq!((empty.touched, empty.skipped), (0, 0));
    Passed
}

/// A session that a batch names several times counts once, with its latest activity, wherever in the batch that stands.
pub async fn touch_counts_a_session_once(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let (one, other) = (lab.login(&user("alice")).await, lab.login(&user("bob")).await);
    let begin = lab.now();
    lab.tick(60_000);
    for order in [[10, 30, 20], [30, 10, 20], [10, 20, 30]] {
        let (one, other) = (lab.reread(&one).await, lab.reread(&other).await);
        let seen = |millis| after(one.control.last_activity, Duration::from_millis(millis));
        let mut batch: Vec<_> =
            order.map(|millis| Touch::new(one.key(), seen(millis), one.session.idle_deadline(seen(millis)))).into();
        batch.insert(1, Touch::new(other.key(), lab.now(), other.session.idle_deadline(lab.now())));
        let report = lab.storage().touch(&batch, lab.now()).await.unwrap();
        let expected = if other.control.last_activity == begin { (2, 2) } else { (1, 3) };
        assert_eq!((report.touched, report.skipped), expected, "{order:?}");
        let read = lab.reread(&one).await.control;
        assert_eq!(
            (read.last_activity, read.idle_expires_at),
            (seen(30), one.session.idle_deadline(seen(30))),
            "{order:?}"
        );
    }
    Passed
}

/// A touch is skipped where the user was seen later than its threshold, to the millisecond, and never moves back whatever that says.
pub async fn touch_is_skipped_where_the_user_was_seen_since(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    let seen = snapshot.control.last_activity;
    lab.tick(60_000);
    let now = lab.now();
    let touch = |at: DateTime<Utc>| Touch::new(snapshot.key(), at, snapshot.session.idle_deadline(at));
    let millis = |count: i64| TimeDelta::milliseconds(count);
    let cases = [
        (touch(now).unless_seen_after(seen - millis(1)), 0, seen),
        (touch(now - millis(9)).unless_seen_after(seen), 1, now - millis(9)),
        (touch(now).unless_seen_after(seen), 0, now - millis(9)),
        // A threshold that lies after the touch itself changes nothing.
        (touch(now - millis(9)).unless_seen_after(now), 0, now - millis(9)),
        (touch(now - millis(8)).unless_seen_after(now), 1, now - millis(8)),
        (touch(now), 1, now),
    ];
    for (step, (touch, touched, stored)) in cases.into_iter().enumerate() {
        let report = lab.storage().touch(&[touch], now).await.unwrap();
        assert_eq!((report.touched, report.skipped), (touched, 1 - touched), "step {step}");
        assert_eq!(lab.reread(&snapshot).await.control.last_activity, stored, "step {step}");
    }
    Passed
}

/// Of many touches at once, in whatever order they arrive, the latest stands.
pub async fn concurrent_touches_leave_the_latest(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    lab.tick(60_000);
    let now = lab.now();
    at_once(32, |number| {
        let (lab, snapshot) = (lab.clone(), snapshot.clone());
        let seen = after(snapshot.control.last_activity, Duration::from_secs(u64::try_from(number).unwrap() + 1));
        async move {
            let touch = Touch::new(snapshot.key(), seen, snapshot.session.idle_deadline(seen));
            lab.storage().touch(&[touch], now).await.unwrap()
        }
    })
    .await;
    let latest = after(snapshot.control.last_activity, Duration::from_secs(32));
    let read = lab.reread(&snapshot).await.control;
    assert_eq!((read.last_activity, read.idle_expires_at), (latest, snapshot.session.idle_deadline(latest)));
    Passed
}

/// Of sixty-four touches at once with rising times and one threshold, as of many requests when a note is due, exactly one is written.
pub async fn sixty_four_touches_at_once_write_one(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    for round in 0..4 {
        let snapshot = lab.login(&user("alice")).await;
        let due = after(snapshot.control.last_activity, Duration::from_secs(30));
        lab.tick(60_000);
        let now = lab.now();
        let reports = at_once(64, |number| {
            let (lab, snapshot) = (lab.clone(), snapshot.clone());
            async move {
                let seen = after(now, Duration::from_millis(u64::try_from(number).unwrap()));
                let touch =
                    Touch::new(snapshot.key(), seen, snapshot.session.idle_deadline(seen)).unless_seen_after(due);
                lab.storage().touch(&[touch], now).await.unwrap()
            }
        })
        .await;
        let sums = reports.iter().fold((0, 0), |sums, report| (sums.0 + report.touched, sums.1 + report.skipped));
        assert_eq!(sums, (1, 63), "round {round}");
        let read = lab.reread(&snapshot).await.control;
        assert!(read.last_activity >= now, "round {round}");
        assert_eq!(read.idle_expires_at, snapshot.session.idle_deadline(read.last_activity), "round {round}");
    }
    Passed
}
