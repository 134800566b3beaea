//! What an operation makes the server do is the same among a hundred thousand sessions as among ten.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod servers;

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::cmd;
use session_manager_core::storage::{AdvanceOutcome, Query, RevokeTarget};
use session_manager_core::{Snapshot, State};
use session_manager_services::Redis;
use session_manager_storage_redis::RedisStorage;
use session_manager_testkit::{Fixture, user};

use servers::{config, connect};

/// Sessions, and a fifth as many users with their lists, over all shards; each shard with its copy of the global epoch.
const FILL: &str = "local prefix, session, epoch, global = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for n = tonumber(ARGV[5]), tonumber(ARGV[6]) do
  local stem = string.format('%s{%03x}:', prefix, n % 4096)
  redis.call('SET', stem .. string.format('s:%032x', n), session, 'PX', 100000000)
  redis.call('SET', stem .. 'g', global)
  if n % 5 == 0 then
    redis.call('SET', stem .. string.format('u:%016x', n), epoch, 'PX', 100000000)
    redis.call('ZADD', stem .. string.format('i:%016x', n), 1, string.format('%032x', n), '+inf', '')
  end
end";
const SESSIONS: u64 = 100_000;
const CHUNK: u64 = 50_000;

/// How often each command was called, by us or by a script of ours.
type Calls = BTreeMap<String, u64>;

async fn calls(raw: &mut MultiplexedConnection) -> Calls {
    let text: String = cmd("INFO").arg("commandstats").query_async(raw).await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counts = lines.map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap().parse().unwrap()));
    counts.filter(|(name, _)| !matches!(name.as_str(), "info" | "config|resetstat")).collect()
}

async fn reset(raw: &mut MultiplexedConnection) {
    let () = cmd("CONFIG").arg("RESETSTAT").query_async(raw).await.unwrap();
}

/// Every operation once on users that each have five sessions; what each made the server do.
async fn every_operation(lab: &Fixture, raw: &mut MultiplexedConnection, name: &str) -> Vec<(&'static str, Calls)> {
    let (one, other) = (user(name), user(&format!("{name} too")));
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(lab.login(&one).await);
        lab.login(&other).await;
        lab.tick(1);
    }
    let [first, second, ..] = sessions.as_slice() else { panic!("five") };
    let (mut done, newcomer) = (Vec::new(), user(&format!("{name} three")));
    macro_rules! step {
        ($name:literal, $step:expr) => {
            reset(raw).await;
            $step;
            done.push(($name, calls(raw).await));
        };
    }
    step!("read", assert_eq!(lab.state(first).await, State::Live));
    step!("list", assert_eq!(lab.storage().list(&Query::of(one.clone(), lab.now())).await.unwrap().sessions.len(), 5));
    step!("refresh", assert!(matches!(lab.advance(first, 1).await, AdvanceOutcome::Advanced(_))));
    step!("touch", assert_eq!(lab.touch(second).await.touched, 1));
    step!("revoke one", lab.logout(first).await);
    step!("revoke all of a user", lab.revoke(RevokeTarget::User { user: one.clone(), except: None }).await);
    step!("end a user's by the epoch", lab.bump_user(&other, None).await);
    step!("sign in", lab.login(&newcomer).await);
    step!("end everybody's", lab.bump_global(0).await);
    done
}

async fn fill(raw: &mut MultiplexedConnection, prefix: &str, like: &Snapshot) {
    let mut sample = async |pattern: String| -> Vec<u8> {
        let found: Vec<String> = cmd("KEYS").arg(pattern).query_async(raw).await.unwrap();
        cmd("GET").arg(found.first().unwrap()).query_async(raw).await.unwrap()
    };
    let session = sample(format!("{prefix}*:s:{}", like.session.id.as_uuid().simple())).await;
    let (epoch, global) = (sample(format!("{prefix}*:u:*")).await, sample(format!("{prefix}{{*}}:g")).await);
    for first in (0..SESSIONS).step_by(usize::try_from(CHUNK).unwrap()) {
        let mut script = cmd("EVAL");
        script.arg(FILL).arg(0).arg(prefix).arg(&session).arg(&epoch).arg(&global).arg(first).arg(first + CHUNK - 1);
        let () = script.query_async(raw).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_does_the_same_among_a_hundred_thousand_sessions() {
    let server = Redis::start().unwrap();
    let mut raw = connect(&server.url()).await;
    let config = config();
    let prefix = config.prefix.clone();
    let lab = Fixture::new(Arc::new(RedisStorage::new(connect(&server.url()).await, config).unwrap()));
    // Scripts and the global epoch are there, as on any day but the first.
    every_operation(&lab, &mut raw, "zero").await;
    let few = every_operation(&lab, &mut raw, "one").await;
    let like = lab.login(&user("like")).await;
    fill(&mut raw, &prefix, &like).await;
    let many = every_operation(&lab, &mut raw, "two").await;
    let keys: u64 = cmd("DBSIZE").query_async(&mut raw).await.unwrap();
    assert!(keys >= SESSIONS * 14 / 10, "{keys}");
    assert_eq!(few, many);
    for (name, calls) in many {
        let all: u64 = calls.values().sum();
        // Everybody's epoch has a copy in each shard, and there are 4096 whatever the number of sessions.
        let most = if name == "end everybody's" { 4 * 4096 } else { 25 };
        assert!(all <= most, "{name}: {calls:?}");
        let known = |call: &&String| matches!(call.as_str(), "keys" | "scan" | "smembers" | "hgetall" | "flushall");
        assert_eq!(calls.keys().find(known), None, "{name} looks through everything");
    }
}
