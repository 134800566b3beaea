//! Reading everything and writing it elsewhere: export and migration.

use async_trait::async_trait;

use crate::error::Result;
use crate::snapshot::Snapshot;

/// A place in a scan: opaque to everybody but the storage that made it, and good after a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanCursor(pub String);

/// A page of a scan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanPage {
    /// The sessions, ended ones included, each with its epochs.
    pub sessions: Vec<Snapshot>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<ScanCursor>,
}

impl ScanPage {
    /// A page.
    pub const fn new(sessions: Vec<Snapshot>, next: Option<ScanCursor>) -> Self {
        Self { sessions, next }
    }
}

/// What became of a written session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PutOutcome {
    /// It was not there, or was older, and is written.
    Written,
    /// What is there is as new or newer, or has ended: nothing was changed.
    Kept,
}

/// Scanning and importing sessions.
#[async_trait]
pub trait SessionScan: Send + Sync {
    /// Reads every session that existed when the scan began, in no particular order, at least once.
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage>;

    /// Writes a session as it was elsewhere, with its generation, floor, stamp and revocation.
    ///
    /// # Behaviour
    /// - Written only over a lower [`Control::version`](crate::Control::version), and never over a revocation.
    /// - An id that another user has is [`PutOutcome::Kept`] too.
    /// - Missing epoch records are created as in the snapshot; existing ones of the same incarnation are raised to it, never lowered.
    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome>;
}
