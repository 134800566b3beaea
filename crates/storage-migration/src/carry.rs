//! Carrying one session from one storage to another so that nothing which ended meanwhile lives there.

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Consistency, Purge, PurgeScope, PutOutcome, SessionScan};
use session_manager_core::{Error, ErrorKind, Result, SessionStorage, Snapshot};

use crate::epochs::raise_both;

/// What became of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Carried {
    /// It was written.
    Written,
    /// What was there was as new.
    Kept,
    /// It was removed meanwhile where it came from.
    Gone,
}

/// How often a session that changes while it is carried is carried again.
pub(crate) const ATTEMPTS: usize = 16;

/// Writes `snapshot`, read from `from`, to `to`, with both its epochs; then looks whether it still stands in `from` as it was, and writes
/// what stands there now.
///
/// # Security
/// Whoever ends a session ends it in `from` before `to`. So either this second look finds the end, or the end comes to `to` after this write
/// and finds the session there. In both cases it is over.
pub(crate) async fn carry(
    from: &dyn SessionStorage,
    to: &dyn SessionStorage,
    mut snapshot: Snapshot,
    now: DateTime<Utc>,
) -> Result<Carried> {
    let (scan, key) = (scan_of(to)?, snapshot.key());
    let mut carried = Carried::Kept;
    for _ in 0..ATTEMPTS {
        if scan.put(&snapshot).await? == PutOutcome::Written {
            carried = Carried::Written;
        }
        // A rotation changes no row: where the row is kept, it is the epochs alone that say what has ended since.
        let raised = raise_both(to, &snapshot.session.user_id, snapshot.epochs, now).await;
        match from.read(&key, Consistency::Latest).await? {
            Some(there) if stands(&there, &snapshot) => return raised.map(|()| carried),
            Some(there) => snapshot = there,
            None => {
                if carried == Carried::Written {
                    to.purge(&Purge::new(PurgeScope::One(key), 1, now)).await?;
                }
                return Ok(Carried::Gone);
            }
        }
    }
    Err(Error::new(ErrorKind::Conflict, "carry").because("a session changed faster than it could be carried over"))
}

/// Whether nothing but activity has happened to a session, and nothing to its epochs.
fn stands(now: &Snapshot, then: &Snapshot) -> bool {
    now.epochs == then.epochs && is_same(now, then)
}

/// Whether two storages agree on all that decides which tokens of a session are good. The version alone does not say that: two nodes that
/// are led differently may both have raised it, each for a change of its own.
pub(crate) fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    let (one, other) = (&one.control, &other.control);
    one.version == other.version
        && one.generation == other.generation
        && one.floor == other.floor
        && one.stamped == other.stamped
        && one.revocation == other.revocation
}

/// The scan of a storage that sessions are carried to.
pub(crate) fn scan_of(storage: &dyn SessionStorage) -> Result<&dyn SessionScan> {
    storage.scan().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "migration")
            .because("a storage without a scan can be neither read out nor filled")
    })
}
