//! What a session takes, counted by the allocator: `cargo run --release --example bytes -- 1000000`.
//!
//! Counted are the bytes that were asked for; what the system's allocator adds to them is in the resident set that `measure` shows.
#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use std::alloc::System;

use chrono::{DateTime, TimeDelta};
use futures_util::FutureExt;
use session_manager_core::storage::{Incarnations, Insert, OnLimit, SessionLimit};
use session_manager_core::{
    Control, Error, ErrorKind, Seed, Session, SessionId, SessionRecord, SessionStorage, SystemRandom, UserId,
};
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An `Arc` has two counters before what it holds.
const COUNTERS: usize = 16;

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn main() -> Result<(), Error> {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    println!("struct: {} bytes of session, {} of control", size_of::<Session>(), size_of::<Control>());
    for (what, with_texts) in [("user id only", false), ("user agent, device, application", true)] {
        for users in [count, count / 2] {
            measure(what, count, users.max(1), with_texts)?;
        }
    }
    Ok(())
}

fn measure(what: &str, count: usize, users: usize, with_texts: bool) -> Result<(), Error> {
    let (random, now) = (SystemRandom::new()?, DateTime::UNIX_EPOCH);
    let until = now + TimeDelta::days(30);
    let (limit, incarnations) = (SessionLimit::new(5, OnLimit::EvictOldest), Incarnations { user: 1, global: 2 });
    let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(count))?;
    let (empty, mut texts) = (in_use(), 0);
    for number in 0..count {
        let user = UserId::parse(&format!("user-{:08}", number % users))?;
        let mut session = Session::new(SessionId::generate(&user, now, &random)?, user, now, until);
        if with_texts {
            session.user_agent = Some(AGENT.to_owned());
            session.device_info = Some("Firefox on Linux".to_owned());
            session.application = Some("web".to_owned());
        }
        texts += own_texts(&session);
        let record = SessionRecord::new(session, Control::new(Seed::generate(&random)?, now, until));
        storage
            .insert(&Insert::new(record, limit, incarnations, now))
            .now_or_never()
            .unwrap_or_else(|| Err(Error::from(ErrorKind::Internal)))?;
    }
    let (total, texts) = ((in_use() - empty) / count, texts / count);
    let session = size_of::<Session>() + COUNTERS;
    println!("\n{what}; {} sessions of {users} users, bytes a session", storage.len());
    println!("  {total:4} in all");
    println!("  {texts:4} of its own texts");
    println!("  {:4} beyond its texts, of which", total - texts);
    println!("  {session:4}   are the session, shared with whoever reads it");
    println!("  {:4}   are control part, indexes, queue and user", (total - texts).saturating_sub(session));
    Ok(())
}

/// What the session's texts take by themselves.
fn own_texts(session: &Session) -> usize {
    let texts = [&session.user_agent, &session.device_info, &session.application];
    COUNTERS + session.user_id.as_str().len() + texts.into_iter().flatten().map(String::capacity).sum::<usize>()
}

/// Bytes that were asked for and not given back.
fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
