//! A manager from a configuration file and the handles of the application.
//!
//! [`Config`] says what is wanted, in words that fit into any file that serde reads. [`Resources`] holds what only the application has: its pools,
//! connections, keys and table mappings. [`assemble`] puts them together, or says which field, handle or feature is missing. It opens no
//! connection, runs no statement and starts no task.
//!
//! ```
//! use session_manager::factory::{Config, Resources, assemble};
//! use session_manager::token::{KeyRing, TokenKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: Config = toml::from_str(
//!     r#"
//!     backend = "opaque"
//!     storage = "memory"
//!     allow_volatile = true
//!     audit = ["log"]
//!     enrichers = ["device"]
//!
//!     [policy]
//!     max_sessions = 3
//!     idle_timeout = "1d"
//!
//!     [suspicion]
//!     device_change = "revoke"
//!     "#,
//! )?;
//! let key = TokenKey::from_secret(b"from the application's key store, 32 bytes or more")?;
//! let (assembled, maintenance) = assemble(&config, Resources::new().refresh_keys(KeyRing::new(key)))?;
//! let sessions = assembled.manager;
//! # drop((sessions, maintenance));
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(
        unreachable_code,
        unused_mut,
        unused_variables,
        clippy::needless_pass_by_value,
        clippy::missing_const_for_fn,
        reason = "without a database there is no pool"
    )
)]

mod audit;
mod backend;
mod config;
#[cfg(any(feature = "storage-sqlx", feature = "audit-db"))]
mod database;
mod enrich;
mod resources;
mod rules;
mod storage;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use session_manager_core::{Error, ErrorKind, Result, SessionManager, SessionStorage};

#[cfg(feature = "audit-db")]
pub use audit::AuditDatabase;
pub use config::{
    AuditSink, Backend, Config, DurableStorage, Enricher, GeoIp, Jwt, Memcached, Memory, OnSuspicion, Redis,
    RedisDurability, Sink, Storage, Suspicion, Tiered, WhenDeaf,
};
#[cfg(any(feature = "storage-sqlx", feature = "audit-db"))]
pub use database::Database;
pub use resources::Resources;
#[cfg(feature = "storage-sqlx")]
pub use storage::SqlStorage;

/// What [`assemble`] made: the manager, and those of its parts that an application uses by themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assembled {
    /// The manager.
    pub manager: SessionManager,
    /// The storage that the manager has: for a migration, a health check, a rule of the application's.
    pub storage: Arc<dyn SessionStorage>,
    /// The same as SQL, where it is: for operations inside the application's own transactions.
    #[cfg(feature = "storage-sqlx")]
    pub sql: Option<SqlStorage>,
    /// The same as a cache before another, where it is: for its counters.
    #[cfg(feature = "storage-tiered")]
    pub tiered: Option<Arc<session_manager_storage_tiered::TieredStorage>>,
    /// The audit table: for searches, the check of its chain, its counters and its last flush.
    #[cfg(feature = "audit-db")]
    pub audit: Option<AuditDatabase>,
    /// The metrics: to count live sessions now and then.
    #[cfg(feature = "audit-metrics")]
    pub metrics: Option<session_manager_audit_metrics::MetricsAudit>,
    /// The databases of places: to read them again when they were replaced.
    #[cfg(feature = "enricher-geoip")]
    pub geoip: Option<Arc<session_manager_enricher_geoip::GeoIpEnricher>>,
}

/// Puts a manager together. The second part is its background work, [`SessionManager::maintenance`]: the application runs it for as long as it
/// uses the manager.
///
/// # Errors
/// [`ErrorKind::Misconfigured`], naming the field, the handle or the feature: for a feature that was not compiled in, a handle that is missing, a
/// value that cannot be, and a policy or verification that the storage cannot keep. [`ErrorKind::Internal`] when the operating system gives no
/// randomness.
pub fn assemble(config: &Config, resources: Resources) -> Result<(Assembled, BoxFuture<'static, ()>)> {
    let mut resources = resources;
    let observing = audit::observing(config, &mut resources)?;
    let backend = backend::backend(config, &mut resources)?;
    let stored = storage::storage(config, &mut resources, &observing)?;
    let mut builder = SessionManager::builder()
        .storage(Arc::clone(&stored.storage))
        .backend(backend)
        .policy(config.policy.clone())
        .verification(config.verification)
        .record_accessed_every(config.record_accessed_every)
        .allow_volatile(config.allow_volatile);
    if let Some(telemetry) = observing.telemetry {
        builder = builder.telemetry(telemetry);
    }
    for (sink, delivery) in observing.sinks.into_iter().chain(std::mem::take(&mut resources.sinks)) {
        builder = builder.audit(sink, delivery);
    }
    let enriching = enrich::enrichers(config, &resources)?;
    for enricher in enriching.enrichers.into_iter().chain(std::mem::take(&mut resources.enrichers)) {
        builder = builder.enricher(enricher);
    }
    for rule in rules::rules(config, &stored.storage)?.into_iter().chain(std::mem::take(&mut resources.rules)) {
        builder = builder.rule(rule);
    }
    let (manager, maintenance) = resources.complete(builder).build_with_maintenance()?;
    let assembled = Assembled {
        manager,
        storage: stored.storage,
        #[cfg(feature = "storage-sqlx")]
        sql: stored.sql,
        #[cfg(feature = "storage-tiered")]
        tiered: stored.tiered,
        #[cfg(feature = "audit-db")]
        audit: observing.database,
        #[cfg(feature = "audit-metrics")]
        metrics: observing.metrics,
        #[cfg(feature = "enricher-geoip")]
        geoip: enriching.geoip,
    };
    Ok((assembled, maintenance.boxed()))
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "configuration").because(message)
}

/// What the configuration asks for and this build has not.
#[allow(dead_code, reason = "a build with everything never says it")]
fn not_compiled(field: &str, value: &str, feature: &str) -> Error {
    refuse(format!("`{field}` = {value} needs the feature `{feature}` of the crate session-manager"))
}

/// A handle that the application has to give.
#[allow(dead_code, reason = "a build with nothing asks for none")]
fn missing(field: &str, value: &str, handle: &str) -> Error {
    refuse(format!("`{field}` = {value} needs a handle of the application's: Resources::{handle}"))
}
