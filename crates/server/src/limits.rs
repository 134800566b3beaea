//! Rate limits: how many requests each endpoint takes, and from whom. The numbers stand in the table of endpoints.
//!
//! A client that nobody knows yet counts by its address; user and session are charged only after the credential has verified. So nobody can
//! use up another's budget. Requests whose credential does not verify share [`UNVERIFIED`], by address, over all endpoints together.

mod counters;
mod letters;
mod limit;
mod meter;
mod redis;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Response};
use session_manager_core::{Clock, SessionId, UserId};
use session_manager_http::Problem;

use crate::problem::Rejection;

pub(crate) use letters::Letters;
pub(crate) use limit::{Bound, Limit, Rate, Scope};
pub(crate) use meter::{Meter, SessionMeter, limited};

pub(crate) use counters::Counters;
pub(crate) use redis::RedisCounters;

use counters::{Counted, CounterName, CountersDown, MemoryCounters};

/// What an address may ask for with credentials that do not verify, or with none where one is needed. Generous, since a whole office may
/// share an address and every expired token is one; 300 guesses a minute at a key of 256 bits lead nowhere. Whoever shows a good credential is
/// never refused for it.
const UNVERIFIED: Bound = Bound { rate: Rate::per_minute(300), scope: Scope::Address };
const UNVERIFIED_ROUTE: &str = "unverified credentials";

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The headers of every response of a limited endpoint, and what they say.
pub(crate) const HEADERS: [(&str, &str); 3] = [
    ("X-RateLimit-Limit", "How many requests are taken in a window."),
    ("X-RateLimit-Remaining", "How many are left in this window."),
    ("X-RateLimit-Reset", "In how many seconds the next window begins."),
];

/// Counts requests and says when it was enough.
#[derive(Debug)]
pub(crate) struct Limiter {
    clock: Arc<dyn Clock>,
    /// Counters that several servers share. Without them each counts for itself.
    shared: OnceLock<Arc<dyn Counters>>,
    memory: MemoryCounters,
    /// How often the shared counters could not be asked.
    outages: AtomicU64,
}

/// The limit of one route, wherever it is called from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget {
    /// Method and route: the name under which is counted.
    pub(crate) route: String,
    /// The route's template, for the answer.
    pub(crate) template: String,
    pub(crate) bound: Bound,
    /// Whether it is kept in this process while the shared counters are out of reach.
    pub(crate) kept: bool,
}

/// Whose requests are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Address(IpAddr),
    User(UserId),
    Session(SessionId),
    /// Whoever reads a mail address, of which only a keyed hash is known here.
    Mailbox(String),
    Everybody,
}

/// Where a client stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until the next window begins.
    pub(crate) reset: Duration,
    /// Whether the request was within the limit.
    pub(crate) admitted: bool,
}

