//! What a read costs beside a bare sharded map's, and what a session takes: `cargo run --release --example measure -- 1000000`.
#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use chrono::{DateTime, TimeDelta};
use futures_util::FutureExt;
use session_manager_core::storage::{Bump, BumpTarget, Incarnations, Insert, OnLimit, SessionLimit};
use session_manager_core::{
    Control, Error, ErrorKind, Seed, Session, SessionId, SessionKey, SessionRecord, SessionStorage, SystemRandom,
    UserId,
};
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};

const READS: usize = 2_000_000;
const SHARDS: usize = 128;

fn main() -> Result<(), Error> {
    let most = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    println!("entry: {} bytes of control, {} bytes of session struct", size_of::<Control>(), size_of::<Session>());
    for count in [1000, most] {
        measure(count)?;
    }
    Ok(())
}

fn measure(count: usize) -> Result<(), Error> {
    let (random, now) = (SystemRandom::new()?, DateTime::UNIX_EPOCH);
    let until = now + TimeDelta::days(30);
    let before = resident();
    let mut records = Vec::with_capacity(count);
    for number in 0..count {
        let user = UserId::parse(&format!("user-{}", number / 2))?;
        let session = Session::new(SessionId::generate(&user, now, &random)?, user, now, until);
        records.push(SessionRecord::new(session, Control::new(Seed::generate(&random)?, now, until)));
    }
    let made = resident();
    let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(count.max(1)))?;
    let (limit, incarnations) = (SessionLimit::new(5, OnLimit::EvictOldest), Incarnations { user: 1, global: 2 });
    let start = Instant::now();
    for record in &records {
        ready(storage.insert(&Insert::new(record.clone(), limit, incarnations, now)))?;
    }
    let (inserted, stored) = (start.elapsed(), resident());
    let each = |bytes: u64| bytes / u64::try_from(count).unwrap_or(1).max(1);
    println!("\n{count} sessions, two a user: insert {} ns", inserted.as_nanos() / u128::try_from(count).unwrap_or(1));
    println!(
        "  made beforehand {} bytes each, the storage adds {} bytes each",
        each(made - before),
        each(stored - made)
    );

    // A walk with a large odd stride: the next session is never in the cache of the one before.
    let keys: Vec<SessionKey> = (0..READS)
        .filter_map(|step| records.get(step.wrapping_mul(7_368_787) % count))
        .map(|one| one.session.key())
        .collect();
    let bare: Vec<RwLock<HashMap<SessionId, Arc<Session>>>> = (0..SHARDS).map(|_| RwLock::default()).collect();
    for record in &records {
        if let Some(Ok(mut shard)) = bare.get(place(record.session.id)).map(RwLock::write) {
            shard.insert(record.session.id, Arc::clone(&record.session));
        }
    }
    for _ in 0..2 {
        time("bare sharded map, get and clone", &keys, |key| {
            let shard = bare.get(place(key.id)).and_then(|shard| shard.read().ok());
            black_box(shard.and_then(|shard| shard.get(&key.id).cloned())).is_some()
        });
        time("try_read, both epochs", &keys, |key| black_box(storage.try_read(key)).flatten().is_some());
    }
    let start = Instant::now();
    ready(storage.bump(&Bump::new(BumpTarget::Global { grace: std::time::Duration::ZERO }, incarnations, now)))?;
    println!("  rotation of everybody: {} µs", start.elapsed().as_micros());
    Ok(())
}

fn place(id: SessionId) -> usize {
    usize::from(id.shard().number()) % SHARDS
}

fn time(what: &str, keys: &[SessionKey], read: impl Fn(&SessionKey) -> bool) {
    let start = Instant::now();
    let found = keys.iter().filter(|key| read(key)).count();
    println!(
        "  {what}: {} ns, {found} found",
        start.elapsed().as_nanos() / u128::try_from(keys.len()).unwrap_or(1).max(1)
    );
}

fn ready<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    future.now_or_never().unwrap_or_else(|| Err(Error::from(ErrorKind::Internal)))
}

/// Bytes of memory in use, where the system tells.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
