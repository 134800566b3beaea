//! Every kind of event reaches every sink with all its data, and no token, key or secret reaches any.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde_json::Value;
use session_manager_audit_db::{AuditQuery, AuditTable, DbAudit, reference_ddl};
use session_manager_audit_log::{LogAudit, level};
use session_manager_audit_metrics::MetricsAudit;
use session_manager_core::{
    AuditEvent, AuditKind, ClientInfo, Delivery, NewSession, OPERATION_TARGET, RequestContext, RevocationReason,
    Rotation, SessionChange, SessionPolicy, TokenPair,
};
use session_manager_tests::bed::{Bed, phone, user};
use session_manager_tests::sqlite::Database;
use sqlx::{AssertSqlSafe, Sqlite};
use tracing::Level;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// What the audit sink wrote, by the events' ids: the level and the fields.
    fn events(&self) -> BTreeMap<String, Vec<Value>> {
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for line in self.text().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["target"] == "session_manager::audit" {
                found.entry(line["fields"]["event_id"].as_str().unwrap().to_owned()).or_default().push(line);
            }
        }
        found
    }
}

/// A manager with every sink.
struct Scene {
    bed: Bed,
    database: Database,
    table: Arc<DbAudit<Sqlite>>,
    log: Log,
    counted: Snapshotter,
    secrets: Vec<String>,
}

fn laptop() -> RequestContext {
    let mut client = ClientInfo::new().agent("Firefox/143").ip([203, 0, 113, 7].into()).named("Ada's laptop");
    client.application = Some("web".to_owned());
    client.hints.insert("sec-ch-ua-platform".to_owned(), "\"Linux\"".to_owned());
    RequestContext::from_client(client).request_id("request-1")
}

impl Scene {
    async fn new() -> Self {
        let database = Database::new().await;
        let mapping = AuditTable::new("audit");
        let ddl = reference_ddl::<Sqlite>(&mapping).unwrap();
        sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&database.pool).await.unwrap();
        let table = Arc::new(DbAudit::new(database.pool.clone(), mapping).unwrap());
        let recorder = DebuggingRecorder::new();
        let counted = recorder.snapshotter();
        let metrics = MetricsAudit::with_recorder(Arc::new(recorder));
        let mut policy = SessionPolicy::default();
        policy.idle_timeout = Some(Duration::from_hours(1));
        policy.max_sessions = 2;
        let sink = table.clone();
        let bed = Bed::with(Arc::new(database.storage.clone()), |builder| {
            builder
                .policy(policy)
                .audit(sink, Delivery::Required)
                .audit(Arc::new(LogAudit::new()), Delivery::Required)
                .audit(Arc::new(metrics), Delivery::BestEffort)
        });
        Self { bed, database, table, log: Log::default(), counted, secrets: Vec::new() }
    }

    fn keep_secret(&mut self, tokens: &TokenPair) {
        self.secrets.extend([tokens.access.expose().to_owned(), tokens.refresh.expose().to_owned()]);
    }

    /// A life in which everything happens.
    async fn live(&mut self) {
        let (ada, at_laptop) = (user("ada"), laptop());
        let manager = self.bed.manager.clone();
        for _ in 0..2 {
            let created = manager.create(NewSession::of(ada.clone()).by(["pwd"]), &phone()).await.unwrap();
            self.keep_secret(&created.tokens);
            self.bed.pass(Duration::from_secs(1));
        }
        let created = manager.create(NewSession::of(ada.clone()).by(["pwd"]), &at_laptop).await.unwrap();
        self.keep_secret(&created.tokens);
        let key = created.snapshot.session.key();
        manager.authenticate(created.tokens.access.expose(), &at_laptop).await.unwrap();
        let change = SessionChange::new().device_name(Some("kitchen".to_owned()));
        manager.update(Some(&ada), key, &change, &at_laptop).await.unwrap();
        let again = manager.reauthenticate(key, &["otp"], Some("aal2"), &at_laptop).await.unwrap();
        self.keep_secret(&again.tokens);
        let refreshed = manager.refresh(again.tokens.refresh.expose(), &at_laptop).await.unwrap();
        self.keep_secret(&refreshed.tokens);
        manager.authenticate("garbage", &at_laptop).await.unwrap_err();
        // A replay: suspicious, and ends the session.
        self.bed.pass(Duration::from_mins(2));
        manager.refresh(again.tokens.refresh.expose(), &at_laptop).await.unwrap_err();

        let created = manager.create(NewSession::of(ada.clone()).by(["pwd"]), &at_laptop).await.unwrap();
        self.keep_secret(&created.tokens);
        let key = created.snapshot.session.key();
        manager.revoke(Some(&ada), key, RevocationReason::LOGOUT, &at_laptop).await.unwrap();
        manager.delete(Some(&ada), key, &at_laptop).await.unwrap();
        let idle = manager.create(NewSession::of(user("bob")).by(["pwd"]), &at_laptop).await.unwrap();
        self.keep_secret(&idle.tokens);
        self.bed.pass(Duration::from_hours(2));
        manager.refresh(idle.tokens.refresh.expose(), &at_laptop).await.unwrap_err();
        manager.rotate_user(&ada, &Rotation::new("password changed"), &at_laptop).await.unwrap();
        manager.flush().await.unwrap();
    }
}

