//! What a session takes in Redis, with its share of the indexes, beside a bare value with a time to live.

use redis::{Value, aio::MultiplexedConnection};
use session_manager_services::Redis;

use crate::{
    measure::Outcome,
    population::Population,
    stores::redis::{PREFIX, connect, storage},
};

/// Prints the table for `count` sessions, five of each user.
pub(crate) async fn weigh(count: usize) -> Outcome {
    let server = Redis::start()?;
    let mut connection = connect(&server).await?;
    let before = used(&connection).await?;
    Population::insert(&storage(&connection)?, count, 64).await?;
    let ours = used(&connection).await? - before;

    let kinds = [("sessions", 's'), ("epochs of users", 'u'), ("indexes of users", 'i')];
    let per_session = |bytes: u64| bytes as f64 / count as f64;
    println!("\n### Redis: bytes a session, {count} sessions, five of each user\n");
    println!("| what | bytes a session (`MEMORY USAGE`) |");
    println!("|---|---|");
    let (mut all, mut sessions) = (0, Vec::new());
    for (name, kind) in kinds {
        let keys = keys(&connection, &format!("{PREFIX}{{*}}:{kind}:*")).await?;
        let bytes = weight(&connection, &keys).await?;
        println!("| {name} ({} keys) | {:.0} |", keys.len(), per_session(bytes));
        all += bytes;
        if kind == 's' {
            sessions = keys;
        }
    }
    println!("| all of them | {:.0} |", per_session(all));

    // The same bytes under keys that an application would choose, after ours have gone.
    let mut values = Vec::with_capacity(sessions.len());
    for keys in sessions.chunks(500) {
        let found: Vec<Vec<u8>> = redis::cmd("MGET").arg(keys).query_async(&mut connection).await?;
        values.extend(found);
    }
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
    let before = used(&connection).await?;
    let bare: Vec<_> =
        sessions.iter().filter_map(|key| key.rsplit(':').next()).map(|id| format!("session:{id}")).collect();
    for (keys, values) in bare.chunks(500).zip(values.chunks(500)) {
        let mut pipe = redis::pipe();
        for (key, value) in keys.iter().zip(values) {
            pipe.cmd("SET").arg(key).arg(value).arg("PX").arg(2_592_000_000_u64).ignore();
        }
        pipe.query_async::<()>(&mut connection).await?;
    }
    let bare_used = used(&connection).await? - before;
    let bytes = weight(&connection, &bare).await?;
    println!("| bare value of the same bytes, with TTL | {:.0} |", per_session(bytes));
    println!("| **ours : bare** | **{:.2}** |", all as f64 / bytes as f64);
    let (ours, bare_used) = (per_session(ours), per_session(bare_used));
    println!("| `used_memory`, ours and bare | {ours:.0} and {bare_used:.0}: {:.2} |", ours / bare_used);
    Ok(())
}

/// All keys that match: the server is this program's own.
async fn keys(connection: &MultiplexedConnection, pattern: &str) -> Outcome<Vec<String>> {
    Ok(redis::cmd("KEYS").arg(pattern).query_async(&mut connection.clone()).await?)
}

async fn weight(connection: &MultiplexedConnection, keys: &[String]) -> Outcome<u64> {
    let mut sum = 0;
    for keys in keys.chunks(500) {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0);
        }
        let sizes: Vec<u64> = pipe.query_async(&mut connection.clone()).await?;
        sum += sizes.iter().sum::<u64>();
    }
    Ok(sum)
}

/// What the server says that it uses.
async fn used(connection: &MultiplexedConnection) -> Outcome<u64> {
    let info: Value = redis::cmd("INFO").arg("memory").query_async(&mut connection.clone()).await?;
    let info: String = redis::from_redis_value(info)?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("INFO names no used_memory")?;
    Ok(line.trim().parse()?)
}
