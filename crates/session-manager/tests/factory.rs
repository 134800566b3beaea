//! The factory: what a configuration makes, and what it refuses by name.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use session_manager::audit_db::{AuditTable, ChainKey, ChainTable};
use session_manager::backend_jwt::{JwtBackend, JwtBackendBuilder, SigningKey};
use session_manager::factory::{
    Assembled, AuditDatabase, AuditSink, Backend, Config, Enricher, Resources, Sink, SqlStorage, Storage, assemble,
};
use session_manager::storage::{Durability, Freshness, OnLimit};
use session_manager::storage_memory::MemoryStorage;
use session_manager::storage_sqlx::{EpochTable, OnceTable, SessionTable, reference_ddl};
use session_manager::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager::{
    AuditBackend as _, ClientInfo, Delivery, ErrorKind, LocalBus, ManualClock, NewSession, RequestContext,
    SessionManager, SessionPolicy, UserId, Verification,
};
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const WINDOWS: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

fn parse(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

fn ring() -> KeyRing {
    KeyRing::new(TokenKey::from_secret(SECRET).unwrap())
}

fn jwt() -> JwtBackendBuilder {
    JwtBackend::builder(SigningKey::hs256(SECRET).unwrap(), ReferenceTokens::new(Arc::new(ring())))
}

fn sessions() -> SessionTable {
    SessionTable::new("sessions").epochs(EpochTable::new("session_epochs")).once(OnceTable::new("session_once"))
}

fn events() -> AuditTable {
    AuditTable::new("session_events").chained(ChainTable::new("session_event_chain"))
}

async fn pool() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    let ddl = [
        reference_ddl::<sqlx::Sqlite>(&sessions()).unwrap(),
        session_manager::audit_db::reference_ddl::<sqlx::Sqlite>(&events()).unwrap(),
    ];
    for statements in ddl {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&pool).await.unwrap();
    }
    pool
}

fn from(user_agent: &str) -> RequestContext {
    RequestContext::from_client(ClientInfo::new().agent(user_agent))
}

async fn sign_in(manager: &SessionManager, user_agent: &str) -> session_manager::Created {
    manager.create(NewSession::of(UserId::parse("ann").unwrap()), &from(user_agent)).await.unwrap()
}

fn refusal(config: &Config, resources: Resources) -> String {
    let error = assemble(config, resources).map(|(made, _)| made).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_full_configuration_makes_what_it_says() {
    let config = parse(
        r#"
        backend = "jwt"
        storage = "sqlx"
        audit = ["log", { sink = "db", delivery = "required" }, "metrics"]
        enrichers = ["device"]
        record_accessed_every = 1000

        [policy]
        absolute_lifetime = "12h"
        idle_timeout = "15m"
        max_sessions = 1

        [suspicion]
        device_change = "revoke"

        [jwt]
        issuer = "https://accounts.example.org"
        audience = "https://api.example.org"
        "#,
    );
    let pool = pool().await;
    let resources = Resources::new()
        .jwt(jwt())
        .database(pool.clone())
        .session_table(sessions())
        .audit_table(events())
        .audit_key(ChainKey::new(SECRET).unwrap());
    let (Assembled { manager, sql, audit, metrics, .. }, _maintenance) = assemble(&config, resources).unwrap();
    assert!(matches!(sql, Some(SqlStorage::Sqlite(_))) && metrics.is_some());
    assert_eq!(manager.policy().absolute_lifetime, Duration::from_hours(12));

    let first = sign_in(&manager, WINDOWS).await;
    let second = sign_in(&manager, WINDOWS).await;
    let access = second.tokens.access.expose();
    // The policy: one session a user.
    assert!(manager.authenticate(first.tokens.access.expose(), &from(WINDOWS)).await.is_err());
    // The enricher.
    let found = manager.authenticate(access, &from(WINDOWS)).await.unwrap();
    let device = found.snapshot.unwrap().session.device.clone().unwrap();
    assert_eq!(device.os.as_deref(), Some("Windows"));
    // The backend.
    assert_eq!(access.split('.').count(), 3);
    // The rule.
    assert!(manager.authenticate(access, &from(PHONE)).await.is_err());
    assert!(manager.authenticate(access, &from(WINDOWS)).await.is_err());
    // The required sink has every event by now, and its chain holds.
    let Some(AuditDatabase::Sqlite(audit)) = audit else { panic!("{audit:?}") };
    let kinds: Vec<String> =
        sqlx::query_scalar("SELECT kind FROM session_events ORDER BY rowid").fetch_all(&pool).await.unwrap();
    for kind in ["created", "evicted", "suspicious", "revoked"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind} in {kinds:?}");
    }
    assert!(audit.check_schema().await.unwrap().is_sound());
    assert_eq!(audit.name(), "db");
}