/// What a log shows of a value.
fn shown(fields: &Value, name: &str) -> Option<String> {
    fields.get(name).map(|value| value.as_str().unwrap().to_owned())
}

fn assert_logged(event: &AuditEvent, lines: &[Value]) {
    assert_eq!(lines.len(), 1, "{event:?}");
    let (line, fields) = (&lines[0], &lines[0]["fields"]);
    assert_eq!(line["level"], level(event.kind).as_str(), "{event:?}");
    let client = &event.client;
    let expected = [
        ("kind", Some(event.kind.as_str().to_owned())),
        ("session_id", event.session_id.map(|id| id.to_string())),
        ("user_id", event.user_id.as_ref().map(|user| user.as_str().to_owned())),
        ("actor", Some(event.actor.to_string())),
        ("ip_address", client.ip_address.map(|address| address.to_string())),
        ("user_agent", client.user_agent.clone()),
        ("application", client.application.clone()),
        ("reason", event.reason.clone()),
        ("request_id", event.request_id.clone()),
    ];
    for (name, expected) in expected {
        assert_eq!(shown(fields, name), expected, "{name} of {event:?}");
    }
    let parsed = |name| shown(fields, name).map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let hints = (!client.hints.is_empty()).then(|| serde_json::to_value(&client.hints).unwrap());
    assert_eq!(parsed("hints"), hints, "{event:?}");
    let details = (!event.details.is_empty()).then(|| Value::Object(event.details.clone()));
    assert_eq!(parsed("details"), details, "{event:?}");
}

/// A subscriber that writes down everything, spans included.
fn traced(log: Log) -> impl tracing::Subscriber + Send + Sync {
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_span_events(FmtSpan::FULL);
    subscriber.with_writer(move || log.clone()).finish()
}

