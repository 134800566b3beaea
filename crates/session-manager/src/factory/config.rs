//! What a configuration may say, with its defaults.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use session_manager_core::{Delivery, SessionPolicy, SuspicionAction, Verification};

/// What a manager is to be made of. Unknown fields are errors; a field that is not there has its default.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// What tokens look like. `jwt`.
    pub backend: Backend,
    /// Where sessions live. `sqlx`.
    pub storage: Storage,
    /// Where it is recorded what happens: names, or tables such as `{ sink = "db", delivery = "required" }`. Nowhere.
    pub audit: Vec<AuditSink>,
    /// Of so many authentications one is recorded. 1: every one.
    pub record_accessed_every: NonZeroU32,
    /// Who tells more about a client, in this order. Nobody.
    pub enrichers: Vec<Enricher>,
    /// Whether the storage may forget its sessions with its process, or by eviction. No.
    pub allow_volatile: bool,
    /// Lifetimes and limits.
    pub policy: SessionPolicy,
    /// How access tokens are checked. `always`.
    pub verification: Verification,
    /// What is done about what looks wrong. Nothing.
    pub suspicion: Suspicion,
    /// Of the JWT backend.
    pub jwt: Jwt,
    /// Of the memory storage.
    pub memory: Memory,
    /// Of the Redis storage.
    pub redis: Redis,
    /// Of the memcached storage.
    pub memcached: Memcached,
    /// Of the tiered storage.
    pub tiered: Tiered,
    /// Of the enricher `geoip`.
    pub geoip: GeoIp,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            storage: Storage::default(),
            audit: Vec::new(),
            record_accessed_every: NonZeroU32::MIN,
            enrichers: Vec::new(),
            allow_volatile: false,
            policy: SessionPolicy::default(),
            verification: Verification::default(),
            suspicion: Suspicion::default(),
            jwt: Jwt::default(),
            memory: Memory::default(),
            redis: Redis::default(),
            memcached: Memcached::default(),
            tiered: Tiered::default(),
            geoip: GeoIp::default(),
        }
    }
}

impl Config {
    /// To try things out on one machine: reference tokens, sessions in memory that end with the process, events in the log.
    pub fn development() -> Self {
        Self {
            backend: Backend::Opaque,
            storage: Storage::Memory,
            audit: vec![AuditSink::new(Sink::Log)],
            enrichers: vec![Enricher::Device],
            allow_volatile: true,
            ..Self::default()
        }
    }

    /// To begin a service with: JWT, the application's SQL tables, every event in its audit table before it counts as done, in the log and in the
    /// metrics; devices recognised, and a sign-in again asked for where a device changes under a session.
    pub fn production() -> Self {
        let mut durable = AuditSink::new(Sink::Db);
        durable.delivery = Delivery::Required;
        Self {
            audit: vec![durable, AuditSink::new(Sink::Log), AuditSink::new(Sink::Metrics)],
            enrichers: vec![Enricher::Device],
            suspicion: Suspicion { device_change: Some(OnSuspicion::StepUp), ..Suspicion::default() },
            ..Self::default()
        }
    }

    /// For the application's tests: as [`development`](Self::development), without a log.
    pub fn testing() -> Self {
        Self { audit: Vec::new(), enrichers: Vec::new(), ..Self::development() }
    }

    /// The same with another policy, such as [`SessionPolicy::nist_aal2`].
    pub fn with_policy(mut self, policy: SessionPolicy) -> Self {
        self.policy = policy;
        self
    }
}

/// What tokens look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Backend {
    /// Signed access tokens (RFC 9068).
    #[default]
    Jwt,
    /// Reference tokens.
    Opaque,
}

/// Where sessions live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Storage {
    /// In this process.
    Memory,
    /// In the application's SQL tables.
    #[default]
    Sqlx,
    /// In Redis or a Redis Cluster, as the handle is.
    Redis,
    /// In memcached.
    Memcached,
    /// In a cache before a durable storage.
    Tiered,
    /// In a storage of the application's.
    Custom,
}

/// A sink of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Sink {
    /// The log, by `tracing`.
    Log,
    /// The application's audit table.
    Db,
    /// Counters, by `metrics`.
    Metrics,
}

/// A sink, and what its failure means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "WrittenSink")]
#[non_exhaustive]
pub struct AuditSink {
    /// Which.
    pub sink: Sink,
    /// Whether a failure of it fails the operation. `best-effort`.
    pub delivery: Delivery,
}

impl AuditSink {
    /// A sink whose failure is only reported.
    pub const fn new(sink: Sink) -> Self {
        Self { sink, delivery: Delivery::BestEffort }
    }
}

