//! Saving everything to a file and restoring it after a restart.
//!
//! The format is one line of header, then one line of JSON for each thing stored, then one line with the number of lines and the SHA-256 of
//! all that came before. Whoever changes a line's shape raises the version in the header.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use session_manager_core::{Epoch, GlobalEpoch, Result, SessionRecord, UserId};
use sha2::{Digest, Sha256};

use crate::config::MemoryStorageConfig;
use crate::error::MemoryError;
use crate::storage::MemoryStorage;
use crate::table::Occupant;

const MAGIC: &str = "session-manager-memory/";
const FORMAT: &str = "1";

/// One line of a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Session(SessionRecord),
    User { id: UserId, epoch: Option<Epoch>, keep_until: i64 },
    Once { key: String, until: i64 },
    Global(GlobalEpoch),
    End { lines: u64, sha256: String },
}

impl MemoryStorage {
    /// Writes all sessions, epochs and remembered values to a file. The feed's notices are not saved: their readers end with the process.
    ///
    /// It blocks on the disk: call it from `spawn_blocking` or a thread of its own. Other operations go on meanwhile.
    ///
    /// # Behaviour
    /// - All or nothing: the file appears complete and flushed, or what was there before stays. It is readable and writable by its owner only.
    /// - Each user is saved in one step, the global epoch last: what had been revoked before the call is revoked in the file.
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
        let mut out = Hashing { out: BufWriter::new(file.as_file_mut()), hash: Sha256::new(), lines: 0 };
        self.write_lines(&mut out)?;
        out.out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failed| failed.error)?;
        sync_folder(folder)?;
        Ok(())
    }

    fn write_lines(&self, out: &mut Hashing<impl Write>) -> Result<(), MemoryError> {
        out.raw(format!("{MAGIC}{FORMAT}\n").as_bytes())?;
        for number in 0..self.table().shard_count() {
            // Copied under the lock, written without it.
            let mut lines = Vec::new();
            {
                let shard = self.table().read(number);
                lines.extend(shard.users.iter().map(|user| Line::User {
                    id: user.id.clone(),
                    epoch: user.epoch,
                    keep_until: user.keep_until(),
                }));
                lines.extend(shard.entries().map(|entry| Line::Session(shard.snapshot(entry).record())));
            }
            lines.iter().try_for_each(|line| out.line(line))?;
        }
        let remembered = self.remembered().all();
        for (key, until) in remembered {
            out.line(&Line::Once { key: key.to_string(), until })?;
        }
        let global = self.table().read(0).global;
        if let Some(global) = global {
            out.line(&Line::Global(global))?;
        }
        let end = Line::End { lines: out.lines, sha256: hex(out.hash.clone()) };
        out.line(&end)
    }

    /// Reads what [`save`](Self::save) wrote. It blocks on the disk, as that does. The file is never changed.
    ///
    /// # Behaviour
    /// Epochs are restored too: a session that was live stays admitted, one that had been ended or rotated out stays so. Deadlines that
    /// passed while the process was down have passed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](session_manager_core::ErrorKind::NotFound) when there is no file,
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is foreign, incomplete or damaged, or holds more
    /// than the bounds allow; then nothing of it is used.
    pub fn restore(path: impl AsRef<Path>, config: MemoryStorageConfig) -> Result<Self> {
        let storage = Self::new(config)?;
        storage.read_file(path.as_ref()).map_err(|error| error.during("restore"))?;
        Ok(storage)
    }

    fn read_file(&self, path: &Path) -> Result<(), MemoryError> {
        let mut input = BufReader::new(File::open(path)?);
        let (mut hash, mut line, mut number) = (Sha256::new(), Vec::new(), 0_u64);
        check_header(&mut input, &mut line)?;
        hash.update(&line);
        loop {
            line.clear();
            input.read_until(b'\n', &mut line)?;
            let Some(text) = line.strip_suffix(b"\n") else { return Err(MemoryError::Truncated) };
            let read =
                serde_json::from_slice(text).map_err(|_| MemoryError::Damaged { line: number.saturating_add(2) })?;
            if let Line::End { lines, sha256 } = read {
                let complete = lines == number && sha256 == hex(hash) && input.fill_buf()?.is_empty();
                return if complete { Ok(()) } else { Err(MemoryError::Checksum) };
            }
            hash.update(&line);
            number = number.saturating_add(1);
            self.take_in(read, number)?;
        }
    }

    fn take_in(&self, line: Line, number: u64) -> Result<(), MemoryError> {
        let damaged = MemoryError::Damaged { line: number.saturating_add(1) };
        match line {
            Line::Global(global) => self.table().change_global(|_| (Some(global), ())),
            Line::Once { key, until } => {
                self.remembered().remember(&key, i64::MIN, until).map_err(|_| MemoryError::TooLarge)?;
            }
            Line::User { id, epoch, keep_until } => {
                let mut shard = self.table().write(self.table().number(id.shard()));
                let slot = shard.users.ensure(&id);
                shard.users.keep(slot, keep_until);
                if let Some(epoch) = epoch {
                    shard.set_epoch(slot, epoch);
                }
            }
            Line::Session(record) => {
                let (id, table) = (record.session.id, self.table());
                let mut opened = table.open(id, record.session.user_id.shard());
                let free = matches!(table.occupant(&opened, id), Occupant::Free);
                if !free {
                    return Err(damaged);
                }
                if !table.claim_room(self.config().max_sessions) {
                    return Err(MemoryError::TooLarge);
                }
                table.add(&mut opened, record);
            }
            Line::End { .. } => return Err(damaged),
        }
        Ok(())
    }
}

/// Writes lines, counting and hashing them.
struct Hashing<W> {
    out: W,
    hash: Sha256,
    lines: u64,
}

impl<W: Write> Hashing<W> {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    fn line(&mut self, line: &Line) -> Result<(), MemoryError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        self.raw(&text)?;
        self.lines = self.lines.saturating_add(1);
        Ok(())
    }
}

fn check_header(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), MemoryError> {
    // A foreign file may have no line end at all: only as much is read as a header may have.
    io::Read::take(&mut *input, 64).read_until(b'\n', line)?;
    let Some(version) = line.strip_prefix(MAGIC.as_bytes()) else {
        return Err(if line.is_empty() { MemoryError::Truncated } else { MemoryError::Foreign });
    };
    match version.strip_suffix(b"\n") {
        Some(version) if version == FORMAT.as_bytes() => Ok(()),
        Some(_) => Err(MemoryError::UnknownFormat),
        None => Err(MemoryError::Truncated),
    }
}

fn hex(hash: Sha256) -> String {
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
