//! Saving everything to a file.
//!
//! The format is one line of header, then one line of JSON for each thing stored, then one line with the number of lines and the SHA-256 of
//! all that came before. Of several lines about one session or user the last one counts. Whoever changes a line's shape raises the version in
//! the header.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::Path;
use std::sync::RwLockWriteGuard;

use serde::{Deserialize, Serialize};
use session_manager_core::{Epoch, GlobalEpoch, Result, SessionId, SessionRecord, UserId};
use sha2::{Digest, Sha256};

use crate::changes::Changes;
use crate::error::MemoryError;
use crate::shard::Shard;
use crate::storage::MemoryStorage;
use crate::table::Table;
use crate::users::User;

pub(crate) const MAGIC: &str = "session-manager-memory/";
pub(crate) const FORMAT: &str = "2";

/// How often a save goes after what changed meanwhile before it stops everything for the rest: each time that is a fraction of the last.
const ROUNDS: usize = 2;

/// One line of a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Session(SessionRecord),
    /// It was there when the save came to it first, and was removed before the moment that the file shows.
    Gone(SessionId),
    User {
        id: UserId,
        epoch: Option<Epoch>,
        keep_until: i64,
    },
    Once {
        key: String,
        until: i64,
    },
    Global(GlobalEpoch),
    End {
        lines: u64,
        sha256: String,
    },
}

impl MemoryStorage {
    /// Writes all sessions, epochs and remembered values to a file. The feed's notices are not saved: their readers end with the process.
    ///
    /// It blocks on the disk: call it from `spawn_blocking` or a thread of its own. Other operations go on meanwhile; near its end they wait
    /// once, while the few sessions are copied that changed just before.
    ///
    /// # Behaviour
    /// - All or nothing: the file appears complete and flushed, or what was there before stays. It is readable and writable by its owner only.
    /// - The file shows the whole storage at one moment, when nearly everything is written and only the end of the file has yet to be flushed.
    ///   What was revoked, rotated out or removed before that moment, be it before the call or while it ran, does not live in the file.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](session_manager_core::ErrorKind::Internal) with the system's error as source.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let _one_at_a_time = self.saving();
        self.write_file(path.as_ref()).map_err(|error| error.during("save"))
    }

    fn write_file(&self, path: &Path) -> Result<(), MemoryError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // In the same folder, so that the rename replaces the old file in one step; `tempfile` opens it for the owner alone.
        let mut file = tempfile::Builder::new().prefix(".sessions-").suffix(".tmp").tempfile_in(folder)?;
        let mut out = Hashing::new(BufWriter::new(file.as_file_mut()));
        self.write_lines(&mut out)?;
        out.out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failed| failed.error)?;
        sync_folder(folder)?;
        Ok(())
    }

    /// Writes everything while it goes on changing, then what changed meanwhile, and at last, of one moment, what changed even then.
    pub(crate) fn write_lines(&self, out: &mut Hashing<impl Write>) -> Result<(), MemoryError> {
        let table = self.table();
        let _following = Following(table);
        out.raw(format!("{MAGIC}{FORMAT}\n").as_bytes())?;
        // Copied under a lock, written without it.
        for number in 0..table.shard_count() {
            let lines = {
                let mut shard = table.write(number);
                shard.changes = Some(Changes::default());
                everything(&RwLockWriteGuard::downgrade(shard))
            };
            out.lines(&lines)?;
        }
        for number in (0..table.shard_count()).cycle().take(table.shard_count().saturating_mul(ROUNDS)) {
            let lines = changed(&mut table.write(number));
            out.lines(&lines)?;
        }
        let (lines, global) = {
            let mut shards = table.write_all();
            let mut lines = Vec::new();
            for shard in &mut shards {
                lines.append(&mut changed(shard));
                shard.changes = None;
            }
            (lines, shards.first().and_then(|shard| shard.global))
        };
        out.lines(&lines)?;
        let remembered = self.remembered().all();
        for (key, until) in remembered {
            out.line(&Line::Once { key: key.to_string(), until })?;
        }
        if let Some(global) = global {
            out.line(&Line::Global(global))?;
        }
        let end = Line::End { lines: out.lines, sha256: hex(out.hash.clone()) };
        out.line(&end)
    }
}

/// Ends the following of changes, also when the save fails.
struct Following<'a>(&'a Table);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        for number in 0..self.0.shard_count() {
            self.0.write(number).changes = None;
        }
    }
}

fn everything(shard: &Shard) -> Vec<Line> {
    let users = shard.users.iter().map(Line::of_user);
    users.chain(shard.entries().map(|entry| Line::Session(shard.snapshot(entry).record()))).collect()
}

/// What a save that follows the shard has not seen, which from then on it has.
fn changed(shard: &mut Shard) -> Vec<Line> {
    let Some(changes) = shard.changes.as_mut().map(mem::take) else { return Vec::new() };
    let users = changes.users().filter_map(|slot| shard.users.get(slot)).map(Line::of_user);
    let session = |id| shard.read(id).map_or(Line::Gone(id), |one| Line::Session(one.record()));
    users.chain(changes.sessions().map(session)).collect()
}

impl Line {
    fn of_user(user: &User) -> Self {
        Self::User { id: user.id.clone(), epoch: user.epoch, keep_until: user.keep_until() }
    }
}

/// Writes lines, counting and hashing them.
pub(crate) struct Hashing<W> {
    out: W,
    hash: Sha256,
    lines: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), lines: 0 }
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    fn lines(&mut self, lines: &[Line]) -> Result<(), MemoryError> {
        lines.iter().try_for_each(|line| self.line(line))
    }

    fn line(&mut self, line: &Line) -> Result<(), MemoryError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        self.raw(&text)?;
        self.lines = self.lines.saturating_add(1);
        Ok(())
    }
}

pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes the rename itself durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Only Unix lets a folder be flushed.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
