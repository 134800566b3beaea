//! The kit's suite for audit sinks: direct and batched, on each database.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_audit_db::{AuditQuery, AuditTable, Batching, ChainTable, DbAudit, IdEncoding};
use session_manager_core::{AuditBackend, AuditEvent, Result, UserId};
use session_manager_testkit::conformance::audit::{self, AuditAbility, AuditProbe, AuditSubject};

use crate::fixture::{Fixture, Server};

on_each!(direct, batched);

/// A sink, and the database to look into.
struct Probed<S: Server> {
    sink: DbAudit<S>,
    fixture: Fixture<S>,
}

impl<S: Server> Probed<S> {
    async fn new(batching: Option<Batching>) -> Self {
        let mapping = AuditTable::new("audit").ids(IdEncoding::Text).chained(ChainTable::new("audit_chain"));
        let fixture = Fixture::with(mapping).await;
        let sink = batching.into_iter().fold(fixture.another(), DbAudit::batched);
        Self { sink, fixture }
    }
}

impl<S: Server> std::fmt::Debug for Probed<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.sink, f)
    }
}

#[async_trait]
impl<S: Server> AuditBackend for Probed<S> {
    fn name(&self) -> &str {
        self.sink.name()
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        self.sink.record(events).await
    }

    async fn flush(&self) -> Result<()> {
        self.sink.flush().await
    }

    async fn erase(&self, person: &UserId) -> Result<u64> {
        AuditBackend::erase(&self.sink, person).await
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.sink.maintenance()
    }
}

#[async_trait]
impl<S: Server> AuditProbe for Probed<S> {
    async fn recorded(&self) -> Option<Vec<AuditEvent>> {
        let page = self.sink.query(&AuditQuery::new().limit(1000)).await.unwrap();
        let mut events: BTreeMap<_, _> = page.events.into_iter().map(|event| (event.id.to_string(), event)).collect();
        // In the order of the chain, which is the order of recording.
        let order = S::texts(&self.fixture.pool, "SELECT CAST(id AS CHAR(36)) FROM audit ORDER BY seq").await;
        Some(order.iter().map(|id| events.remove(id).unwrap()).collect())
    }
}

/// Every check, each with a sink of its own. U+0000 is stored as U+FFFD, so that not every text reads back verbatim.
async fn suite<S: Server>(batching: Option<Batching>) {
    macro_rules! checks {
        ($($check:ident),* $(,)?) => {
            $(audit::$check(AuditSubject::new(Probed::<S>::new(batching).await, &[AuditAbility::Verbatim])).await;)*
        };
    }
    checks!(
        name_is_stable_and_not_empty,
        every_field_is_recorded,
        order_is_kept,
        recording_again_is_harmless,
        flush_leaves_nothing_behind,
        hostile_text_is_recorded_and_forges_nothing,
        concurrent_callers_lose_nothing,
        debug_text_names_nobody,
        a_person_is_erased_and_nobody_else,
    );
}

async fn direct<S: Server>() {
    suite::<S>(None).await;
}

async fn batched<S: Server>() {
    suite::<S>(Some(Batching::default().batch(7))).await;
}