#[tokio::test]
async fn defaults_are_the_documented_ones() {
    let config = parse("");
    assert_eq!(config, Config::default());
    assert_eq!((config.backend, config.storage, config.allow_volatile), (Backend::Jwt, Storage::Sqlx, false));
    assert_eq!((&config.policy, config.verification), (&SessionPolicy::default(), Verification::Always));
    assert!(config.audit.is_empty() && config.enrichers.is_empty());
    // What is written can be read again.
    for config in [Config::default(), Config::development(), Config::production(), Config::testing()] {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_value::<Config>(serde_json::to_value(&config).unwrap()).unwrap(), config, "{text}");
    }
}

#[tokio::test]
async fn every_preset_works() {
    let log = AuditSink::new(Sink::Log);
    assert_eq!(Config::development().audit, [log]);
    for config in [Config::development(), Config::testing()] {
        let config = config.with_policy(SessionPolicy::nist_aal2());
        let (made, maintenance) = assemble(&config, Resources::new().refresh_keys(ring())).unwrap();
        let work = tokio::spawn(maintenance);
        let created = sign_in(&made.manager, WINDOWS).await;
        made.manager.authenticate(created.tokens.access.expose(), &from(WINDOWS)).await.unwrap();
        work.abort();
    }
    let production = Config::production();
    assert_eq!(production.audit.first().map(|sink| (sink.sink, sink.delivery)), Some((Sink::Db, Delivery::Required)));
    assert_eq!(production.enrichers, [Enricher::Device]);
    let resources = || Resources::new().jwt(jwt().issuer("https://a.example").audience("https://a.example"));
    assert!(refusal(&production, resources()).contains("Resources::database"));
    let table = AuditTable::new("session_events");
    let resources = resources().database(pool().await).session_table(sessions()).audit_table(table);
    let (made, _) = assemble(&production, resources).unwrap();
    assert_eq!(made.manager.policy(), &SessionPolicy::default());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let cases: [(&str, &[&str]); 12] = [
        ("", &["`backend` = jwt", "Resources::jwt"]),
        ("backend = 'opaque'\nstorage = 'memory'", &["`backend` = opaque", "Resources::refresh_keys"]),
        ("audit = ['db']", &["`audit` = db", "Resources::database"]),
        ("audit = ['log', 'log']", &["`audit`", "twice"]),
        ("enrichers = ['geoip']", &["`geoip.databases`"]),
        ("enrichers = ['device', 'device']", &["`enrichers`", "twice"]),
        ("suspicion.new_country = 'record'", &["`suspicion.new_country`", "`geoip`"]),
        ("suspicion.impossible_travel = 'record'", &["`suspicion.impossible_travel`", "`geoip`"]),
        ("suspicion.device_change = 'record'", &["`suspicion.device_change`", "`device`"]),
        ("suspicion.new_device = 'record'", &["`suspicion.new_device`", "`device`"]),
        ("policy.max_sessions = 0", &["max_sessions"]),
        ("allow_volatile = false", &["allow_volatile"]),
    ];
    for (index, (text, parts)) in cases.into_iter().enumerate() {
        let mut config = parse(text);
        let resources = if index < 2 {
            Resources::new()
        } else {
            config.backend = Backend::Opaque;
            config.storage = Storage::Memory;
            // The last case is about it.
            config.allow_volatile = index + 1 < cases.len();
            Resources::new().refresh_keys(ring())
        };
        let message = refusal(&config, resources);
        assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
    }
    for (storage, parts) in [
        ("sqlx", ["`storage` = sqlx", "Resources::database"]),
        ("redis", ["`storage` = redis", "Resources::redis"]),
        ("memcached", ["`storage` = memcached", "Resources::memcached"]),
        ("tiered", ["`tiered.durable` = sqlx", "Resources::database"]),
        ("custom", ["`storage` = custom", "Resources::storage"]),
    ] {
        let config = parse(&format!("backend = 'opaque'\nstorage = '{storage}'"));
        let message = refusal(&config, Resources::new().refresh_keys(ring()));
        assert!(parts.iter().all(|part| message.contains(part)), "{storage}: {message}");
    }
    let config = parse("backend = 'opaque'");
    let message = refusal(&config, Resources::new().refresh_keys(ring()).database(pool().await));
    assert!(message.contains("Resources::session_table"), "{message}");
    let config = parse("backend = 'opaque'\nstorage = 'tiered'\ntiered = { durable = 'custom', shared_cache = true }");
    let custom = Arc::new(MemoryStorage::default());
    let message = refusal(&config, Resources::new().refresh_keys(ring()).storage(custom));
    assert!(message.contains("`tiered.shared_cache`") && message.contains("Resources::redis_cache"), "{message}");
    let table = AuditTable::new("session_events");
    let config = parse("backend = 'opaque'\nstorage = 'memory'\naudit = ['db']");
    let resources = || Resources::new().refresh_keys(ring());
    let message = refusal(&config, resources().database(pool().await));
    assert!(message.contains("Resources::audit_table"), "{message}");
    // A key without a chain, and a chain without a key.
    let key = ChainKey::new(SECRET).unwrap();
    let message = refusal(&config, resources().audit_database(pool().await).audit_table(table).audit_key(key));
    assert!(message.contains("chain"), "{message}");
    let message = refusal(&config, resources().audit_database(pool().await).audit_table(events()));
    assert!(message.contains("key"), "{message}");
}

