//! Epochs: ending all sessions of a user, or of everybody, by raising one number.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A counter that survives being lost: a new incarnation never equals an old one, whatever its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// A random number, drawn when the record is made.
    pub incarnation: u64,
    /// Raised by one with every rotation.
    pub version: u64,
}

impl Epoch {
    /// The first epoch of an incarnation.
    pub const fn first(incarnation: u64) -> Self {
        Self { incarnation, version: 1 }
    }

    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Self { incarnation: self.incarnation, version: self.version.saturating_add(1) }
    }
}

/// The global epoch with the grace of its last rotation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GlobalEpoch {
    /// The epoch that new sessions are stamped with.
    pub epoch: Epoch,
    /// When it was last raised.
    pub rotated_at: Option<DateTime<Utc>>,
    /// Until when sessions exactly one version behind live on.
    pub grace_until: Option<DateTime<Utc>>,
}

impl GlobalEpoch {
    /// A global epoch that was never rotated.
    pub const fn new(epoch: Epoch) -> Self {
        Self { epoch, rotated_at: None, grace_until: None }
    }

    /// A global epoch as read from a storage.
    pub const fn rotated(epoch: Epoch, rotated_at: Option<DateTime<Utc>>, grace_until: Option<DateTime<Utc>>) -> Self {
        Self { epoch, rotated_at, grace_until }
    }
}

/// Both epochs that a session is measured against. `None` means that the record is lost, and a session is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Epochs {
    /// The user's.
    pub user: Option<Epoch>,
    /// Everybody's.
    pub global: Option<GlobalEpoch>,
}

impl Epochs {
    /// The epochs as read from a storage.
    pub const fn new(user: Option<Epoch>, global: Option<GlobalEpoch>) -> Self {
        Self { user, global }
    }

    /// What a session created now is stamped with; `None` while a record is missing.
    pub fn stamp(&self) -> Option<Stamp> {
        Some(Stamp { user: self.user?, global: self.global?.epoch })
    }

    /// Whether a session with this stamp is admitted at `now`.
    ///
    /// # Behaviour
    /// - The user's epoch admits exactly its own version.
    /// - The global epoch admits its own version, and the one before while `now < grace_until`.
    /// - Another incarnation, or a missing record or stamp, is [`Admission::Lost`].
    pub fn admit(&self, stamp: Option<Stamp>, now: DateTime<Utc>) -> Admission {
        let (Some(user), Some(global), Some(stamp)) = (self.user, self.global, stamp) else {
            return Admission::Lost;
        };
        if user.incarnation != stamp.user.incarnation || global.epoch.incarnation != stamp.global.incarnation {
            return Admission::Lost;
        }
        if user.version != stamp.user.version {
            return Admission::RotatedOut;
        }
        if global.epoch.version == stamp.global.version {
            return Admission::Admitted { until: None };
        }
        match global.grace_until {
            Some(until) if global.epoch.version == stamp.global.version.saturating_add(1) && now < until => {
                Admission::Admitted { until: Some(until) }
            }
            _ => Admission::RotatedOut,
        }
    }
}

/// The epochs that were current when a session was created, or re-stamped by a rotation that kept it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// The user's.
    pub user: Epoch,
    /// Everybody's.
    pub global: Epoch,
}

/// What the epochs say of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It lives; `until` is the end of a rotation's grace where one is running out.
    Admitted {
        /// The end of the grace.
        until: Option<DateTime<Utc>>,
    },
    /// It is older than a rotation.
    RotatedOut,
    /// An epoch record was lost: refused, because losing one may sign out and never in.
    Lost,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    #[test]
    fn epochs_admit_exactly_what_the_protocol_says() {
        let epoch = |incarnation, version| Epoch { incarnation, version };
        let stamp = Some(Stamp { user: epoch(7, 3), global: epoch(9, 5) });
        let global =
            |version, grace: Option<i64>| Some(GlobalEpoch::rotated(epoch(9, version), Some(at(0)), grace.map(at)));
        let admitted = Admission::Admitted { until: None };
        let cases = [
            (Some(epoch(7, 3)), global(5, None), 100, admitted),
            (Some(epoch(7, 3)), global(6, Some(101)), 100, Admission::Admitted { until: Some(at(101)) }),
            (Some(epoch(7, 3)), global(6, Some(100)), 100, Admission::RotatedOut),
            (Some(epoch(7, 3)), global(6, None), 100, Admission::RotatedOut),
            (Some(epoch(7, 3)), global(7, Some(101)), 100, Admission::RotatedOut),
            (Some(epoch(7, 3)), global(4, Some(101)), 100, Admission::RotatedOut),
            (Some(epoch(7, 4)), global(5, None), 100, Admission::RotatedOut),
            (Some(epoch(7, 2)), global(5, None), 100, Admission::RotatedOut),
            (Some(epoch(8, 3)), global(5, None), 100, Admission::Lost),
            (None, global(5, None), 100, Admission::Lost),
            (Some(epoch(7, 3)), None, 100, Admission::Lost),
        ];
        for (user, global, now, expected) in cases {
            assert_eq!(Epochs::new(user, global).admit(stamp, at(now)), expected, "{user:?} {global:?}");
        }
        assert_eq!(Epochs::new(Some(epoch(7, 3)), global(5, None)).admit(None, at(0)), Admission::Lost);
    }
}
