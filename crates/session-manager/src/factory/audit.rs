//! The sinks of events, and what measures.

use std::sync::Arc;

use session_manager_core::{AuditBackend, Delivery, Result, Telemetry};

use super::config::{AuditSink, Config, Sink};
use super::resources::Resources;

/// Who is told, and who measures.
#[derive(Default)]
pub(super) struct Observing {
    pub(super) sinks: Vec<(Arc<dyn AuditBackend>, Delivery)>,
    pub(super) telemetry: Option<Arc<dyn Telemetry>>,
    #[cfg(feature = "audit-db")]
    pub(super) database: Option<AuditDatabase>,
    #[cfg(feature = "audit-metrics")]
    pub(super) metrics: Option<session_manager_audit_metrics::MetricsAudit>,
}

/// An audit table in one of the databases.
#[cfg(feature = "audit-db")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AuditDatabase {
    /// In SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<session_manager_audit_db::DbAudit<sqlx::Sqlite>>),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(Arc<session_manager_audit_db::DbAudit<sqlx::Postgres>>),
    /// In MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(Arc<session_manager_audit_db::DbAudit<sqlx::MySql>>),
}

pub(super) fn observing(config: &Config, resources: &mut Resources) -> Result<Observing> {
    let mut observing = Observing { telemetry: resources.telemetry.take(), ..Observing::default() };
    for (index, sink) in config.audit.iter().enumerate() {
        if config.audit.iter().take(index).any(|earlier| earlier.sink == sink.sink) {
            return Err(super::refuse("`audit` names a sink twice"));
        }
        let backend = match sink.sink {
            Sink::Log => log()?,
            Sink::Metrics => metrics(resources, &mut observing)?,
            Sink::Db => database(*sink, resources, &mut observing)?,
        };
        observing.sinks.push((backend, sink.delivery));
    }
    Ok(observing)
}

#[cfg(feature = "audit-log")]
#[allow(clippy::unnecessary_wraps, reason = "as where it was not compiled in")]
fn log() -> Result<Arc<dyn AuditBackend>> {
    Ok(Arc::new(session_manager_audit_log::LogAudit::new()))
}

#[cfg(not(feature = "audit-log"))]
fn log() -> Result<Arc<dyn AuditBackend>> {
    Err(super::not_compiled("audit", "log", "audit-log"))
}

#[cfg(feature = "audit-metrics")]
#[allow(clippy::unnecessary_wraps, reason = "as where it was not compiled in")]
fn metrics(resources: &mut Resources, observing: &mut Observing) -> Result<Arc<dyn AuditBackend>> {
    use session_manager_audit_metrics::MetricsAudit;

    let metrics = resources.recorder.take().map_or_else(MetricsAudit::new, MetricsAudit::with_recorder);
    if observing.telemetry.is_none() {
        observing.telemetry = Some(Arc::new(metrics.clone()));
    }
    observing.metrics = Some(metrics.clone());
    Ok(Arc::new(metrics))
}

#[cfg(not(feature = "audit-metrics"))]
fn metrics(_: &mut Resources, _: &mut Observing) -> Result<Arc<dyn AuditBackend>> {
    Err(super::not_compiled("audit", "metrics", "audit-metrics"))
}

/// A required sink writes before the operation is done; another writes in the background.
#[cfg(feature = "audit-db")]
fn database(sink: AuditSink, resources: &mut Resources, observing: &mut Observing) -> Result<Arc<dyn AuditBackend>> {
    let database = resources.audit_database.take().or_else(|| resources.database.clone());
    let database = database.ok_or_else(|| super::missing("audit", "db", "database"))?;
    let table = resources.audit_table.take().ok_or_else(|| super::missing("audit", "db", "audit_table"))?;
    let key = resources.audit_key.take();
    match database {
        #[cfg(feature = "sqlite")]
        super::Database::Sqlite(pool) => {
            let audit = Arc::new(table_of(pool, table, key, sink, resources)?);
            observing.database = Some(AuditDatabase::Sqlite(Arc::clone(&audit)));
            Ok(audit)
        }
        #[cfg(feature = "postgres")]
        super::Database::Postgres(pool) => {
            let audit = Arc::new(table_of(pool, table, key, sink, resources)?);
            observing.database = Some(AuditDatabase::Postgres(Arc::clone(&audit)));
            Ok(audit)
        }
        #[cfg(feature = "mysql")]
        super::Database::MySql(pool) => {
            let audit = Arc::new(table_of(pool, table, key, sink, resources)?);
            observing.database = Some(AuditDatabase::MySql(Arc::clone(&audit)));
            Ok(audit)
        }
    }
}

#[cfg(all(feature = "audit-db", any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
fn table_of<DB: session_manager_audit_db::Dialect>(
    pool: sqlx::Pool<DB>,
    table: session_manager_audit_db::AuditTable,
    key: Option<session_manager_audit_db::ChainKey>,
    sink: AuditSink,
    resources: &Resources,
) -> Result<session_manager_audit_db::DbAudit<DB>> {
    use session_manager_audit_db::{Batching, DbAudit};

    let mut audit = match key {
        Some(key) => DbAudit::chained(pool, table, key)?,
        None => DbAudit::new(pool, table)?,
    };
    if let Some(clock) = &resources.clock {
        audit = audit.clock(Arc::clone(clock));
    }
    if sink.delivery == Delivery::BestEffort {
        audit = audit.batched(Batching::default());
    }
    Ok(audit)
}

#[cfg(not(feature = "audit-db"))]
fn database(_: AuditSink, _: &mut Resources, _: &mut Observing) -> Result<Arc<dyn AuditBackend>> {
    Err(super::not_compiled("audit", "db", "audit-db"))
}
