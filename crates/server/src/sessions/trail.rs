//! The audit trail in the accounts' database, whichever that is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use session_manager::audit_db::{AuditPage, AuditQuery, DbAudit, Head, Purged, Verification};
use session_manager::factory::AuditDatabase;
use session_manager_core::Result;
use session_manager_core::storage::Health;
use sqlx::{MySql, Postgres, Sqlite};

/// The trail. Each method is that of [`DbAudit`].
#[derive(Clone, Debug)]
pub(crate) enum Trail {
    Sqlite(Arc<DbAudit<Sqlite>>),
    Postgres(Arc<DbAudit<Postgres>>),
    MySql(Arc<DbAudit<MySql>>),
}

macro_rules! in_each {
    ($trail:expr, $audit:ident => $work:expr) => {
        match $trail {
            Trail::Sqlite($audit) => $work,
            Trail::Postgres($audit) => $work,
            Trail::MySql($audit) => $work,
        }
    };
}

impl Trail {
    /// What the factory has made; nothing for a database that it will know one day.
    pub(super) fn of(made: AuditDatabase) -> Option<Self> {
        match made {
            AuditDatabase::Sqlite(audit) => Some(Self::Sqlite(audit)),
            AuditDatabase::Postgres(audit) => Some(Self::Postgres(audit)),
            AuditDatabase::MySql(audit) => Some(Self::MySql(audit)),
            _ => None,
        }
    }

    pub(crate) async fn query(&self, query: &AuditQuery) -> Result<AuditPage> {
        in_each!(self, audit => audit.query(query).await)
    }

    pub(crate) fn export(&self, query: AuditQuery) -> BoxStream<'_, Result<String>> {
        in_each!(self, audit => audit.export(query).boxed())
    }

    pub(crate) async fn verify(&self, head: Option<&Head>) -> Result<Verification> {
        in_each!(self, audit => audit.verify(head).await)
    }

    pub(crate) async fn purge(&self, before: DateTime<Utc>, limit: u32) -> Result<Purged> {
        in_each!(self, audit => audit.purge(before, limit).await)
    }

    pub(crate) async fn check_schema(&self) -> Result<Health> {
        in_each!(self, audit => audit.check_schema().await)
    }
}
