//! The global epoch: the authority, its 4,096 copies, and keeping them together.

use redis::{Cmd, Value};
use session_manager_core::{Clock, Epochs, Shard, SystemClock, UserId};

use crate::error::{Failure, Outcome};
use crate::reply::{self, Reply};
use crate::script::{self, Call};
use crate::storage::RedisStorage;
use crate::value;

/// How many copies are compared in one go: so that others get their turn on the connection.
const CHUNK: u16 = 512;

/// Where a record's order stands.
const ORDER_AT: usize = 32;

impl RedisStorage {
    pub(crate) async fn read_epochs(&self, user: Option<&UserId>) -> Outcome<Epochs> {
        let Some(user) = user else {
            let global = self.authority().await?;
            return Ok(Epochs::new(None, global.as_deref().map(value::global_epoch).transpose()?));
        };
        let place = self.keys.shard(user.shard());
        let key = place.user(user.locator());
        let mut command = Cmd::new();
        command.arg("MGET").arg(&key).arg(place.global());
        let mut reply = Reply::of(self.link.call(&key, &command).await?)?;
        let (record, mut global) = (reply.optional()?, reply.optional()?);
        if global.is_none() {
            global = self.authority().await?;
        }
        let epoch = record.map(|record| value::user_epoch(&record, user)).transpose()?;
        Ok(Epochs::new(epoch, global.as_deref().map(value::global_epoch).transpose()?))
    }

    /// The authoritative record.
    pub(crate) async fn authority(&self) -> Outcome<Option<Vec<u8>>> {
        let key = self.keys.authority();
        let mut command = Cmd::new();
        command.arg("GET").arg(&key);
        reply::bytes(self.link.call(&key, &command).await?)
    }

    /// Gives a shard its copy back, if the authority has a record. Losing a copy refuses; this ends the refusing without admitting
    /// anything that the record does not admit.
    pub(crate) async fn restore_copy(&self, shard: Shard) -> Outcome<bool> {
        let Some(record) = self.authority().await? else { return Ok(false) };
        self.run(&self.raise(shard, &record)).await?;
        Ok(true)
    }

    /// Gives a shard its copy, beginning everybody's epoch where there is none.
    pub(crate) async fn begin_copy(&self, shard: Shard, incarnation: u64, now: i64) -> Outcome<()> {
        if self.restore_copy(shard).await? {
            return Ok(());
        }
        // The record is missing: many find that at once, and one of them looks.
        let recovering = self.recovering.lock().await;
        if self.restore_copy(shard).await? {
            return Ok(());
        }
        if !self.recover_authority().await? {
            let key = self.keys.authority();
            let first = [incarnation, 1, 0, 0, u64::try_from(now).unwrap_or_default()].map(u64::to_be_bytes).concat();
            let mut command = Cmd::new();
            command.arg("SET").arg(&key).arg(first).arg("NX");
            self.link.call(&key, &command).await?;
        }
        drop(recovering);
        self.restore_copy(shard).await.map(|_| ())
    }

    /// Looks for the authority's record among the copies where it was lost: otherwise everybody would be signed out for one key. Whether
    /// there is a record now.
    pub(crate) async fn recover_authority(&self) -> Outcome<bool> {
        let mut newest: Option<Vec<u8>> = None;
        for copy in self.copies().await?.into_iter().flatten() {
            if newest.as_ref().is_none_or(|newest| is_newer(&copy, newest)) {
                newest = Some(copy);
            }
        }
        let Some(record) = newest else { return Ok(false) };
        self.run(&script::RAISE.on([&self.keys.authority()]).with(&record)).await?;
        Ok(true)
    }

    /// All copies, in the order of the shards.
    async fn copies(&self) -> Outcome<Vec<Option<Vec<u8>>>> {
        let mut copies = Vec::with_capacity(usize::from(Shard::COUNT));
        for shards in chunks() {
            let keys: Vec<_> = shards.map(|number| self.keys.shard(Shard::from_bits(number)).global()).collect();
            for answer in self.link.get_all(&keys).await? {
                copies.push(reply::bytes(answer)?);
            }
        }
        Ok(copies)
    }

    fn raise(&self, shard: Shard, record: &[u8]) -> Call {
        script::RAISE.on([&self.keys.shard(shard).global()]).with(record)
    }

    /// Writes a record to all copies. Answers what stands in one that refused it: the newest.
    pub(crate) async fn raise_all(&self, record: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let mut newest: Option<Vec<u8>> = None;
        for shards in chunks() {
            let calls = shards.map(|number| self.raise(Shard::from_bits(number), record)).collect();
            for answer in self.run_all(calls).await? {
                let Some(there) = reply::bytes(answer)?.filter(|there| !there.is_empty()) else { continue };
                if newest.as_ref().is_none_or(|newest| is_newer(&there, newest)) {
                    newest = Some(there);
                }
            }
        }
        Ok(newest)
    }

    /// Compares all copies with the authority, raises what is behind, and the authority itself where it lost a write.
    pub(crate) async fn repair(&self) -> Outcome<()> {
        self.recover_authority().await?;
        let Some(record) = self.authority().await? else { return Ok(()) };
        let behind = (0..Shard::COUNT).zip(self.copies().await?).filter(|(_, copy)| {
            // A shard without a copy gets one when somebody asks.
            copy.as_ref().is_some_and(|copy| is_newer(&record, copy))
        });
        let calls: Vec<_> = behind.map(|(number, _)| self.raise(Shard::from_bits(number), &record)).collect();
        if calls.is_empty() {
            return Ok(());
        }
        self.run_all(calls).await.map(|_: Vec<Value>| ())
    }

    /// The background work.
    pub(crate) async fn repair_for_ever(&self) {
        loop {
            // Whatever went wrong is tried again: a background task that ends at the first error is worse than none.
            let _: Result<(), Failure> = self.repair().await;
            SystemClock.sleep(self.config.repair_interval).await;
        }
    }
}

fn chunks() -> impl Iterator<Item = std::ops::Range<u16>> {
    (0..Shard::COUNT / CHUNK).map(|chunk| chunk * CHUNK..(chunk + 1) * CHUNK)
}

/// Whether a record takes the place of another: as the script `raise` has it.
fn is_newer(record: &[u8], than: &[u8]) -> bool {
    if record.get(..8) == than.get(..8) {
        record.get(8..16) > than.get(8..16)
    } else {
        record.get(ORDER_AT..) > than.get(ORDER_AT..)
    }
}
