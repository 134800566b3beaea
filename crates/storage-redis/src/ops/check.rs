//! What an operator should know of the servers.

use chrono::{DateTime, Utc};
use redis::{Cmd, Value};
use session_manager_core::storage::{Durability, Health, Severity};

use crate::error::{Failure, Outcome};
use crate::reply::Reply;
use crate::storage::RedisStorage;

/// Settings of one server.
#[derive(Default)]
struct Settings {
    policy: String,
    memory: String,
    replicas_to_write: String,
    append_only: String,
    append_sync: String,
}

impl RedisStorage {
    pub(crate) async fn examine(&self, now: DateTime<Utc>) -> Outcome<Health> {
        let mut health = Health::well();
        self.watch().await?;
        for node in self.link.nodes().await? {
            let server = self.link.call_node(&node, &command(&["INFO", "server"])).await?;
            if !new_enough(&field(&server, "redis_version").unwrap_or_default()) {
                health = health
                    .finding(Severity::Error, "the server is older than redis 6.2: scripts cannot keep times to live");
            }
            let replication = self.link.call_node(&node, &command(&["INFO", "replication"])).await?;
            if field(&replication, "role").is_some_and(|role| role != "master") {
                let message = "the connection leads to a replica: it reads what may be out of date, and cannot write";
                health = health.finding(Severity::Error, message);
            }
            let replicas = field(&replication, "connected_slaves").unwrap_or_default();
            let skew = self.skew(&node, now).await?;
            if health.clock_skew_millis.is_none_or(|known| known.abs() < skew.abs()) {
                health.clock_skew_millis = Some(skew);
            }
            health = match self.settings(&node).await {
                Ok(settings) => judge(health, &settings, &replicas, self.config.durability),
                Err(Failure::Unavailable(cause)) => return Err(Failure::Unavailable(cause)),
                Err(_) => {
                    let message =
                        "CONFIG GET is not permitted: eviction, persistence and replication were not examined";
                    health.finding(Severity::Info, message)
                }
            };
        }
        health.findings.dedup();
        Ok(health)
    }

    async fn skew(&self, node: &str, now: DateTime<Utc>) -> Outcome<i64> {
        let mut reply = Reply::of(self.link.call_node(node, &command(&["TIME"])).await?)?;
        let mut number = || -> Outcome<i64> {
            let text = String::from_utf8(reply.bytes()?).map_err(|_| Failure::Answer("TIME"))?;
            text.parse().map_err(|_| Failure::Answer("TIME"))
        };
        let (seconds, micros) = (number()?, number()?);
        let theirs = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        Ok(theirs.saturating_sub(now.timestamp_millis()))
    }

    async fn settings(&self, node: &str) -> Outcome<Settings> {
        let mut settings = Settings::default();
        for (name, to) in [
            ("maxmemory-policy", &mut settings.policy),
            ("maxmemory", &mut settings.memory),
            ("min-replicas-to-write", &mut settings.replicas_to_write),
            ("appendonly", &mut settings.append_only),
            ("appendfsync", &mut settings.append_sync),
        ] {
            let answer = self.link.call_node(node, &command(&["CONFIG", "GET", name])).await?;
            *to = match answer {
                Value::Map(pairs) => pairs.into_iter().next().and_then(|(_, value)| crate::reply::text(value).ok()),
                Value::Array(values) => values.into_iter().nth(1).and_then(|value| crate::reply::text(value).ok()),
                _ => None,
            }
            .unwrap_or_default();
        }
        Ok(settings)
    }
}

fn judge(mut health: Health, settings: &Settings, replicas: &str, durability: Durability) -> Health {
    if !settings.policy.is_empty() && settings.policy != "noeviction" {
        // Nothing that ended comes back by an eviction; but sessions, notices and remembered values are lost.
        let (severity, when) = if settings.memory == "0" || settings.memory.is_empty() {
            (Severity::Warning, "once maxmemory is set")
        } else {
            (Severity::Error, "whenever memory is short")
        };
        let policy = &settings.policy;
        let message = format!(
            "maxmemory-policy is {policy}: users are signed out, notices and remembered values lost {when}; use noeviction"
        );
        health = health.finding(severity, message);
    }
    if durability == Durability::Acknowledged && (settings.append_only != "yes" || settings.append_sync != "always") {
        let message = "durability is stated as acknowledged, but appendonly yes and appendfsync always are not set";
        health = health.finding(Severity::Error, message);
    }
    let replicated = !matches!(replicas, "" | "0");
    if replicated && durability == Durability::Acknowledged {
        let message =
            "durability is stated as acknowledged, but there are replicas: a failover may lose the last writes";
        health = health.finding(Severity::Error, message);
    }
    if replicated && matches!(settings.replicas_to_write.as_str(), "" | "0") {
        let message =
            "min-replicas-to-write is 0: a primary that was cut off goes on accepting writes which a failover loses";
        health = health.finding(Severity::Warning, message);
    }
    health
}

fn new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    // A server that does not say is given the benefit of the doubt.
    version.is_empty() || (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= (6, 2)
}

/// A field of an `INFO` answer.
pub(crate) fn field(info: &Value, name: &str) -> Option<String> {
    let text = match info {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    text.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| *key == name))
        .map(|(_, value)| value.to_owned())
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}
