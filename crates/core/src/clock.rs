//! Time: every "now" and every wait of the library comes from a [`Clock`].

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present, in UTC. Only whole milliseconds are used.
    fn now(&self) -> DateTime<Utc>;

    /// A future that is ready after `duration`; dropping it cancels the wait.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clock of the machine. It waits on a timer thread of its own and so needs no particular runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        futures_timer::Delay::new(duration).boxed()
    }
}

/// A clock that stands still until it is moved: for tests, which then need no sleeping.
///
/// ```
/// use std::time::Duration;
/// use session_manager_core::{Clock, ManualClock};
///
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!((clock.now() - before).num_seconds(), 60);
/// ```
pub struct ManualClock(Mutex<Manual>);

struct Manual {
    now: DateTime<Utc>,
    sleepers: Vec<(DateTime<Utc>, oneshot::Sender<()>)>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(Mutex::new(Manual { now: now.trunc_subsecs(3), sleepers: Vec::new() }))
    }

    /// Moves the clock forward and wakes whoever waited for that.
    pub fn advance(&self, duration: Duration) {
        let now = after(self.now(), duration);
        self.set(now);
    }

    /// Sets the clock, forward or back, and wakes whoever waited for that.
    pub fn set(&self, now: DateTime<Utc>) {
        let mut manual = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        manual.now = now.trunc_subsecs(3);
        let now = manual.now;
        let (due, waiting) = std::mem::take(&mut manual.sleepers).into_iter().partition(|(until, _)| *until <= now);
        manual.sleepers = waiting;
        drop(manual);
        let due: Vec<(DateTime<Utc>, oneshot::Sender<()>)> = due;
        for (_, sleeper) in due {
            // A sleeper that was dropped waits for nothing any more.
            let _ = sleeper.send(());
        }
    }
}

impl Default for ManualClock {
    /// 1 January 2026, midnight UTC.
    fn default() -> Self {
        Self::at(DateTime::from_timestamp_millis(1_767_225_600_000).unwrap_or(DateTime::UNIX_EPOCH))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut manual = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = after(manual.now, duration);
        let (wake, woken) = oneshot::channel();
        if until > manual.now {
            manual.sleepers.push((until, wake));
        }
        // Without a wait the sender is dropped here, which wakes the receiver at once.
        woken.map(|_| ()).boxed()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({})", self.now())
    }
}

/// `start + duration`, at most the end of what storages can hold (the year 9999).
pub fn after(start: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let end = DateTime::from_timestamp_millis(253_402_300_799_999).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    start.checked_add_signed(delta).map_or(end, |time| time.min(end))
}

/// `start − duration`, at least the Unix epoch.
pub fn before(start: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    start.checked_sub_signed(delta).map_or(DateTime::UNIX_EPOCH, |time| time.max(DateTime::UNIX_EPOCH))
}

/// Cuts a time to the whole milliseconds that every storage keeps.
pub fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_when_the_clock_reaches_it() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(Duration::from_millis(10));
        clock.advance(Duration::from_millis(9));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_millis(1));
        assert!(sleep.now_or_never().is_some());
        assert!(clock.sleep(Duration::ZERO).now_or_never().is_some());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(after(DateTime::UNIX_EPOCH, Duration::MAX).timestamp_millis(), 253_402_300_799_999);
        assert_eq!(before(DateTime::UNIX_EPOCH, Duration::MAX), DateTime::UNIX_EPOCH);
    }
}
