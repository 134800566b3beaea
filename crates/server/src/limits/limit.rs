//! How a limit is said: so many, in such a time, for whom.

use std::fmt;
use std::time::Duration;

/// For whom requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Each client address by itself.
    Address,
    /// Each user, once the credential has verified.
    User,
    /// Each session, once the token has verified.
    Session,
    /// Everybody together; only what succeeds counts.
    Global,
    /// Each mail address by itself, for letters that anybody can cause.
    Mailbox,
}

/// How many in which time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// A bucket of `most`, refilled at `per_minute`. It is kept as a fixed window: `most` in the time that fills the bucket.
    Bucket { most: u32, per_minute: f64 },
    /// So many in a fixed window.
    Window { most: u32, every: Every },
}

/// The length of a fixed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Every {
    Minute,
    Hour,
    Day,
}

/// The limit of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit {
    bound: Option<Bound>,
    kept: bool,
}

/// A rate and whom it binds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) rate: Rate,
    pub(crate) scope: Scope,
}

impl Rate {
    /// `most, per_minute/min`.
    pub(crate) const fn bucket(most: u32, per_minute: f64) -> Self {
        Self::Bucket { most, per_minute }
    }

    /// `most/min`.
    pub(crate) const fn per_minute(most: u32) -> Self {
        Self::Window { most, every: Every::Minute }
    }

    /// `most/h`.
    pub(crate) const fn per_hour(most: u32) -> Self {
        Self::Window { most, every: Every::Hour }
    }

    /// `most/day`.
    pub(crate) const fn per_day(most: u32) -> Self {
        Self::Window { most, every: Every::Day }
    }

    /// How many.
    pub(crate) const fn most(self) -> u32 {
        match self {
            Self::Bucket { most, .. } | Self::Window { most, .. } => most,
        }
    }

    /// The time in which they are counted, in whole seconds.
    pub(crate) fn window(self) -> Duration {
        let seconds = match self {
            Self::Bucket { most, per_minute } => {
                Duration::try_from_secs_f64(f64::from(most) * 60.0 / per_minute).unwrap_or_default().as_secs()
            }
            Self::Window { every: Every::Minute, .. } => 60,
            Self::Window { every: Every::Hour, .. } => 60 * 60,
            Self::Window { every: Every::Day, .. } => 24 * 60 * 60,
        };
        Duration::from_secs(seconds.max(1))
    }
}

impl Limit {
    /// No limit at all. To be said like any other.
    pub(crate) const fn none() -> Self {
        Self { bound: None, kept: false }
    }

    /// For each client address.
    pub(crate) const fn ip(rate: Rate) -> Self {
        Self::of(rate, Scope::Address)
    }

    /// For each user.
    pub(crate) const fn user(rate: Rate) -> Self {
        Self::of(rate, Scope::User)
    }

    /// For each session. The handler counts, by its [`SessionMeter`](super::SessionMeter): it knows whose token was presented.
    pub(crate) const fn session(rate: Rate) -> Self {
        Self::of(rate, Scope::Session)
    }

    /// For everybody together. The handler counts, by its [`SessionMeter`](super::SessionMeter): it knows when it is done.
    pub(crate) const fn global(rate: Rate) -> Self {
        Self::of(rate, Scope::Global)
    }

    /// Kept in this process while the shared counters are out of reach: where guessing is worth it, an outage must not open the door.
    pub(crate) const fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    pub(crate) const fn bound(self) -> Option<Bound> {
        self.bound
    }

    pub(crate) const fn is_kept(self) -> bool {
        self.kept
    }

    const fn of(rate: Rate, scope: Scope) -> Self {
        Self { bound: Some(Bound { rate, scope }), kept: false }
    }
}

impl fmt::Display for Limit {
    /// As the contract writes it: `20, 5/min ip`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            None => f.write_str("–"),
            Some(Bound { rate, scope }) => write!(f, "{rate} {scope}"),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { most, per_minute } => write!(f, "{most}, {per_minute}/min"),
            Self::Window { most, every: Every::Minute } => write!(f, "{most}/min"),
            Self::Window { most, every: Every::Hour } => write!(f, "{most}/h"),
            Self::Window { most, every: Every::Day } => write!(f, "{most}/day"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "ip",
            Self::User => "user",
            Self::Session => "session",
            Self::Global => "global",
            Self::Mailbox => "mailbox",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_and_kept_as_the_contract_says() {
        for (limit, text, most, seconds) in [
            (Limit::ip(Rate::bucket(20, 5.0)), "20, 5/min ip", 20, 240),
            (Limit::ip(Rate::bucket(5, 0.2)), "5, 0.2/min ip", 5, 25 * 60),
            (Limit::user(Rate::bucket(5, 0.33)), "5, 0.33/min user", 5, 909),
            (Limit::session(Rate::bucket(10, 10.0)), "10, 10/min session", 10, 60),
            (Limit::user(Rate::per_minute(100)), "100/min user", 100, 60),
            (Limit::user(Rate::per_hour(5)), "5/h user", 5, 3600),
            (Limit::global(Rate::per_day(1)), "1/day global", 1, 86400),
        ] {
            let rate = limit.bound().unwrap().rate;
            assert_eq!(limit.to_string(), text);
            assert_eq!((rate.most(), rate.window().as_secs()), (most, seconds), "{text}");
        }
        assert_eq!(Limit::none().to_string(), "–");
    }
}
