//! The lock of the data folder: one server at a time starts in it; several may run.
//!
//! SQLite in WAL mode is safe between processes of one machine, so a second server is allowed; what may not overlap is the
//! making of keys and the migrations.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::exit::{StartError, reason};
use crate::files;

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// The right to change the key file, which servers that run do not keep from anybody: what was read before a change is still there when it is
/// written. Released on drop.
#[derive(Debug)]
pub(super) struct KeyLock {
    _file: File,
}

impl KeyLock {
    /// Waits until nobody else reads the file in order to change it.
    pub(super) async fn acquire(folder: &Path) -> Result<Self, StartError> {
        let failed = |why: String| {
            StartError::environment(
                format!("the keys in {} cannot be locked", folder.display()),
                why,
                "Wait for the other command to end, and try again.",
            )
        };
        let file = files::open_private(&folder.join("keys.lock")).map_err(|error| failed(reason(&error)))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(failed(reason(&error))),
                Err(TryLockError::WouldBlock) if waited >= PATIENCE => {
                    return Err(failed("another command has been changing them for ten seconds".to_owned()));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::time::sleep(PAUSE).await;
            waited = waited.saturating_add(PAUSE);
        }
    }
}

/// A held lock; released on drop and, by the operating system, when the process dies.
#[derive(Debug)]
pub(super) struct FolderLock {
    file: File,
    shared: bool,
}

impl FolderLock {
    /// Waits until no other server is starting in the folder.
    pub(super) async fn acquire(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join("server.lock");
        let failed = |why: String| {
            StartError::environment(
                format!("the data folder {} cannot be locked", folder.display()),
                why,
                "Wait for the other server to start or end, or choose another folder with --data FOLDER.",
            )
        };
        let file = files::open_private(&path).map_err(|error| failed(reason(&error)))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file, shared: false }),
                Err(TryLockError::Error(error)) => return Err(failed(reason(&error))),
                Err(TryLockError::WouldBlock) => {}
            }
            match file.try_lock_shared() {
                Ok(()) => return Ok(Self { file, shared: true }),
                Err(TryLockError::Error(error)) => return Err(failed(reason(&error))),
                Err(TryLockError::WouldBlock) if waited >= PATIENCE => {
                    return Err(failed("another server has been starting in it for ten seconds".to_owned()));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::time::sleep(PAUSE).await;
            waited = waited.saturating_add(PAUSE);
        }
    }

    /// Whether another server is running in the folder.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Lets other servers in, now that keys and database are ready.
    pub(super) fn into_running(self) -> Self {
        // Where a shared lock cannot be had the folder stays unlocked, which only costs the warning to the next server.
        let _ = self.file.unlock().and_then(|()| self.file.try_lock_shared().map_err(Into::into));
        self
    }
}
