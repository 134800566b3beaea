//! Restoring what was saved to a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use chrono::{DateTime, Utc};
use session_manager_core::{Result, SessionId, SessionRecord};
use sha2::{Digest, Sha256};

use crate::config::MemoryStorageConfig;
use crate::error::MemoryError;
use crate::file::{FORMAT, Line, MAGIC, hex};
use crate::storage::MemoryStorage;

impl MemoryStorage {
    /// Reads what [`save`](Self::save) wrote. It blocks on the disk, as that does. The file is never changed.
    ///
    /// # Behaviour
    /// - Epochs are restored too: a session that was live stays admitted, one that had been ended or rotated out stays so. Deadlines that
    ///   passed while the process was down have passed.
    /// - Where the file holds more sessions than `config` allows, ended ones are left out: those that had ended by the time of the latest
    ///   activity in the file. Users without sessions are left out beyond [`max_users`](MemoryStorageConfig::max_users).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](session_manager_core::ErrorKind::NotFound) when there is no file,
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is foreign, incomplete or damaged, or holds more
    /// live sessions or remembered values than the bounds allow; then nothing of it is used.
    pub fn restore(path: impl AsRef<Path>, config: MemoryStorageConfig) -> Result<Self> {
        let storage = Self::new(config)?;
        storage.read_file(path.as_ref()).map_err(|error| error.during("restore"))?;
        Ok(storage)
    }

    fn read_file(&self, path: &Path) -> Result<(), MemoryError> {
        let mut input = BufReader::new(File::open(path)?);
        let (mut hash, mut line, mut number) = (Sha256::new(), Vec::new(), 0_u64);
        let mut latest = DateTime::<Utc>::MIN_UTC;
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
                return if complete { self.fit(latest) } else { Err(MemoryError::Checksum) };
            }
            if let Line::Session(SessionRecord { control, .. }) = &read {
                latest = latest.max(control.last_activity);
            }
            hash.update(&line);
            number = number.saturating_add(1);
            self.take_in(read)?;
        }
    }

    fn take_in(&self, line: Line) -> Result<(), MemoryError> {
        let table = self.table();
        match line {
            Line::Global(global) => table.change_global(|_| (Some(global), ())),
            Line::Once { key, until } => {
                self.remembered().remember(&key, i64::MIN, until).map_err(|_| MemoryError::TooLarge)?;
            }
            Line::User { id, epoch, keep_until } => {
                let mut shard = table.write(table.number(id.shard()));
                let slot = shard.users.ensure(&id);
                shard.users.keep(slot, keep_until);
                if let Some(epoch) = epoch {
                    shard.set_epoch(slot, epoch);
                }
            }
            Line::Session(record) => {
                let id = record.session.id;
                self.leave_out(id);
                let mut opened = table.open(id, record.session.user_id.shard());
                // More than fit may be on their way: the bound is kept at the end of the file.
                table.claim_room(usize::MAX);
                table.add(&mut opened, record);
            }
            Line::Gone(id) => self.leave_out(id),
            Line::End { .. } => {}
        }
        Ok(())
    }

    fn leave_out(&self, id: SessionId) {
        if let Some(mut shard) = self.table().lock_session(id) {
            self.table().remove(&mut shard, id);
        }
    }

    /// Leaves out what is too much. Nobody tells the time here: it is at least that of the latest activity.
    fn fit(&self, latest: DateTime<Utc>) -> Result<(), MemoryError> {
        loop {
            let surplus = self.len().saturating_sub(self.config().max_sessions);
            if surplus == 0 {
                break;
            }
            if self.drop_early(surplus, 0, usize::MAX, latest) == 0 {
                return Err(MemoryError::TooLarge);
            }
        }
        self.bound_users();
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
