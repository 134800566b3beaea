//! What the manager is made of, as the configuration says.

use std::sync::Arc;
use std::time::Duration;

use session_manager_audit_log::LogAudit;
use session_manager_backend_jwt::{JwtBackend, SigningKey};
use session_manager_core::storage::OnLimit;
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{AuditBackend, Delivery, Result, SessionBackend, SessionPolicy, SessionStorage};
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};
use session_manager_storage_sqlx::{EpochTable, OnceTable, SessionTable, SqlxStorage};
use sqlx::{Sqlite, SqlitePool};

use super::claims::RoleClaim;
use crate::accounts::Accounts;
use crate::config::{self, AuditSink, SessionStorageKind, Settings};
use crate::keys::Keys;

/// The issuer without a configured `public_url`. The port of such a server may be another one at each start, and its tokens outlive it.
const LOCAL_ISSUER: &str = "http://localhost";

type Storage = (Arc<dyn SessionStorage>, Option<SqlxStorage<Sqlite>>);

/// Where sessions live.
pub(super) fn storage(settings: &Settings, pool: &SqlitePool) -> Result<Storage> {
    if settings.sessions.storage == SessionStorageKind::Memory {
        return Ok((Arc::new(MemoryStorage::new(MemoryStorageConfig::new())?), None));
    }
    // Whatever else there is beside SQL was refused when the configuration was read.
    let storage = SqlxStorage::new(pool.clone(), table())?;
    Ok((Arc::new(storage.clone()), Some(storage)))
}

/// The mapping of `migrations/0002_sessions.sql`. There is no feed table: while every request reads its session, nobody would read it.
pub(super) fn table() -> SessionTable {
    SessionTable::new("sessions").epochs(EpochTable::new("session_epochs")).once(OnceTable::new("session_once"))
}

/// `EdDSA` access tokens and core's refresh tokens, from the key file.
pub(super) fn backend(settings: &Settings, keys: &Keys, accounts: &Accounts) -> Result<Arc<dyn SessionBackend>> {
    let signing = SigningKey::ed25519_from_pkcs8(keys.access_key_pkcs8())?;
    let refresh = ReferenceTokens::new(Arc::new(KeyRing::new(TokenKey::from_secret(keys.refresh_secret())?)));
    let issuer = settings.public_url.as_ref().map_or(LOCAL_ISSUER, |url| url.as_str());
    let backend = JwtBackend::builder(signing, refresh)
        .issuer(issuer)
        .audience(issuer)
        .claims(RoleClaim(accounts.clone()))
        .build()?;
    Ok(Arc::new(backend))
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
    // Enrichers come with later versions; none may hold up a sign-in for long.
    policy.enricher_timeout = Duration::from_millis(500);
    policy
}

/// The audit sinks. The log's never fails, so that requiring it would promise no more, and would keep it out of transactions.
pub(super) fn audit(settings: &Settings) -> Vec<(Arc<dyn AuditBackend>, Delivery)> {
    let mut sinks: Vec<(Arc<dyn AuditBackend>, Delivery)> = Vec::new();
    if settings.audit.sinks.contains(&AuditSink::Log) {
        sinks.push((Arc::new(LogAudit::new()), Delivery::BestEffort));
    }
    sinks
}