impl Limiter {
    /// A limiter by this clock.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shared: OnceLock::new(), memory: MemoryCounters::new(), outages: AtomicU64::new(0) }
    }

    /// From now on with counters that several servers share. Those that are set first stay.
    pub(crate) fn share(&self, counters: Arc<dyn Counters>) {
        let _ = self.shared.set(counters);
    }

    /// How often the shared counters could not be asked.
    #[cfg_attr(not(test), expect(dead_code, reason = "the metrics will show it"))]
    pub(crate) fn outages(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// Counts a request, or looks only with a cost of 0.
    ///
    /// # Behaviour
    /// None where that cannot be told: while the shared counters are out of reach the request goes on uncounted, but for a limit that is
    /// [`kept`](Limit::kept), which is then counted in this process.
    async fn count(&self, budget: &Budget, subject: &Subject, cost: u32) -> Option<Standing> {
        Some(self.spend(budget, subject, cost).await?.standing)
    }

    /// As [`count`](Self::count), for what can be [given back](Self::give_back).
    async fn spend(&self, budget: &Budget, subject: &Subject, cost: u32) -> Option<Spent> {
        let (window, whose) = (self.window(budget.bound), subject.to_string());
        let name = budget.counter(&whose, window.number);
        let (counted, in_memory) = match self.shared.get() {
            None => (self.memory.count_now(&name, cost), true),
            Some(shared) => match shared.count(&name, cost).await {
                Err(error) if budget.kept => {
                    self.note_outage(&error);
                    (self.memory.count_now(&name, cost), true)
                }
                counted => (counted, false),
            },
        };
        let standing = self.standing(budget, window.left, counted)?;
        Some(Spent { standing, window: window.number, in_memory })
    }

    /// Takes one off again that was admitted, where it was counted: what it was spent for has not happened. Returns where the client stands then.
    async fn give_back(&self, budget: &Budget, subject: &Subject, spent: &Spent) -> Option<Standing> {
        let whose = subject.to_string();
        let name = budget.counter(&whose, spent.window);
        let counted = match self.shared.get().filter(|_| !spent.in_memory) {
            None => self.memory.give_back_now(&name),
            Some(shared) => shared.give_back(&name).await,
        };
        self.standing(budget, spent.standing.reset, counted)
    }

    fn standing(&self, budget: &Budget, reset: Duration, counted: Result<Counted, CountersDown>) -> Option<Standing> {
        match counted {
            Ok(Counted { admitted, remaining }) => {
                Some(Standing { limit: budget.bound.rate.most(), remaining, reset, admitted })
            }
            Err(error) => {
                self.note_outage(&error);
                None
            }
        }
    }

    fn note_outage(&self, error: &CountersDown) {
        let outages = self.outages.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // The first, the second, the fourth, …: an outage must not fill the log as well.
        if outages.is_power_of_two() {
            tracing::warn!(error = %error.0, outages, "a request could not be counted against its rate limit");
        }
    }

    fn window(&self, bound: Bound) -> Window {
        let now = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or_default();
        let length = u64::try_from(bound.rate.window().as_millis()).unwrap_or(u64::MAX).max(1);
        Window { number: now / length, left: Duration::from_millis(length - now % length) }
    }
}

/// What was counted, and where.
#[derive(Clone, Copy, Debug)]
struct Spent {
    standing: Standing,
    window: u64,
    in_memory: bool,
}

/// A stretch of time in which requests are counted together.
struct Window {
    number: u64,
    left: Duration,
}

impl Budget {
    /// The budget of a route with this limit; none without one.
    pub(crate) fn of(method: &str, template: String, limit: Limit) -> Option<Self> {
        let bound = limit.bound()?;
        Some(Self { route: format!("{method} {template}"), template, bound, kept: limit.is_kept() })
    }

    /// What is spent on credentials that do not verify, at this route.
    fn unverified(template: String) -> Self {
        // Guessing is what it is there against, so that it is kept in any case.
        Self { route: UNVERIFIED_ROUTE.to_owned(), template, bound: UNVERIFIED, kept: true }
    }

    fn counter<'a>(&'a self, whose: &'a str, window: u64) -> CounterName<'a> {
        let rate = self.bound.rate;
        CounterName { route: &self.route, whose, window, length: rate.window(), most: rate.most() }
    }
}

impl Subject {
    /// A client by its address, one of IPv6 by its network of 64 bits: within that, one customer has all addresses. A peer without an address
    /// (a Unix socket) counts as this machine.
    fn of_address(address: Option<IpAddr>) -> Self {
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "ip {address}"),
            Self::User(user) => write!(f, "user {}", user.as_str()),
            Self::Session(session) => write!(f, "session {session}"),
            Self::Mailbox(hash) => write!(f, "mailbox {hash}"),
            Self::Everybody => f.write_str("everybody"),
        }
    }
}

impl Standing {
    /// Says it in the headers of a response.
    fn tell<B>(self, response: &mut Response<B>) {
        let seconds = self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0);
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(seconds));
    }

    /// The 429.
    fn refusal(self, template: &str) -> Rejection {
        Problem::too_many_requests(self.reset, template).into()
    }
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
