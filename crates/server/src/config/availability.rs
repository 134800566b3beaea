//! Values that are defined but that this version cannot serve: refused by name, never ignored.

use super::{AuditSink, Backend, MailTransport, SessionStorageKind, Settings, VerificationMode};
use crate::exit::StartError;

/// Refuses what the settings ask for and this version does not have.
pub(super) fn check(settings: &Settings) -> Result<(), StartError> {
    let missing = missing(settings);
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing.iter().map(|(key, value)| format!("`{key}` = {value}")).collect();
    Err(StartError::config(
        "not in this version of session-manager-server",
        list.join(", "),
        "Remove the key or choose another value; `session-manager-server config print` shows the defaults.",
    ))
}

fn missing(settings: &Settings) -> Vec<(&'static str, String)> {
    let sessions = &settings.sessions;
    let rules = [
        ("backend", settings.backend == Backend::Opaque, "opaque"),
        (
            "database.url",
            settings.database.url.as_ref().is_some_and(|url| !url.expose().starts_with("sqlite:")),
            "anything but sqlite:PATH",
        ),
        ("sessions.storage", sessions.storage == SessionStorageKind::Redis, "redis"),
        ("sessions.storage", sessions.storage == SessionStorageKind::RedisCluster, "redis-cluster"),
        ("sessions.storage", sessions.storage == SessionStorageKind::RedisSentinel, "redis-sentinel"),
        ("sessions.storage", sessions.storage == SessionStorageKind::Memcached, "memcached"),
        ("sessions.storage", sessions.storage == SessionStorageKind::Tiered, "tiered"),
        ("sessions.url", sessions.url.is_some(), "a database of its own for the sessions"),
        ("sessions.cache_url", sessions.cache_url.is_some(), "a cache"),
        ("verification.mode", settings.verification.mode == VerificationMode::Cached, "cached"),
        ("verification.mode", settings.verification.mode == VerificationMode::Feed, "feed"),
        ("verification.mode", settings.verification.mode == VerificationMode::Stateless, "stateless"),
        ("mail.transport", settings.mail.transport == MailTransport::Smtp, "smtp"),
        ("metrics.enabled", settings.metrics.enabled, "true"),
        ("geoip.city", settings.geoip.city.is_some(), "a database of places"),
        ("audit.sinks", settings.audit.sinks.contains(&AuditSink::Db), "db"),
        ("audit.sinks", settings.audit.sinks.contains(&AuditSink::Metrics), "metrics"),
    ];
    rules.into_iter().filter(|rule| rule.1).map(|(key, _, value)| (key, value.to_owned())).collect()
}
