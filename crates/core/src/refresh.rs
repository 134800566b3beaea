//! The refresh protocol's one judgement, which every storage asks inside its atomic step.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::after;
use crate::snapshot::{LivePolicy, Snapshot, State};

/// How far clocks of two nodes may differ: a rotation that seems to lie up to this much in the future counts as just now.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// What a refresh token of some generation is worth, its MAC being good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the current one: the next generation begins.
    Advance,
    /// It is the previous one within the grace: the same successor again.
    Converge,
    /// It was used before, outside the grace: a replay.
    Behind,
    /// A re-authentication or privilege change replaced it: refused, the session lives on.
    BelowFloor,
    /// It is newer than the storage knows: the storage lost a write, and moves to the generation after it.
    Ahead,
    /// The session is over.
    Ended(State),
}

/// Judges a presented refresh token of generation `presented`.
///
/// # Behaviour
/// - An ended session wins over everything else.
/// - Below the floor is refused before replay is thought of: whoever holds such a token gains nothing, and a second tab that missed a
///   password change must not end the session it was kept for.
/// - The grace is rooted at the rotation and no retry extends it: within is `0 ≤ now − rotated_at < grace`, a negative
///   difference counting as 0 up to [`CLOCK_SKEW`] and as outside beyond that.
pub fn judge(snapshot: &Snapshot, presented: u64, now: DateTime<Utc>, grace: Duration, live: LivePolicy) -> Verdict {
    let state = snapshot.state(now, live);
    if !state.is_live() {
        return Verdict::Ended(state);
    }
    let control = &snapshot.control;
    if presented < control.floor {
        return Verdict::BelowFloor;
    }
    if presented == control.generation {
        return Verdict::Advance;
    }
    if presented > control.generation {
        return Verdict::Ahead;
    }
    let previous = presented.saturating_add(1) == control.generation;
    if previous && within_grace(control.rotated_at, now, grace) {
        return Verdict::Converge;
    }
    Verdict::Behind
}

/// Whether `now` lies in the grace of a rotation at `rotated_at`.
pub fn within_grace(rotated_at: DateTime<Utc>, now: DateTime<Utc>, grace: Duration) -> bool {
    if now < rotated_at {
        return !grace.is_zero() && rotated_at <= after(now, CLOCK_SKEW);
    }
    now < after(rotated_at, grace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::control::{Control, Seed};
    use crate::epoch::Epochs;
    use crate::id::SessionId;
    use crate::session::Session;
    use crate::snapshot::SessionRecord;
    use crate::user::UserId;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    /// Generation 7 since t = 10,000 with floor 4; the session ends at 100,000.
    fn snapshot() -> Snapshot {
        let session = Session::new(
            SessionId::from(uuid::Uuid::from_u128(7)),
            UserId::parse("alice").unwrap(),
            at(0),
            at(100_000),
        );
        let mut control = Control::new(Seed::from_bytes([0; 32]), at(0), at(100_000));
        (control.generation, control.floor, control.rotated_at) = (7, 4, at(10_000));
        Snapshot::new(SessionRecord::new(session, control), Epochs::default())
    }

    #[test]
    fn the_table_of_the_protocol() {
        let cases = [
            (7, 10_000, Verdict::Advance),
            (7, 99_999, Verdict::Advance),
            (6, 10_000, Verdict::Converge),
            (6, 19_999, Verdict::Converge),
            (6, 20_000, Verdict::Behind),
            (6, 5_000, Verdict::Converge),
            (6, 4_999, Verdict::Behind),
            (5, 10_001, Verdict::Behind),
            (4, 10_001, Verdict::Behind),
            (3, 10_001, Verdict::BelowFloor),
            (0, 10_001, Verdict::BelowFloor),
            (8, 10_001, Verdict::Ahead),
            (u64::MAX, 10_001, Verdict::Ahead),
            (7, 100_000, Verdict::Ended(State::Expired)),
            (6, 100_000, Verdict::Ended(State::Expired)),
        ];
        for (presented, now, expected) in cases {
            let verdict = judge(&snapshot(), presented, at(now), Duration::from_secs(10), LivePolicy::UNTRACKED);
            assert_eq!(verdict, expected, "generation {presented} at {now}");
        }
    }

    #[test]
    fn without_grace_a_second_use_is_a_replay_at_once() {
        let verdict = judge(&snapshot(), 6, at(10_000), Duration::ZERO, LivePolicy::UNTRACKED);
        assert_eq!(verdict, Verdict::Behind);
        assert!(!within_grace(at(10), at(5), Duration::ZERO));
    }
}
