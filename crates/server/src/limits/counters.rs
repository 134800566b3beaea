//! Where requests are counted.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use limitador::RateLimiter;
use limitador::limit::{Context, Expression, Limit, Namespace};

/// The most counters that are kept in memory; each takes some two hundred bytes. Beyond it the least used ones are forgotten.
const MOST_COUNTERS: u64 = 100_000;

/// The variable by which limitador tells the counters of a limit apart.
const VARIABLE: &str = "counted";

/// What is counted: the requests of one client to one route, in one window.
///
/// The window has its number in the name, so that whose clock decides is settled here: the service's. The counters' own clock only
/// decides when an old window may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CounterName<'a> {
    /// The route, as the table writes it.
    pub(crate) route: &'a str,
    /// Whose requests.
    pub(crate) whose: &'a str,
    /// Which window: its start divided by its length.
    pub(crate) window: u64,
    /// How long it is.
    pub(crate) length: Duration,
    /// The most that are admitted in it.
    pub(crate) most: u32,
}

/// What a counter said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Whether it was within the limit. If not, it was not counted.
    pub(crate) admitted: bool,
    /// How many are left.
    pub(crate) remaining: u32,
}

/// The counters are out of reach.
#[derive(Debug, thiserror::Error)]
#[error("the counters of the rate limits are out of reach")]
pub(crate) struct CountersDown(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// Counts requests. The seam for counters that several servers share.
#[async_trait]
pub(crate) trait Counters: Send + Sync + fmt::Debug {
    /// Adds `cost` to a counter unless that would exceed its most, in one step. A cost of 0 only looks.
    ///
    /// # Errors
    /// The counters are out of reach.
    async fn count(&self, counter: &CounterName<'_>, cost: u32) -> Result<Counted, CountersDown>;

    /// Takes one off a counter again, but never below nothing.
    ///
    /// # Errors
    /// The counters are out of reach. It stays counted then.
    async fn give_back(&self, counter: &CounterName<'_>) -> Result<Counted, CountersDown>;
}

/// Counters in this process, by limitador.
pub(crate) struct MemoryCounters {
    limiter: RateLimiter,
    /// limitador's step is "look, then add": two at once could both find the last one free. It cannot take anything off either, so that what
    /// was given back is kept beside it, by route, for the window in which that last happened.
    step: Mutex<HashMap<String, Returned>>,
    known: RwLock<HashSet<String>>,
}

/// What was given back in a window, by whose it was.
#[derive(Debug, Default)]
struct Returned {
    window: u64,
    of: HashMap<String, u32>,
}

impl MemoryCounters {
    pub(crate) fn new() -> Self {
        Self { limiter: RateLimiter::new(MOST_COUNTERS), step: Mutex::default(), known: RwLock::default() }
    }

    /// [`Counters::count`], which needs no waiting here.
    pub(crate) fn count_now(&self, counter: &CounterName<'_>, cost: u32) -> Result<Counted, CountersDown> {
        self.make_known(counter)?;
        let value = format!("{} {}", counter.window, counter.whose);
        let context = Context::from(HashMap::from([(VARIABLE.to_owned(), value)]));
        let namespace = Namespace::from(counter.route);
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let returned = step.get_mut(counter.route).filter(|returned| returned.window == counter.window);
        let returned = returned.and_then(|returned| returned.of.get_mut(counter.whose));
        let free = returned.as_deref().copied().unwrap_or_default();
        let checked =
            self.limiter.check_rate_limited_and_update(&namespace, &context, u64::from(cost.saturating_sub(free)));
        let checked = checked.map_err(|error| CountersDown(error.to_string().into()))?;
        let remaining = checked.counters.first().and_then(limitador::counter::Counter::remaining);
        let remaining = remaining.ok_or_else(|| CountersDown("the limit is not known".into()))?;
        let mut left = free;
        if let Some(returned) = returned.filter(|_| !checked.limited) {
            *returned = returned.saturating_sub(cost);
            left = *returned;
        }
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX).saturating_add(left);
        Ok(Counted { admitted: !checked.limited, remaining })
    }

    /// [`Counters::give_back`], which needs no waiting here.
    pub(crate) fn give_back_now(&self, counter: &CounterName<'_>) -> Result<Counted, CountersDown> {
        if self.count_now(counter, 0)?.remaining < counter.most {
            let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
            let returned = step.entry(counter.route.to_owned()).or_default();
            if returned.window != counter.window {
                *returned = Returned { window: counter.window, of: HashMap::new() };
            }
            let of = returned.of.entry(counter.whose.to_owned()).or_default();
            *of = of.saturating_add(1);
        }
        self.count_now(counter, 0)
    }

    fn make_known(&self, counter: &CounterName<'_>) -> Result<(), CountersDown> {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(counter.route) {
            return Ok(());
        }
        let variable = Expression::parse(VARIABLE).map_err(|error| CountersDown(error.to_string().into()))?;
        let (most, seconds) = (u64::from(counter.most), counter.length.as_secs());
        self.limiter.add_limit(Limit::new(counter.route, most, seconds, [], [variable]));
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(counter.route.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Counters for MemoryCounters {
    async fn count(&self, counter: &CounterName<'_>, cost: u32) -> Result<Counted, CountersDown> {
        self.count_now(counter, cost)
    }

    async fn give_back(&self, counter: &CounterName<'_>) -> Result<Counted, CountersDown> {
        self.give_back_now(counter)
    }
}

impl fmt::Debug for MemoryCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCounters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(whose: &str, window: u64) -> CounterName<'_> {
        CounterName { route: "GET /x", whose, window, length: Duration::from_mins(1), most: 3 }
    }

    #[test]
    fn each_client_and_each_window_has_its_own() {
        let counters = MemoryCounters::new();
        let count = |whose, window, cost| {
            let counted = counters.count_now(&counter(whose, window), cost).unwrap();
            (counted.admitted, counted.remaining)
        };
        assert_eq!(count("ann", 1, 0), (true, 3), "looking costs nothing");
        for left in [2, 1, 0] {
            assert_eq!(count("ann", 1, 1), (true, left));
        }
        assert_eq!(count("ann", 1, 1), (false, 0));
        assert_eq!(count("ann", 1, 0), (true, 0));
        assert_eq!(count("bob", 1, 1), (true, 2));
        assert_eq!(count("ann", 2, 1), (true, 2));
    }

    #[test]
    fn what_is_given_back_can_be_spent_once_more_in_its_own_window() {
        let counters = MemoryCounters::new();
        let count = |whose, window| counters.count_now(&counter(whose, window), 1).unwrap();
        let give_back = |whose, window| counters.give_back_now(&counter(whose, window)).unwrap().remaining;
        assert_eq!(give_back("ann", 1), 3, "what was never spent");
        for left in [2, 1, 0] {
            assert_eq!(count("ann", 1), Counted { admitted: true, remaining: left });
        }
        assert_eq!(give_back("ann", 1), 1);
        assert_eq!(count("bob", 1).remaining, 2, "each has their own");
        assert_eq!(count("ann", 2).remaining, 2, "and each window");
        assert_eq!(count("ann", 1), Counted { admitted: true, remaining: 0 });
        assert!(!count("ann", 1).admitted);
        assert_eq!((give_back("ann", 1), give_back("ann", 1), give_back("ann", 1), give_back("ann", 1)), (1, 2, 3, 3));
    }

    #[test]
    fn as_many_as_allowed_are_admitted_however_many_come_at_once() {
        use std::sync::atomic::{AtomicU64, Ordering};
        const WINDOWS: u64 = 3000;
        let (counters, arrived) = (MemoryCounters::new(), AtomicU64::new(0));
        // Both are held until the other is there, awake, so that they come as close together as can be.
        let in_window = |window: u64| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 * (window + 1) {
                std::thread::yield_now();
            }
            let last_one = CounterName { most: 1, ..counter("ann", window) };
            usize::from(counters.count_now(&last_one, 1).unwrap().admitted)
        };
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| (0..WINDOWS).map(in_window).sum::<usize>())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 3000);
    }
}
