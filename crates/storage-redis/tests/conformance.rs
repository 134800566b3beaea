//! The conformance suite on one server, behind a connection manager, on the primary that Sentinel names, and on a cluster.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod keys;
mod servers;

use std::sync::{Arc, OnceLock};

use redis::cluster::ClusterClient;
use session_manager_core::SessionStorage;
use session_manager_services::{Redis, RedisCluster};
use session_manager_storage_redis::RedisStorage;
use session_manager_testkit::{
    storage_conformance, storage_defects, storage_evictions, storage_histories, storage_races,
};

use keys::Keys;
use servers::{Held, clustered, managed, named_by_sentinel, single};

async fn boxed() -> Box<dyn SessionStorage> {
    Box::new(managed().await)
}

async fn shared() -> Arc<dyn SessionStorage> {
    Arc::new(single().await)
}

async fn sentinel() -> Held {
    named_by_sentinel().await
}

storage_conformance!(value, single, lacking = [ListAll, CleanUp]);
storage_conformance!(through_a_box, boxed, lacking = [ListAll, CleanUp]);
storage_conformance!(through_an_arc, shared, lacking = [ListAll, CleanUp]);
storage_conformance!(by_sentinel, sentinel, lacking = [ListAll, CleanUp]);
storage_conformance!(cluster, clustered, lacking = [ListAll, CleanUp]);

storage_defects!(defects, single, lacking = [ListAll, CleanUp]);
storage_defects!(defects_by_sentinel, sentinel, lacking = [ListAll, CleanUp]);
storage_defects!(defects_on_a_cluster, clustered, lacking = [ListAll, CleanUp]);

storage_histories!(histories, single);
storage_histories!(histories_by_sentinel, sentinel);
storage_histories!(histories_on_a_cluster, clustered);
storage_races!(races, single);
storage_races!(races_by_sentinel, sentinel);
storage_races!(races_on_a_cluster, clustered);

/// A server of the test's own: on one that others use, finding a storage's keys is a walk through everybody's.
async fn single_and_its_keys() -> (RedisStorage, Keys) {
    static OWN: OnceLock<Redis> = OnceLock::new();
    let connection = servers::connect(&OWN.get_or_init(|| Redis::start().unwrap()).url()).await;
    let config = servers::config();
    let keys = Keys { prefix: config.prefix.clone(), servers: vec![connection.clone()] };
    (RedisStorage::new(connection, config).unwrap(), keys)
}

async fn cluster_and_its_keys() -> (RedisStorage, Keys) {
    static OWN: OnceLock<RedisCluster> = OnceLock::new();
    let (urls, config) = (OWN.get_or_init(|| RedisCluster::start().unwrap()).urls(), servers::config());
    let keys = Keys { prefix: config.prefix.clone(), servers: servers::primaries(&urls).await };
    let client = ClusterClient::builder(urls).response_timeout(std::time::Duration::from_mins(1)).build().unwrap();
    let connection = client.get_async_connection().await.unwrap();
    (RedisStorage::cluster(connection, config).unwrap(), keys)
}

storage_evictions!(evictions, single_and_its_keys);
storage_evictions!(evictions_on_a_cluster, cluster_and_its_keys);
