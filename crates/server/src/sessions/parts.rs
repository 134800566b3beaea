//! What the manager is made of, as the configuration says: the library's factory puts it together.

use std::sync::Arc;

use aws_lc_rs::hmac;
use metrics_exporter_prometheus::PrometheusRecorder;
use session_manager::audit_db::{AuditTable, ChainKey, ChainTable};
use session_manager::backend_jwt::JwtBackend;
use session_manager::factory::{self, Config, Resources, Sink};
use session_manager::storage::OnLimit;
use session_manager::storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable};
use session_manager::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager::{Clock, Result, SessionPolicy, Verification};

use super::claims::RoleClaim;
use crate::accounts::Accounts;
use crate::config::{self, AuditSink, Backend, SessionStorageKind, Settings, VerificationMode};
use crate::data::Data;
use crate::keys::{Keys, LiveKeys};
use crate::sql::Engine;

/// The issuer without a configured `public_url`. The port of such a server may be another one at each start, and its tokens outlive it.
const LOCAL_ISSUER: &str = "http://localhost";

/// The settings as the library's factory has them.
pub(super) fn config(settings: &Settings) -> Config {
    let mut config = Config::default();
    config.backend = match settings.backend {
        Backend::Jwt => factory::Backend::Jwt,
        Backend::Opaque => factory::Backend::Opaque,
    };
    config.storage = match settings.sessions.storage {
        SessionStorageKind::Memory => factory::Storage::Memory,
        SessionStorageKind::Sqlx => factory::Storage::Sqlx,
        SessionStorageKind::Redis | SessionStorageKind::RedisCluster | SessionStorageKind::RedisSentinel => {
            factory::Storage::Redis
        }
        SessionStorageKind::Memcached => factory::Storage::Memcached,
        SessionStorageKind::Tiered => factory::Storage::Tiered,
    };
    config.tiered.shared_cache = settings.sessions.cache_url.is_some();
    config.tiered.max_age = Some(settings.verification.max_age);
    // What a volatile storage means is warned of at the start.
    config.allow_volatile = true;
    config.audit = settings.audit.sinks.iter().map(|sink| factory::AuditSink::new(self::sink(*sink))).collect();
    if settings.metrics.enabled && !settings.audit.sinks.contains(&AuditSink::Metrics) {
        config.audit.push(factory::AuditSink::new(Sink::Metrics));
    }
    config.enrichers = vec![factory::Enricher::Device];
    if let Some(city) = &settings.geoip.city {
        config.enrichers.push(factory::Enricher::Geoip);
        config.geoip.databases = vec![city.clone()];
    }
    config.suspicion = settings.suspicion;
    config.policy = policy(&settings.policy);
    let max_age = settings.verification.max_age;
    config.verification = match settings.verification.mode {
        VerificationMode::Always => Verification::Always,
        VerificationMode::Cached => Verification::Cached { max_age },
        VerificationMode::Feed => Verification::Feed { max_age },
        VerificationMode::Stateless => Verification::Stateless,
    };
    let issuer = settings.public_url.as_ref().map_or(LOCAL_ISSUER, |url| url.as_str());
    config.jwt.issuer = Some(issuer.to_owned());
    config.jwt.audience = Some(issuer.to_owned());
    config
}

/// Only what the storage needs: reference tokens, since they need nothing of the accounts.
pub(super) fn bare_config(settings: &Settings) -> Config {
    let mut bare = Config::testing();
    let full = config(settings);
    bare.storage = full.storage;
    bare.tiered = full.tiered;
    bare.policy = full.policy;
    bare
}

/// The handles for [`bare_config`].
pub(super) fn bare_resources(keys: &Keys) -> Result<Resources> {
    // No token is made, or checked.
    Ok(Resources::new().refresh_keys(KeyRing::new(TokenKey::from_secret(keys.root_secret())?)))
}

const fn sink(sink: AuditSink) -> Sink {
    match sink {
        AuditSink::Log => Sink::Log,
        AuditSink::Db => Sink::Db,
        AuditSink::Metrics => Sink::Metrics,
    }
}

/// Keys, clock, tables and pools of this installation, but for what the sessions are kept in.
pub(super) fn resources(
    settings: &Settings,
    data: &Data,
    (accounts, keys): (&Accounts, &LiveKeys),
    clock: Arc<dyn Clock>,
    recorder: Option<Arc<PrometheusRecorder>>,
) -> Result<Resources> {
    let mut resources = Resources::new().clock(clock).refresh_keys(keys.clone());
    if settings.backend == Backend::Jwt {
        let backend = JwtBackend::with_keys(keys.access(), ReferenceTokens::new(Arc::new(keys.clone())));
        resources = resources.jwt(backend.claims(RoleClaim(accounts.clone())));
    }
    if settings.audit.sinks.contains(&AuditSink::Db) {
        resources = resources
            .audit_database(data.pool.clone())
            .audit_table(if data.pool.engine() == Engine::Sqlite { audit_table() } else { native_audit_table() })
            .audit_key(ChainKey::new(audit_secret(&data.keys).as_ref())?);
    }
    if let Some(recorder) = recorder {
        resources = resources.metrics_recorder(recorder);
    }
    Ok(resources)
}

/// What the chain of the audit trail is made with: another secret than the tokens', from the same file.
fn audit_secret(keys: &Keys) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, keys.root_secret()), b"session-manager-server/audit-chain/1")
}

/// The mapping of `migrations/0002_sessions.sql`.
pub(super) fn table() -> SessionTable {
    SessionTable::new("sessions").epochs(EpochTable::new("session_epochs")).once(OnceTable::new("session_once"))
}

/// The same with the table of announcements, which costs each end a row: for the nodes that read it.
pub(super) fn table_with_feed() -> SessionTable {
    table().feed(FeedTable::new("session_feed"))
}

/// The mapping of `migrations/sessions`, with the database's own types.
pub(super) fn native_table() -> SessionTable {
    table_with_feed().native()
}

/// The mapping of `migrations/0006_audit.sql`.
pub(super) fn audit_table() -> AuditTable {
    AuditTable::new("session_events").chained(ChainTable::new("session_event_chain"))
}

/// The mapping of `migrations/postgres/0002_audit.sql` and of its sibling, with the database's own types.
pub(super) fn native_audit_table() -> AuditTable {
    audit_table().native()
}

/// The core's policy for ours.
pub(super) fn policy(configured: &config::Policy) -> SessionPolicy {
    let nested = configured.nested();
    let mut policy = SessionPolicy::default();
    policy.absolute_lifetime = nested.absolute_lifetime;
    policy.idle_timeout = Some(nested.idle_timeout);
    policy.max_sessions = nested.max_sessions;
    policy.on_limit = match nested.on_limit {
        config::OnLimit::EvictOldest => OnLimit::EvictOldest,
        config::OnLimit::EvictIdlest => OnLimit::EvictIdlest,
        config::OnLimit::Reject => OnLimit::Reject,
        config::OnLimit::Unlimited => OnLimit::Unlimited,
    };
    policy.access_token_lifetime = nested.access_token_lifetime;
    policy.refresh_grace = nested.refresh_grace;
    policy.touch_interval = nested.touch_interval;
    policy.step_up_max_age = nested.step_up_max_age;
    policy
}