#[test]
fn what_cannot_be_read_is_named() {
    for (text, part) in [
        ("storage = 'postgres'", "unknown variant `postgres`"),
        ("storge = 'sqlx'", "unknown field `storge`"),
        ("audit = ['lok']", "log, db or metrics"),
        ("audit = [{ sink = 'log', delivered = 'required' }]", "log, db or metrics"),
        ("policy.idle = '1d'", "unknown field `idle`"),
        ("policy.refresh_grace = 'soon'", "refresh_grace"),
        ("tiered.max_age = 'soon'", "max_age"),
        ("suspicion.device_change = 'end'", "unknown variant `end`"),
        ("record_accessed_every = 0", "nonzero"),
    ] {
        let message = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[tokio::test]
async fn a_tiered_storage_has_its_bounds_and_the_managers_bus() {
    let config = parse(
        r#"
        backend = "opaque"
        storage = "tiered"
        tiered = { durable = "sqlx", max_age = "3s", max_entries = 10 }
        verification = { mode = "cached", max_age = "3s" }
        "#,
    );
    let bus = Arc::new(LocalBus::new());
    let pool = pool().await;
    let node = |bus: &Arc<LocalBus>| {
        let resources = Resources::new()
            .refresh_keys(ring())
            .database(pool.clone())
            .session_table(sessions())
            .bus(Arc::<LocalBus>::clone(bus));
        assemble(&config, resources).unwrap()
    };
    let ((one, first), (two, second)) = (node(&bus), node(&bus));
    assert_eq!(one.storage.capabilities().freshness, Freshness::Bounded(Duration::from_secs(3)));
    assert_eq!(one.storage.capabilities().durability, Durability::Acknowledged);
    let work = [tokio::spawn(first), tokio::spawn(second)];
    let created = sign_in(&one.manager, WINDOWS).await;
    let access = created.tokens.access.expose();
    let cached = || {
        let stats = [&one, &two].map(|node| node.tiered.as_ref().unwrap().stats());
        stats.iter().all(|stats| stats.hits > 0)
    };
    while !cached() {
        for node in [&one, &two] {
            node.manager.authenticate(access, &from(WINDOWS)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let user = UserId::parse("ann").unwrap();
    one.manager.revoke_all(&user, session_manager::RevocationReason::ALL, &from(WINDOWS)).await.unwrap();
    assert!(one.manager.authenticate(access, &from(WINDOWS)).await.is_err());
    // The other node hears of it by the bus, long before three seconds.
    let heard = tokio::time::timeout(Duration::from_secs(1), async {
        while two.manager.authenticate(access, &from(WINDOWS)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    heard.await.unwrap();
    for work in work {
        work.abort();
    }
}

#[tokio::test]
async fn a_policy_that_the_storage_cannot_keep_is_refused() {
    // Without a table of epochs nothing of a user can be locked in SQL that has no row for them; SQLite locks the whole file.
    let table = SessionTable::new("sessions");
    let config = parse("backend = 'opaque'\nverification = { mode = 'feed', max_age = '5s' }");
    let resources = || Resources::new().refresh_keys(ring());
    let message = refusal(&config, resources().database(pool().await).session_table(table));
    assert!(message.contains("feed"), "{message}");
    let config = parse("backend = 'opaque'\nstorage = 'memory'\npolicy.on_limit = 'reject'\nallow_volatile = true");
    let (made, _) = assemble(&config, resources()).unwrap();
    assert_eq!(made.manager.policy().on_limit, OnLimit::Reject);
}

#[tokio::test]
async fn memory_keeps_ended_sessions_for_as_long_as_the_policy_says() {
    let config = parse(
        "backend = 'opaque'\nstorage = 'memory'\nallow_volatile = true\nmemory.max_sessions = 2\npolicy.retention = '48h'",
    );
    // At its bound the memory first forgets what has been over for that long. What it has to forget before is a finding.
    for (hours, finding) in [(47, true), (49, false)] {
        let clock = Arc::new(ManualClock::default());
        let (made, _) = assemble(&config, Resources::new().refresh_keys(ring()).clock(clock.clone())).unwrap();
        let ended = sign_in(&made.manager, WINDOWS).await.snapshot.session.id;
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        made.manager.revoke_all(&ann, session_manager::RevocationReason::ALL, &from(WINDOWS)).await.unwrap();
        made.manager.create(NewSession::of(bob.clone()), &from(WINDOWS)).await.unwrap();
        clock.advance(Duration::from_hours(hours));
        assert!(made.manager.get(None, ended).await.unwrap().is_some(), "while there is room it stays");
        assert!(made.manager.check().await.unwrap().is_sound());
        made.manager.create(NewSession::of(bob), &from(WINDOWS)).await.unwrap();
        assert!(made.manager.get(None, ended).await.unwrap().is_none());
        let findings = made.manager.check().await.unwrap().findings;
        let told = findings.iter().any(|found| found.message.contains("before their retention"));
        assert_eq!(told, finding, "{findings:?}");
    }
}

#[tokio::test]
async fn a_memory_that_is_full_of_live_sessions_takes_no_more() {
    let config = parse("backend = 'opaque'\nstorage = 'memory'\nallow_volatile = true\nmemory.max_sessions = 2");
    let (made, _) = assemble(&config, Resources::new().refresh_keys(ring())).unwrap();
    for _ in 0..2 {
        sign_in(&made.manager, WINDOWS).await;
    }
    let third = made.manager.create(NewSession::of(UserId::parse("bob").unwrap()), &from(WINDOWS)).await;
    assert_eq!(third.unwrap_err().kind(), ErrorKind::Unavailable);
}