fn by_kind(events: &[AuditEvent]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.kind.as_str()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn every_kind_reaches_every_sink_with_all_its_data() {
    let mut scene = Scene::new().await;
    let log = scene.log.clone();
    scene.live().with_subscriber(traced(log)).await;

    let told = scene.bed.sink.events();
    let kinds = by_kind(&told);
    for kind in AuditKind::ALL {
        assert!(kinds.contains_key(kind.as_str()), "{} did not happen: {kinds:?}", kind.as_str());
    }

    let rows = scene.table.query(&AuditQuery::new().limit(1000)).await.unwrap().events;
    let mut rows: BTreeMap<_, _> = rows.into_iter().map(|event| (event.id, event)).collect();
    let mut logged = scene.log.events();
    for event in &told {
        assert_eq!(rows.remove(&event.id).as_ref(), Some(event), "in the table");
        assert_logged(event, &logged.remove(&event.id.to_string()).unwrap_or_default());
    }
    assert!(rows.is_empty() && logged.is_empty(), "nothing else is there: {rows:?} {logged:?}");

    let mut counted = BTreeMap::new();
    for (key, _, _, value) in scene.counted.snapshot().into_vec() {
        let (key, labels) = (key.key().name().to_owned(), key.key().labels().cloned().collect::<Vec<_>>());
        let kind = labels.iter().find(|label| label.key() == "kind").map(|label| label.value().to_owned());
        if let (Some(kind), DebugValue::Counter(count)) = (kind, value)
            && key.contains("events")
        {
            *counted.entry(kind).or_default() += count;
        }
    }
    let kinds: BTreeMap<String, u64> = kinds.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
    assert_eq!(counted, kinds, "in the metrics");
}

/// Every operation is a span with its outcome, and nothing else.
#[tokio::test]
async fn every_operation_is_a_span() {
    let mut scene = Scene::new().await;
    let log = scene.log.clone();
    scene.live().with_subscriber(traced(log)).await;
    let spans = |message: &str| -> Vec<Value> {
        let lines: Vec<Value> = scene.log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ours = lines.into_iter().filter(|line| line["target"] == OPERATION_TARGET);
        ours.filter(|line| line["fields"]["message"] == message).collect()
    };
    // The database's thread may hold a span a little longer than the operation lasts.
    let mut patience = 500;
    while spans("close").len() < spans("new").len() {
        patience -= 1;
        assert!(patience > 0, "a span is never closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut outcomes = BTreeMap::<String, Vec<String>>::new();
    for line in spans("close") {
        let span = line["span"].as_object().unwrap();
        let known = ["name", "operation", "result", "otel.name", "otel.kind", "otel.status_code", "error.type"];
        assert!(span.keys().all(|field| known.contains(&field.as_str())), "{span:?}");
        let operation = span["operation"].as_str().unwrap();
        assert_eq!(span["otel.name"], format!("session_manager.{operation}"));
        assert!(!span.contains_key("otel.status_code"), "a refusal is no failure of the service: {span:?}");
        outcomes.entry(operation.to_owned()).or_default().push(span["result"].as_str().unwrap().to_owned());
    }
    assert_eq!(outcomes["create"], ["ok"; 5]);
    assert_eq!(outcomes["authenticate"], ["ok", "malformed"]);
    assert_eq!(outcomes["refresh"], ["ok", "replay_detected", "idle"]);
    for operation in ["reauthenticate", "update", "revoke", "purge", "rotate"] {
        assert!(outcomes[operation].iter().all(|outcome| outcome == "ok"), "{operation}: {outcomes:?}");
    }
}

/// Whole tokens, and each part of them that is worth anything: signatures, MACs and what a reference token carries.
#[tokio::test]
async fn no_secret_reaches_any_sink() {
    let mut scene = Scene::new().await;
    let log = scene.log.clone();
    scene.live().with_subscriber(traced(log)).await;

    let mut parts: Vec<String> = Vec::new();
    for token in &scene.secrets {
        parts.extend(token.split(['.', '_']).filter(|part| part.len() >= 16).map(str::to_owned));
        // The header and the claims of an access token are no secret; its signature is.
        parts.retain(|part| !part.starts_with("eyJ"));
    }
    let seeds: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT seed FROM sessions").fetch_all(&scene.database.pool).await.unwrap();
    assert!(parts.len() >= scene.secrets.len() && !seeds.is_empty());
    for seed in seeds {
        let hexed = seed.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        parts.extend([URL_SAFE_NO_PAD.encode(&seed), hexed]);
    }
    let rows = scene.table.query(&AuditQuery::new().limit(1000)).await.unwrap().events;
    let metrics = format!("{:?}", scene.counted.snapshot().into_vec());
    let texts =
        [scene.log.text(), serde_json::to_string(&rows).unwrap(), metrics, format!("{:?}", scene.bed.sink.events())];
    assert!(texts.iter().all(|text| text.len() > 1000), "there is something to find it in");
    for (sink, text) in texts.iter().enumerate() {
        for part in &parts {
            assert!(!text.contains(part.as_str()), "sink {sink} was told {part}");
        }
    }
}