/// A sink as files have it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "log, db or metrics, or a table with `sink` and `delivery` (required or best-effort)")]
enum WrittenSink {
    Name(Sink),
    Table(SinkTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkTable {
    sink: Sink,
    #[serde(default = "best_effort")]
    delivery: Delivery,
}

const fn best_effort() -> Delivery {
    Delivery::BestEffort
}

impl From<WrittenSink> for AuditSink {
    fn from(written: WrittenSink) -> Self {
        match written {
            WrittenSink::Name(sink) => Self::new(sink),
            WrittenSink::Table(SinkTable { sink, delivery }) => Self { sink, delivery },
        }
    }
}

/// Who tells more about a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Enricher {
    /// The device, from the user agent.
    Device,
    /// The place, from databases of addresses.
    Geoip,
}

/// What a rule does when it is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnSuspicion {
    /// It is recorded.
    Record,
    /// The user has to prove again who they are before anything sensitive.
    StepUp,
    /// The session ends.
    Revoke,
}

impl From<OnSuspicion> for SuspicionAction {
    fn from(action: OnSuspicion) -> Self {
        match action {
            OnSuspicion::Record => Self::Record,
            OnSuspicion::StepUp => Self::StepUp,
            OnSuspicion::Revoke => Self::Revoke,
        }
    }
}

/// What is done about what looks wrong. A rule without a line does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Suspicion {
    /// A sign-in from, or a session moving to, a country that the user was not in before. Needs the enricher `geoip`.
    pub new_country: Option<OnSuspicion>,
    /// Nobody travels that fast. Needs the enricher `geoip`.
    pub impossible_travel: Option<OnSuspicion>,
    /// A session's device became another. Needs the enricher `device`.
    pub device_change: Option<OnSuspicion>,
    /// A sign-in on a device that the user was not seen on. Needs the enricher `device`.
    pub new_device: Option<OnSuspicion>,
    /// A session's address left its network.
    pub network_change: Option<OnSuspicion>,
    /// So many refused tokens from one address are recorded.
    pub rejected_tokens: Option<NonZeroU32>,
}

/// Of the JWT backend.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Jwt {
    /// Who issues the tokens (`iss`); unless set, what the builder in the resources says.
    pub issuer: Option<String>,
    /// For whom they are (`aud`); unless set, what the builder says.
    pub audience: Option<String>,
    /// The `client_id` of sessions that name no application; unless set, what the builder says.
    pub client_id: Option<String>,
}

/// Of the memory storage. What is not set has the storage's own default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Memory {
    /// The most sessions, ended ones included.
    pub max_sessions: Option<usize>,
}

/// Of the Redis storage. What is not set has the storage's own default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Redis {
    /// What every key begins with.
    pub prefix: Option<String>,
    /// What an acknowledged write is worth on these servers. `replicated`.
    pub durability: RedisDurability,
    /// How long a write may be known to one server only, where it is `replicated`.
    #[serde(with = "text_option", skip_serializing_if = "Option::is_none")]
    pub replication_window: Option<Duration>,
}

/// What an acknowledged write to Redis is worth: see `session_manager_storage_redis::RedisStorageConfig::durability`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RedisDurability {
    /// It is gone with the server.
    Volatile,
    /// A failover may lose the last of it.
    #[default]
    Replicated,
    /// It survives a crash, and there is no failover.
    Acknowledged,
}

/// Of the memcached storage. What is not set has the storage's own default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Memcached {
    /// What every key begins with.
    pub prefix: Option<String>,
    /// The most bytes of one user's sessions together.
    pub max_item_bytes: Option<usize>,
}

/// Of the tiered storage. What is not set has the storage's own default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Tiered {
    /// What is behind the cache. `sqlx`.
    pub durable: DurableStorage,
    /// Whether all nodes share a cache in Redis too. No.
    pub shared_cache: bool,
    /// What every key of that cache begins with. `smc:`.
    pub cache_prefix: Option<String>,
    /// The most sessions remembered in this process.
    pub max_entries: Option<usize>,
    /// How old an answer may be.
    #[serde(with = "text_option", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// The longest time between two heartbeats of a bus that is up, for a bus that sends them.
    #[serde(with = "text_option", skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Duration>,
    /// What happens while the bus is not heard. `bypass`.
    pub when_deaf: WhenDeaf,
}

/// What happens while the bus of other nodes is not heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WhenDeaf {
    /// Every read goes to the durable storage.
    #[default]
    Bypass,
    /// Answers as old as `max_age` are given.
    Bounded,
}

/// What is behind a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DurableStorage {
    /// The application's SQL tables.
    #[default]
    Sqlx,
    /// Redis or a Redis Cluster.
    Redis,
    /// A storage of the application's.
    Custom,
}

/// Of the enricher `geoip`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GeoIp {
    /// The database files, in the format of MaxMind: cities, countries, autonomous systems.
    pub databases: Vec<PathBuf>,
}

/// Durations as people write them, or nothing.
mod text_option {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
    }
}
