//! What a rule has seen of each session, so that it raises a change that lasts, and raises it once.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use quick_cache::unsync::Cache;
use session_manager_core::clock::after;
use session_manager_core::{Session, SessionId, SuspicionAction};

/// How many sessions are remembered; who was not seen for longest is forgotten first.
pub(crate) const REMEMBERED: usize = 65_536;
/// How long what was raised once is not raised again.
pub(crate) const QUIET: Duration = Duration::from_hours(24 * 30);
/// How many different changes of one session are remembered.
const CHANGES: usize = 8;

/// The changes of sessions that one rule has seen.
pub(crate) struct Changes {
    pub(crate) lasting: Duration,
    sessions: Mutex<Cache<SessionId, Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What it changed to, and since when; not raised yet.
    pending: Option<(String, DateTime<Utc>)>,
    /// What was raised, and when.
    raised: Vec<(String, DateTime<Utc>)>,
}

impl Changes {
    /// Changes are raised when they have lasted this long.
    pub(crate) fn lasting(lasting: Duration) -> Self {
        Self { lasting, sessions: Mutex::new(Cache::new(REMEMBERED)) }
    }

    /// Judges what the session changed to; `None` is as it was at sign-in.
    pub(crate) fn judge(
        &self,
        session: &Session,
        change: Option<String>,
        action: SuspicionAction,
        now: DateTime<Utc>,
    ) -> Option<SuspicionAction> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(change) = change else {
            if let Some(mut seen) = sessions.get_mut(&session.id) {
                seen.pending = None;
            }
            return None;
        };
        if sessions.peek(&session.id).is_none() {
            sessions.insert(session.id, Seen::default());
        }
        let mut seen = sessions.get_mut(&session.id)?;
        seen.judge(session, change, self.lasting, action, now)
    }
}

impl Seen {
    fn judge(
        &mut self,
        session: &Session,
        change: String,
        lasting: Duration,
        action: SuspicionAction,
        now: DateTime<Utc>,
    ) -> Option<SuspicionAction> {
        self.raised.retain(|(_, at)| now < after(*at, QUIET));
        if let Some((_, at)) = self.raised.iter().find(|(raised, _)| *raised == change) {
            self.pending = None;
            return (!is_carried_out(session, action, *at)).then_some(action);
        }
        let since = match &self.pending {
            Some((pending, since)) if *pending == change => *since,
            _ => now,
        };
        if after(since, lasting) > now {
            self.pending = Some((change, since));
            return None;
        }
        self.pending = None;
        if self.raised.len() >= CHANGES {
            self.raised.remove(0);
        }
        self.raised.push((change, now));
        Some(action)
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("lasting", &self.lasting).finish_non_exhaustive()
    }
}

/// Whether what was asked for at `raised` shows in the session, or was answered by the user. An end shows by there being no session.
pub(crate) fn is_carried_out(session: &Session, action: SuspicionAction, raised: DateTime<Utc>) -> bool {
    let authentication = &session.authentication;
    match action {
        SuspicionAction::Record => true,
        SuspicionAction::StepUp => {
            authentication.at > raised || authentication.step_up_since.is_some_and(|since| since >= raised)
        }
        // And whatever stricter ones there will be.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use session_manager_core::UserId;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    fn session() -> Session {
        let user = UserId::parse("alice").unwrap_or_else(|_| unreachable!());
        Session::new(SessionId::from(uuid::Uuid::from_u128(7)), user, at(0), at(1_000_000))
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the rules say it")]
    fn changed(to: &str) -> Option<String> {
        Some(to.to_owned())
    }

    #[test]
    fn a_change_is_raised_when_it_has_lasted_and_then_no_more() {
        let (changes, session) = (Changes::lasting(Duration::from_secs(30)), session());
        let judge = |change, seconds| changes.judge(&session, change, SuspicionAction::Record, at(seconds));
        assert_eq!(judge(changed("FR"), 0), None);
        assert_eq!(judge(changed("FR"), 29), None);
        assert_eq!(judge(changed("FR"), 30), Some(SuspicionAction::Record));
        assert_eq!(judge(changed("FR"), 31), None, "once");
        assert_eq!(judge(None, 40), None);
        assert_eq!(judge(changed("FR"), 100), None, "to and fro is known");
    }

    #[test]
    fn who_comes_back_in_time_is_not_raised() {
        let (changes, session) = (Changes::lasting(Duration::from_secs(30)), session());
        let judge = |change, seconds| changes.judge(&session, change, SuspicionAction::Record, at(seconds));
        for round in 0..10 {
            assert_eq!(judge(changed("FR"), round * 40), None);
            assert_eq!(judge(None, round * 40 + 20), None);
        }
        for round in 0..20 {
            let to = if round % 2 == 0 { "FR" } else { "BE" };
            assert_eq!(judge(changed(to), 1000 + round * 20), None, "none of both lasts");
        }
    }

    #[test]
    fn a_change_is_raised_again_after_the_quiet_time() {
        let (changes, session) = (Changes::lasting(Duration::ZERO), session());
        let quiet = TimeDelta::from_std(QUIET).unwrap_or_default();
        let judge = |now| changes.judge(&session, changed("FR"), SuspicionAction::Record, now);
        assert!(judge(at(0)).is_some());
        assert!(judge(at(0) + quiet - TimeDelta::seconds(1)).is_none());
        assert!(judge(at(0) + quiet).is_some());
    }

    #[test]
    fn a_step_up_is_asked_for_until_it_shows() {
        let (changes, mut session) = (Changes::lasting(Duration::ZERO), session());
        let judge =
            |session: &Session, seconds| changes.judge(session, changed("FR"), SuspicionAction::StepUp, at(seconds));
        assert!(judge(&session, 10).is_some());
        assert!(judge(&session, 11).is_some(), "it may have failed");
        session.authentication.step_up_since = Some(at(11));
        assert!(judge(&session, 12).is_none());
        session.authentication.step_up_since = None;
        session.authentication.at = at(20);
        assert!(judge(&session, 21).is_none(), "the user has answered");
    }

    #[test]
    fn an_end_is_asked_for_as_long_as_there_is_a_session() {
        let (changes, session) = (Changes::lasting(Duration::ZERO), session());
        for seconds in 0..3 {
            let judged = changes.judge(&session, changed("FR"), SuspicionAction::Revoke, at(seconds));
            assert_eq!(judged, Some(SuspicionAction::Revoke));
        }
    }

    #[test]
    fn of_one_session_few_changes_are_remembered() {
        let (changes, session) = (Changes::lasting(Duration::ZERO), session());
        for number in 0..1000 {
            assert!(changes.judge(&session, changed(&number.to_string()), SuspicionAction::Record, at(0)).is_some());
        }
        let mut sessions = changes.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(sessions.get_mut(&session.id).map(|seen| seen.raised.len()), Some(CHANGES));
    }
}
