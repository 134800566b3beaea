//! Copying everything from one storage to another, beside the traffic.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use session_manager_core::storage::{ScanCursor, Touch};
use session_manager_core::{Clock, Result, SessionStorage, Snapshot, SystemClock};

use crate::carry::{Carried, carry, scan_of};

/// How to copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// How many sessions are read at once. 200 by default.
    pub page: u32,
    /// How many are written at once. 8 by default.
    pub parallel: usize,
    /// How many sessions a second at most. Unlimited by default.
    pub per_second: Option<NonZeroU32>,
    /// Where an earlier copy ended: its last [`CopyProgress::cursor`].
    pub resume: Option<ScanCursor>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl CopyOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self { page: 200, parallel: 8, per_second: None, resume: None, clock: Arc::new(SystemClock) }
    }

    /// Sets [`page`](Self::page), at least 1.
    pub fn page(mut self, sessions: u32) -> Self {
        self.page = sessions.max(1);
        self
    }

    /// Sets [`parallel`](Self::parallel), at least 1.
    pub fn parallel(mut self, writes: usize) -> Self {
        self.parallel = writes.max(1);
        self
    }

    /// Sets [`per_second`](Self::per_second).
    pub const fn per_second(mut self, sessions: Option<NonZeroU32>) -> Self {
        self.per_second = sessions;
        self
    }

    /// Sets [`resume`](Self::resume).
    pub fn resume(mut self, cursor: Option<ScanCursor>) -> Self {
        self.resume = cursor;
        self
    }

    /// Sets [`clock`](Self::clock).
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How far a copy is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Sessions read.
    pub scanned: u64,
    /// Sessions written.
    pub written: u64,
    /// Sessions that were there as new or newer.
    pub kept: u64,
    /// Sessions that were removed while they were copied.
    pub gone: u64,
    /// Where to go on after an interruption; `None` at the end.
    pub cursor: Option<ScanCursor>,
}

/// Copies every session, ended ones included, with its generation, floor, stamp, revocation and epochs.
///
/// `progress` is called after every page. What it is given last is where a later call goes on, by [`CopyOptions::resume`].
///
/// # Behaviour
/// - Repeatable: what is there as new is kept, what is older is replaced. A second copy is the way to be sure that the first missed nothing.
/// - Safe beside traffic, and beside other copies: a session that changes or ends while it is copied is copied again, one that is removed is
///   removed. For that, whatever changes sessions must already write both storages ([`DualStorage`](crate::DualStorage)), or the copy must be
///   repeated once it does.
/// - Last activity moves forward with it, never back.
/// - Dropping the future leaves whole sessions behind, and the rest for the next call.
///
/// # Errors
/// What either storage fails with, and [`ErrorKind::Unsupported`](session_manager_core::ErrorKind::Unsupported) where one has no scan.
pub async fn copy(
    from: &dyn SessionStorage,
    to: &dyn SessionStorage,
    options: &CopyOptions,
    progress: &mut (dyn FnMut(&CopyProgress) + Send),
) -> Result<CopyProgress> {
    scan_of(to)?;
    let (scan, clock) = (scan_of(from)?, &options.clock);
    let mut done = CopyProgress { cursor: options.resume.clone(), ..CopyProgress::default() };
    loop {
        let began = clock.now();
        let page = scan.scan(done.cursor.as_ref(), options.page).await?;
        let copied = u32::try_from(page.sessions.len()).unwrap_or(u32::MAX);
        copy_page(from, to, options, page.sessions, &mut done).await?;
        done.cursor = page.next;
        progress(&done);
        if done.cursor.is_none() {
            return Ok(done);
        }
        if let Some(per_second) = options.per_second {
            let due = Duration::from_secs(1).saturating_mul(copied) / per_second.get();
            let taken = (clock.now() - began).to_std().unwrap_or_default();
            clock.sleep(due.saturating_sub(taken)).await;
        }
    }
}

async fn copy_page(
    from: &dyn SessionStorage,
    to: &dyn SessionStorage,
    options: &CopyOptions,
    sessions: Vec<Snapshot>,
    done: &mut CopyProgress,
) -> Result<()> {
    let now = options.clock.now();
    let active = |snapshot: &&Snapshot| snapshot.revocation().is_none();
    let touches: Vec<Touch> = sessions
        .iter()
        .filter(active)
        .map(|snapshot| Touch::new(snapshot.key(), snapshot.control.last_activity, snapshot.control.idle_expires_at))
        .collect();
    let carried: Vec<Carried> = stream::iter(sessions)
        .map(|snapshot| carry(from, to, snapshot, now))
        .buffer_unordered(options.parallel.max(1))
        .try_collect()
        .await?;
    for carried in carried {
        done.scanned = done.scanned.saturating_add(1);
        let count = match carried {
            Carried::Written => &mut done.written,
            Carried::Kept => &mut done.kept,
            Carried::Gone => &mut done.gone,
        };
        *count = count.saturating_add(1);
    }
    // A put is by version, and activity has none.
    to.touch(&touches, now).await?;
    Ok(())
}
