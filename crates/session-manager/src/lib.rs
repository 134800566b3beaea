#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use session_manager_core::*;

#[cfg(feature = "audit-db")]
pub use session_manager_audit_db as audit_db;
#[cfg(feature = "audit-log")]
pub use session_manager_audit_log as audit_log;
#[cfg(feature = "audit-metrics")]
pub use session_manager_audit_metrics as audit_metrics;
#[cfg(feature = "backend-jwt")]
pub use session_manager_backend_jwt as backend_jwt;
#[cfg(feature = "backend-opaque")]
pub use session_manager_backend_opaque as backend_opaque;
#[cfg(feature = "enricher-device")]
pub use session_manager_enricher_device as enricher_device;
#[cfg(feature = "enricher-geoip")]
pub use session_manager_enricher_geoip as enricher_geoip;
#[cfg(feature = "http")]
pub use session_manager_http as http;
#[cfg(feature = "axum")]
pub use session_manager_middleware_axum as axum;
#[cfg(feature = "storage-memcached")]
pub use session_manager_storage_memcached as storage_memcached;
#[cfg(feature = "storage-memory")]
pub use session_manager_storage_memory as storage_memory;
#[cfg(feature = "storage-migration")]
pub use session_manager_storage_migration as storage_migration;
#[cfg(feature = "storage-redis")]
pub use session_manager_storage_redis as storage_redis;
#[cfg(feature = "storage-sqlx")]
pub use session_manager_storage_sqlx as storage_sqlx;
#[cfg(feature = "storage-tiered")]
pub use session_manager_storage_tiered as storage_tiered;
#[cfg(feature = "suspicion")]
pub use session_manager_suspicion as suspicion_rules;

#[cfg(feature = "factory")]
pub mod factory;
