//! The database is killed and comes back under load: no acknowledged event lacks its row, and what is missing was counted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_manager_audit_db::{AuditQuery, AuditTable, Batching, ChainKey, ChainTable, DbAudit, reference_ddl};
use session_manager_core::{AuditBackend, AuditKind};
use session_manager_services::{Engine, MariaDb, Postgres, Server as Process, Service, url};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{MySql, Pool};
use uuid::Uuid;

use crate::fixture::{SECRET, Server, event};

/// A server of the test's own, which it may kill.
struct Lab<S: Server, E: Engine + 'static> {
    process: Process<E>,
    /// For what the test itself asks.
    patient: Pool<S>,
    pool: Pool<S>,
    mapping: AuditTable,
}

impl<S: Server, E: Engine + 'static> Lab<S, E> {
    async fn new(process: Process<E>, url: String, options: PoolOptions<S>, chained: bool) -> Self {
        let patient = options.clone().acquire_timeout(Duration::from_mins(1)).connect(&url).await.unwrap();
        let options = options.max_connections(6).acquire_timeout(Duration::from_millis(200));
        let pool = options.connect_lazy(&url).unwrap();
        let mapping = AuditTable::new("audit").native();
        let mapping = if chained { mapping.chained(ChainTable::new("audit_chain")) } else { mapping };
        S::run(&patient, &reference_ddl::<S>(&mapping).unwrap()).await;
        Self { process, patient, pool, mapping }
    }

    fn audit(&self) -> DbAudit<S> {
        match DbAudit::new(self.pool.clone(), self.mapping.clone()) {
            Ok(audit) => audit,
            Err(_) => {
                DbAudit::chained(self.pool.clone(), self.mapping.clone(), ChainKey::new(SECRET).unwrap()).unwrap()
            }
        }
    }

    /// What a manager's required sink does: an event that fails is told again.
    async fn no_acknowledged_event_lacks_its_row(self) {
        let audit = Arc::new(self.audit());
        let tally = Arc::new(Tally::default());
        let writers: Vec<_> = (0..4)
            .map(|name| {
                let (audit, tally) = (Arc::clone(&audit), Arc::clone(&tally));
                tokio::spawn(async move {
                    while !tally.over.load(Ordering::SeqCst) {
                        let event = event(AuditKind::Created, &format!("user{name}"), 0);
                        while audit.record(std::slice::from_ref(&event)).await.is_err() {
                            tally.failures.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        tally.acknowledged.lock().unwrap().push(event.id);
                    }
                })
            })
            .collect();
        let mut process = self.process;
        for _ in 0..2 {
            tally.wait_for_more(60).await;
            let before = tally.failures.load(Ordering::SeqCst);
            process = killed(process).await;
            // A start may be over before anybody has met the outage.
            until(|| tally.failures.load(Ordering::SeqCst) > before).await;
            process = restarted(process).await;
        }
        tally.wait_for_more(60).await;
        tally.over.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.await.unwrap();
        }
        let acknowledged = tally.acknowledged.lock().unwrap().clone();
        let (mut found, mut next) = (BTreeSet::new(), Some(AuditQuery::new().oldest_first().limit(1000)));
        while let Some(query) = next {
            let page = audit.query(&query).await.unwrap();
            found.extend(page.events.into_iter().map(|event| event.id));
            next = page.next.map(|cursor| query.after(cursor));
        }
        let missing = acknowledged.iter().filter(|id| !found.contains(id)).count();
        assert_eq!(missing, 0, "of {} acknowledged events", acknowledged.len());
        assert_eq!(found.len(), acknowledged.len(), "and none is there that was not acknowledged in the end");
        if audit.head().await.is_ok() {
            assert!(audit.verify(None).await.unwrap().broken().is_none());
        }
    }

    async fn what_is_missing_was_counted(self) {
        let batching = Batching::default().capacity(200).batch(50).interval(Duration::from_millis(5));
        // The events are of a year past.
        let audit = Arc::new(self.audit().keep_for_ever().batched(batching));
        let tally = Arc::new(Tally::default());
        let worker = tokio::spawn({
            let audit = Arc::clone(&audit);
            async move { audit.maintenance().unwrap().await }
        });
        let load = tokio::spawn({
            let (audit, tally) = (Arc::clone(&audit), Arc::clone(&tally));
            async move {
                while !tally.over.load(Ordering::SeqCst) {
                    let told = [event(AuditKind::Accessed, "alice", 0), event(AuditKind::Accessed, "bob", 0)];
                    audit.record(&told).await.unwrap();
                    tally.acknowledged.lock().unwrap().extend(told.map(|event| event.id));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        until(|| audit.stats().written > 300).await;
        let process = killed(self.process).await;
        until(|| audit.stats().dropped > 300).await;
        let _process = restarted(process).await;
        let written = audit.stats().written;
        until(|| audit.stats().written > written + 300).await;
        tally.over.store(true, Ordering::SeqCst);
        load.await.unwrap();
        audit.flush().await.unwrap();
        worker.abort();
        let (told, stats) = (number(tally.acknowledged.lock().unwrap().len()), audit.stats());
        let rows = u64::try_from(S::number(&self.patient, "SELECT COUNT(*) FROM audit").await).unwrap();
        assert!(stats.failures > 0, "{stats:?}");
        assert_eq!(told, stats.written + stats.missing(), "each is counted once: {stats:?}");
        assert_eq!((rows, stats.dropped), (stats.written, stats.missing()), "{stats:?}");
    }
}

#[derive(Default)]
struct Tally {
    acknowledged: Mutex<Vec<Uuid>>,
    failures: AtomicU32,
    over: AtomicBool,
}

impl Tally {
    async fn wait_for_more(&self, count: usize) {
        let enough = self.acknowledged.lock().unwrap().len() + count;
        until(|| self.acknowledged.lock().unwrap().len() >= enough).await;
    }
}

async fn until(reached: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing moves any more");
}

/// Killing and starting block: never on a thread that the load runs on.
async fn killed<E: Engine + 'static>(mut process: Process<E>) -> Process<E> {
    let kill = tokio::task::spawn_blocking(move || {
        process.kill().unwrap();
        process
    });
    kill.await.unwrap()
}

async fn restarted<E: Engine + 'static>(mut process: Process<E>) -> Process<E> {
    let restart = tokio::task::spawn_blocking(move || {
        process.restart().unwrap();
        process
    });
    restart.await.unwrap()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

async fn postgres(chained: bool) -> Option<Lab<sqlx::Postgres, session_manager_services::PostgresEngine>> {
    url(Service::Postgres)?;
    let process = Postgres::start().unwrap();
    let url = process.fresh_database().unwrap();
    Some(Lab::new(process, url, PgPoolOptions::new(), chained).await)
}

async fn mariadb(chained: bool) -> Option<Lab<MySql, session_manager_services::MariaDbEngine>> {
    url(Service::MariaDb)?;
    let process = MariaDb::start().unwrap();
    let url = process.fresh_database().unwrap();
    Some(Lab::new(process, url, MySqlPoolOptions::new(), chained).await)
}

macro_rules! on_both {
    ($($name:ident: $test:ident($chained:literal)),* $(,)?) => {
        $(mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                if let Some(lab) = super::postgres($chained).await {
                    lab.$test().await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn mariadb() {
                if let Some(lab) = super::mariadb($chained).await {
                    lab.$test().await;
                }
            }
        })*
    };
}

on_both!(
    required: no_acknowledged_event_lacks_its_row(false),
    required_and_chained: no_acknowledged_event_lacks_its_row(true),
    best_effort: what_is_missing_was_counted(false),
);
