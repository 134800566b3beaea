//! [`DualStorage`]: two storages that are both written, of which one answers.

mod ending;
mod following;
mod seams;
mod storage;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use session_manager_core::storage::Capabilities;
use session_manager_core::{Clock, Error, ErrorKind, Result, SessionKey, SessionStorage, SystemClock};

use crate::carry::scan_of;

/// Which of two storages answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lead {
    /// The old one; the new one is kept up to date.
    #[default]
    Old,
    /// The new one; what it does not have is fetched from the old one. For the time in which not everything is copied.
    NewThenOld,
    /// The new one; the old one is kept up to date, for the way back.
    New,
}

/// How two storages are led.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DualConfig {
    /// Which one answers.
    pub lead: Lead,
    /// Whether clean-ups of ended sessions run. By default they do not: while sessions move from one storage to the other, the record of
    /// an end is what keeps a late copy of the session dead. The rows wait for the clean-up after the migration.
    pub clean_up: bool,
}

impl DualConfig {
    /// With this one leading.
    pub const fn new(lead: Lead) -> Self {
        Self { lead, clean_up: false }
    }

    /// Sets [`clean_up`](Self::clean_up).
    pub const fn clean_up(mut self, clean_up: bool) -> Self {
        self.clean_up = clean_up;
        self
    }
}

/// Two storages that are both written.
///
/// # Behaviour
/// - The leading storage answers. What it changed is written to the other as it stands afterwards, so that generations, floors, versions,
///   stamps and epochs are the same in both.
/// - Revocations, raised epochs, raised floors and removals are acknowledged only when **both** storages have them. If one fails they
///   are still made in the other: repeat the call. Where the leading storage has made it, a revocation or raised epoch answers
///   [`unconfirmed`](session_manager_core::storage::Revoked::unconfirmed), so that what ended is announced and recorded, and anything else the
///   error [`ErrorKind::Unconfirmed`]; where it has not, the error is its own.
/// - Everything else is acknowledged when the leading storage has it. A session that could not be written to the other is remembered, written
///   again by [`maintenance`](SessionStorage::maintenance), and counted until then ([`DualStats::lagging`]).
/// - Ends are made in the old storage before the new one, whichever leads: sessions are carried from the old to the new, and so a session
///   that ends while it is carried ends up dead in both.
/// - [`remember_once`](SessionStorage::remember_once) asks both, the old one first.
pub struct DualStorage(Dual);

/// The two, and what is known of them.
struct Dual {
    old: Arc<dyn SessionStorage>,
    new: Arc<dyn SessionStorage>,
    config: DualConfig,
    clock: Arc<dyn Clock>,
    lagging: Mutex<HashSet<SessionKey>>,
    counters: Counters,
}

/// What a [`DualStorage`] has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DualStats {
    /// Sessions written to the storage that does not lead.
    pub followed: u64,
    /// Sessions fetched from the old storage because the new one did not have them.
    pub fetched: u64,
    /// Writes to the storage that does not lead that failed.
    pub failed: u64,
    /// Sessions that wait to be written there again.
    pub lagging: u64,
    /// Sessions that are not even waiting, because too many are: only another copy brings them.
    pub forgotten: u64,
}

#[derive(Default)]
struct Counters {
    followed: AtomicU64,
    fetched: AtomicU64,
    failed: AtomicU64,
    forgotten: AtomicU64,
}

/// How many sessions may wait to be written again.
const MAX_LAGGING: usize = 10_000;

impl DualStorage {
    /// Leads two storages as `config` says.
    ///
    /// # Errors
    /// - [`ErrorKind::Unsupported`] where one of them has no scan.
    /// - [`ErrorKind::Misconfigured`] where one keeps epochs and the other does not.
    pub fn new(old: Arc<dyn SessionStorage>, new: Arc<dyn SessionStorage>, config: DualConfig) -> Result<Self> {
        scan_of(&*old)?;
        scan_of(&*new)?;
        if old.capabilities().epochs != new.capabilities().epochs {
            return Err(Error::new(ErrorKind::Misconfigured, "migration")
                .because("one of the two storages keeps epochs and the other does not"));
        }
        let (lagging, counters) = (Mutex::default(), Counters::default());
        Ok(Self(Dual { old, new, config, clock: Arc::new(SystemClock), lagging, counters }))
    }

    /// Takes the time of its background work from `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// What it has done so far.
    pub fn stats(&self) -> DualStats {
        self.0.stats()
    }

    /// Writes again what could not be written to the storage that does not lead. Returns how much still waits.
    ///
    /// # Errors
    /// What the storages fail with; what was not written waits on.
    pub async fn repair(&self) -> Result<u64> {
        self.0.repair().await
    }
}

impl Dual {
    fn stats(&self) -> DualStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DualStats {
            followed: read(&self.counters.followed),
            fetched: read(&self.counters.fetched),
            failed: read(&self.counters.failed),
            lagging: u64::try_from(self.lagging().len()).unwrap_or(u64::MAX),
            forgotten: read(&self.counters.forgotten),
        }
    }

    /// The storage that answers.
    fn leader(&self) -> &dyn SessionStorage {
        if self.config.lead == Lead::Old { &*self.old } else { &*self.new }
    }

    /// The other one.
    fn follower(&self) -> &dyn SessionStorage {
        if self.config.lead == Lead::Old { &*self.new } else { &*self.old }
    }

    /// Whether the old storage may have what the leading one has not.
    fn falls_back(&self) -> bool {
        self.config.lead == Lead::NewThenOld
    }

    fn lagging(&self) -> MutexGuard<'_, HashSet<SessionKey>> {
        self.lagging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What both can do.
    fn common_capabilities(&self) -> Capabilities {
        let (mut common, other) = (self.leader().capabilities(), self.follower().capabilities());
        common.cap &= other.cap;
        common.list_all &= other.list_all;
        common.remember_once &= other.remember_once;
        common.external &= other.external;
        common.transactions = false;
        common.native_expiry |= !self.config.clean_up;
        common.max_value = match (common.max_value, other.max_value) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        common
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl fmt::Debug for DualStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DualStorage")
            .field("old", &self.0.old)
            .field("new", &self.0.new)
            .field("config", &self.0.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
