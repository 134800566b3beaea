//! A cache of sessions that several nodes share, before a durable storage that is somewhere else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;
use redis::aio::ConnectionLike;
use session_manager_core::{
    Epochs, Locator, Result, SessionId, Shard, SharedCache, SharedFill, SharedLook, SharedSubject, SharedTicket,
    Snapshot,
};

use crate::config::millis;
use crate::error::{Failure, Outcome};
use crate::keys::Keys;
use crate::link::{Link, Single};
use crate::reply::{self, Reply};
use crate::script;
use crate::value::{self, Reader};

/// How many tombstones are put up in one go: so that others get their turn on the connection.
const CHUNK: usize = 512;

const DAMAGED: Failure = Failure::Damaged("a remembered session");

/// A cache in Redis that all nodes of an application share.
///
/// # Behaviour
/// - What is known is found by one `MGET` of three keys of one slot; what is not takes a second round trip for the ticket, and a script to
///   fill it in.
/// - Everything in it goes by itself: what was read after its age, tombstones after their life.
/// - A tombstone of everybody is 4,096 small keys, one for each shard, so that no key is read by every request; so is one of a user whose
///   shard nobody knows.
/// - A server that forgot everything, by a restart or `FLUSHALL`, takes nothing that was read before it. What a failover to a replica, or an
///   eviction, may bring back is as old as the age that was asked for at most: the cache's own bound.
///
/// Give it a prefix of its own where a [`RedisStorage`](crate::RedisStorage) is on the same servers.
#[derive(Clone)]
pub struct RedisCache {
    link: Arc<dyn Link>,
    keys: Keys,
}

impl RedisCache {
    /// A cache on one server.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a prefix that cannot be, as in
    /// [`RedisStorageConfig::prefix`](crate::RedisStorageConfig::prefix).
    pub fn new<C>(connection: C, prefix: &str) -> Result<Self>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Ok(Self { link: Arc::new(Single(connection)), keys: Keys::new(prefix)? })
    }

    /// A cache in a Redis Cluster.
    ///
    /// # Errors
    /// As [`RedisCache::new`].
    #[cfg(feature = "cluster")]
    pub fn cluster(connection: redis::cluster_async::ClusterConnection, prefix: &str) -> Result<Self> {
        Ok(Self { link: Arc::new(crate::cluster::Clustered(connection)), keys: Keys::new(prefix)? })
    }

    async fn ask(&self, id: SessionId, locator: Locator) -> Outcome<SharedLook> {
        let place = self.keys.shard(id.shard());
        let entry = place.cached(id);
        let mut command = Cmd::new();
        command.arg("MGET").arg(&entry).arg(place.buried(locator)).arg(place.all_buried());
        let mut reply = Reply::of(self.link.call(&entry, &command).await?)?;
        let (found, user, all) = (reply.optional()?, reply.optional()?, reply.optional()?);
        if user.is_some() || all.is_some() || found.as_ref().is_some_and(Vec::is_empty) {
            return Ok(SharedLook::Buried);
        }
        if let Some(found) = found {
            return decode(&found);
        }
        let now = script::run(&*self.link, &script::TICKET.on([&place.since()])).await?;
        let now = u64::try_from(reply::number(&now)?).map_err(|_| Failure::Answer("TIME"))?;
        Ok(SharedLook::Miss(SharedTicket(now)))
    }

    async fn take(&self, fill: &SharedFill<'_>) -> Outcome<bool> {
        let session = &fill.snapshot.session;
        // The tombstones of its user would be elsewhere.
        if session.id.shard() != session.user_id.shard() {
            return Ok(false);
        }
        let place = self.keys.shard(session.id.shard());
        let call = script::FILL
            .on([
                &place.cached(session.id),
                &place.buried(session.user_id.locator()),
                &place.all_buried(),
                &place.since(),
            ])
            .with(encode(fill)?)
            .with(micros(fill.timeout))
            .with(micros(fill.max_age));
        Ok(reply::number(&script::run(&*self.link, &call).await?)? == 1)
    }

    async fn put_up(&self, subjects: &[SharedSubject], life: Duration) -> Outcome<()> {
        let mut keys = Vec::new();
        for subject in subjects {
            self.tombstones(*subject, &mut keys);
        }
        let life = millis(life).max(1);
        let calls: Vec<_> = keys.chunks(self.link.breadth()).map(|keys| script::BURY.on_all(keys).with(life)).collect();
        if let [call] = calls.as_slice() {
            script::run(&*self.link, call).await?;
            return Ok(());
        }
        for calls in calls.chunks(CHUNK) {
            script::run_all(&*self.link, calls).await?;
        }
        Ok(())
    }

    fn tombstones(&self, subject: SharedSubject, to: &mut Vec<String>) {
        let everywhere = || (0..Shard::COUNT).map(|number| self.keys.shard(Shard::from_bits(number)));
        match subject {
            SharedSubject::Session(id) => to.push(self.keys.shard(id.shard()).cached(id)),
            SharedSubject::User { locator, shard: Some(shard) } => {
                to.push(self.keys.shard(shard).buried(locator));
            }
            SharedSubject::User { locator, .. } => {
                to.extend(everywhere().map(|place| place.buried(locator)));
            }
            // Also whatever subjects there may be one day.
            _ => to.extend(everywhere().map(|place| place.all_buried())),
        }
    }
}

#[async_trait]
impl SharedCache for RedisCache {
    async fn look(&self, id: SessionId, locator: Locator) -> Result<SharedLook> {
        self.ask(id, locator).await.map_err(|failure| failure.during("look"))
    }

    async fn fill(&self, fill: &SharedFill<'_>) -> Result<bool> {
        self.take(fill).await.map_err(|failure| failure.during("fill"))
    }

    async fn bury(&self, subjects: &[SharedSubject], life: Duration) -> Result<()> {
        self.put_up(subjects, life).await.map_err(|failure| failure.during("bury"))
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").field("link", &&*self.link).finish_non_exhaustive()
    }
}

/// Ticket (8 bytes), version (8), when its read began (8), which epochs there are (1: user 1, global 2), the user's epoch (16), the global one
/// (32), and the session as it is stored.
fn encode(fill: &SharedFill<'_>) -> Outcome<Vec<u8>> {
    let (control, epochs) = (&fill.snapshot.control, &fill.snapshot.epochs);
    let mut bytes = Vec::with_capacity(700);
    bytes.extend_from_slice(&fill.ticket.0.to_be_bytes());
    bytes.extend_from_slice(&control.version.to_be_bytes());
    bytes.extend_from_slice(&value::millis(fill.read_at));
    bytes.push(u8::from(epochs.user.is_some()) | u8::from(epochs.global.is_some()) << 1);
    bytes.extend_from_slice(&epochs.user.map_or_else(|| vec![0; 16], value::encode_epoch));
    bytes.extend_from_slice(&epochs.global.as_ref().map_or_else(|| vec![0; 32], value::encode_global));
    bytes.extend_from_slice(&value::encode(&fill.snapshot.record())?);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Outcome<SharedLook> {
    let (head, session) = bytes.split_at_checked(73).ok_or(DAMAGED)?;
    let mut reader = Reader(head);
    let (_ticket, _version, read_at) = (reader.number()?, reader.number()?, reader.time()?);
    let [present] = reader.take()?;
    let user = reader.epoch()?;
    let global = value::global_epoch(reader.0)?;
    let epochs = Epochs::new((present & 1 != 0).then_some(user), (present & 2 != 0).then_some(global));
    let record = value::record(session)?;
    Ok(SharedLook::Hit { snapshot: Snapshot::new(record, epochs), read_at })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
