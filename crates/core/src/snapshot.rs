//! One reading of a session with both its epochs, and the one definition of whether it lives.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::control::{Control, Revocation};
use crate::epoch::{Admission, Epochs};
use crate::id::SessionKey;
use crate::session::Session;

/// A session as a storage keeps and moves it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionRecord {
    /// What changes seldom. Shared: reading copies no strings.
    pub session: Arc<Session>,
    /// What every check touches.
    pub control: Control,
}

impl SessionRecord {
    /// A record of a session and its control part.
    pub fn new(session: impl Into<Arc<Session>>, control: Control) -> Self {
        Self { session: session.into(), control }
    }
}

/// One consistent reading of a session and both its epochs.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The session.
    pub session: Arc<Session>,
    /// Its hot part.
    pub control: Control,
    /// The epochs it is measured against.
    pub epochs: Epochs,
}

impl Snapshot {
    /// A reading.
    pub fn new(record: SessionRecord, epochs: Epochs) -> Self {
        Self { session: record.session, control: record.control, epochs }
    }

    /// The record without the epochs.
    pub fn record(&self) -> SessionRecord {
        SessionRecord { session: Arc::clone(&self.session), control: self.control.clone() }
    }

    /// How storages look it up.
    pub fn key(&self) -> SessionKey {
        self.session.key()
    }

    /// How the session was ended, if somebody ended it.
    pub fn revocation(&self) -> Option<&Revocation> {
        self.control.revocation.as_deref()
    }

    /// When the session ends if nothing more happens.
    pub fn deadline(&self) -> DateTime<Utc> {
        self.session.expires_at.min(self.control.idle_expires_at)
    }

    /// Whether the session lives at `now`: the one definition that every check, cap, list, count and clean-up uses.
    ///
    /// # Behaviour
    /// A deadline is the first moment at which the session is over: at `deadline − 1 ms` it lives, at `deadline` it does not.
    pub fn state(&self, now: DateTime<Utc>, live: LivePolicy) -> State {
        if self.control.revocation.is_some() {
            return State::Revoked;
        }
        if self.session.expires_at <= now {
            return State::Expired;
        }
        if self.control.idle_expires_at <= now {
            return State::Idle;
        }
        match live.epochs {
            EpochTracking::Untracked => State::Live,
            EpochTracking::Tracked => match self.epochs.admit(self.control.stamped, now) {
                Admission::Admitted { .. } => State::Live,
                Admission::RotatedOut => State::RotatedOut,
                Admission::Lost => State::EpochLost,
            },
        }
    }

    /// Until when an access token of this session may live at most: the absolute and idle deadlines, and the grace of a rotation.
    pub fn token_deadline(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.epochs.admit(self.control.stamped, now) {
            Admission::Admitted { until: Some(until) } => self.deadline().min(until),
            _ => self.deadline(),
        }
    }
}

/// What a session's life depends on beside itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LivePolicy {
    /// Whether the storage keeps epochs.
    pub epochs: EpochTracking,
}

impl LivePolicy {
    /// The rule of a storage that keeps epochs: a missing one refuses.
    pub const TRACKED: Self = Self { epochs: EpochTracking::Tracked };
    /// The rule of a storage that declares to keep none.
    pub const UNTRACKED: Self = Self { epochs: EpochTracking::Untracked };
}

/// Whether a storage keeps epochs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochTracking {
    /// It does: a session without one is refused.
    Tracked,
    /// It declares in its capabilities that it does not.
    Untracked,
}

/// Whether a session lives, and if not, how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// It lives.
    Live,
    /// It ended for want of activity.
    Idle,
    /// It reached its absolute deadline.
    Expired,
    /// Somebody ended it.
    Revoked,
    /// The user's or everybody's epoch was raised since.
    RotatedOut,
    /// Its epoch record was lost by the storage.
    EpochLost,
}

impl State {
    /// A stable name for logs, audit and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::RotatedOut => "rotated_out",
            Self::EpochLost => "epoch_lost",
        }
    }

    /// Whether the session lives.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live)
    }

    /// Whether it ended by the passing of time alone.
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::Idle | Self::Expired)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::control::{Actor, RevocationReason, Seed};
    use crate::epoch::{Epoch, GlobalEpoch};
    use crate::id::SessionId;
    use crate::user::UserId;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn snapshot() -> Snapshot {
        let session =
            Session::new(SessionId::from(uuid::Uuid::from_u128(7)), UserId::parse("alice").unwrap(), at(0), at(1000));
        let epochs = Epochs::new(Some(Epoch::first(1)), Some(GlobalEpoch::new(Epoch::first(2))));
        let mut control = Control::new(Seed::from_bytes([0; 32]), at(0), at(500));
        control.stamped = epochs.stamp();
        Snapshot::new(SessionRecord::new(session, control), epochs)
    }

    #[test]
    fn deadlines_are_exact_to_the_millisecond() {
        let mut snapshot = snapshot();
        for (now, state) in [(499, State::Live), (500, State::Idle), (501, State::Idle), (1000, State::Expired)] {
            assert_eq!(snapshot.state(at(now), LivePolicy::TRACKED), state, "{now}");
        }
        snapshot.control.idle_expires_at = at(2000);
        for (now, state) in [(999, State::Live), (1000, State::Expired), (1001, State::Expired)] {
            assert_eq!(snapshot.state(at(now), LivePolicy::TRACKED), state, "{now}");
        }
    }

    #[test]
    fn revocation_and_epochs_end_it() {
        let mut snapshot = snapshot();
        snapshot.epochs.user = None;
        assert_eq!(snapshot.state(at(1), LivePolicy::TRACKED), State::EpochLost);
        assert_eq!(snapshot.state(at(1), LivePolicy::UNTRACKED), State::Live);
        snapshot.epochs.user = Some(Epoch::first(1).next());
        assert_eq!(snapshot.state(at(1), LivePolicy::TRACKED), State::RotatedOut);
        snapshot.control.revocation = Some(Arc::new(Revocation::new(at(1), RevocationReason::LOGOUT, Actor::System)));
        assert_eq!(snapshot.state(at(1), LivePolicy::UNTRACKED), State::Revoked);
    }
}
