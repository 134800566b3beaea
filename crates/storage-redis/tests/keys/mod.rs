//! The keys of a storage, found and lost behind its back: on one server, or on every primary of a cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: what is not understood must not pass")]

use std::collections::BTreeSet;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::cmd;
use session_manager_testkit::conformance::{Evict, Kept};

const COPY: &str = "copy of the global epoch";

/// All keys with a prefix.
pub(crate) struct Keys {
    pub(crate) prefix: String,
    /// One connection a server; those of a cluster find different keys.
    pub(crate) servers: Vec<MultiplexedConnection>,
}

impl Keys {
    fn kind(&self, key: &str) -> &'static str {
        let rest = key.strip_prefix(&self.prefix).unwrap();
        let (shard, rest) = rest.strip_prefix('{').map_or((None, rest), |rest| {
            let (shard, rest) = rest.split_once("}:").unwrap();
            (Some(shard), rest)
        });
        match (shard, rest.split(':').next().unwrap()) {
            (Some(_), "s") => "session",
            (Some(_), "u") => "user epoch",
            (Some(_), "i") => "index",
            (Some(_), "g") => COPY,
            (None, "g") => "global epoch",
            (None, "x") => "name elsewhere",
            (None, "o") => "once",
            (None, "f") => "feed",
            _ => panic!("what kind of key is {key}?"),
        }
    }
}

#[async_trait]
impl Evict for Keys {
    fn kinds(&self) -> &'static [&'static str] {
        &["session", "user epoch", "index", COPY, "global epoch", "name elsewhere", "once", "feed"]
    }

    async fn kept(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        for server in &self.servers {
            let (mut server, mut at) = (server.clone(), 0_u64);
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(at).arg("MATCH").arg(format!("{}*", self.prefix)).arg("COUNT").arg(10_000);
                let (next, keys): (u64, Vec<String>) = scan.query_async(&mut server).await.unwrap();
                kept.extend(keys.into_iter().map(|key| Kept::new(self.kind(&key), key)));
                if next == 0 {
                    break;
                }
                at = next;
            }
        }
        // A scan may find a key twice.
        kept.sort();
        kept.dedup();
        // Every shard has a copy of the global epoch, and only those beside sessions matter.
        let shard = |record: &Kept| record.name.split_once('}').map(|(shard, _)| shard.to_owned());
        let others = kept.iter().filter(|record| record.kind != COPY);
        let used: BTreeSet<_> = others.filter_map(shard).collect();
        kept.retain(|record| record.kind != COPY || shard(record).is_some_and(|shard| used.contains(&shard)));
        kept
    }

    async fn evict(&self, record: &Kept) {
        let mut lost = 0;
        for server in &self.servers {
            // A server of a cluster refuses what is another's.
            lost += cmd("DEL").arg(&record.name).query_async(&mut server.clone()).await.unwrap_or(0_u64);
        }
        assert_eq!(lost, 1, "{record:?}");
    }
}
