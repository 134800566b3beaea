//! The manager is put together as the configuration says, on tables that fit.

use std::time::Duration;

use session_manager_core::storage::OnLimit;
use session_manager_storage_sqlx::reference_ddl;
use sqlx::{MySql, Postgres, Sqlite};

use super::{parts, schema};
use crate::app::App;
use crate::config::{self, SessionStorageKind, Settings};
use crate::data::Data;
use crate::exit::StartError;

async fn app(settings: Settings) -> Result<App, StartError> {
    let data = Data::open(&settings).await?;
    let clock = std::sync::Arc::new(session_manager_core::SystemClock);
    App::new(settings, data, "127.0.0.1:8080".parse().unwrap(), clock).await
}

fn settings(folder: &std::path::Path) -> Settings {
    Settings { data: folder.to_owned(), ..Settings::default() }
}

/// The statements of a migration, without comments, whatever their layout.
fn statements(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with("--")).flat_map(str::split_whitespace).collect()
}

#[test]
fn the_migrations_are_the_reference_schemas_of_the_mappings() {
    let sessions = reference_ddl::<Sqlite>(&parts::table()).unwrap();
    assert_eq!(statements(include_str!("../../migrations/0002_sessions.sql")), statements(&sessions));
    let with_feed = reference_ddl::<Sqlite>(&parts::table_with_feed()).unwrap();
    let feed = with_feed.strip_prefix(&sessions).unwrap();
    assert_eq!(statements(include_str!("../../migrations/0005_session_feed.sql")), statements(feed));
    let events = session_manager::audit_db::reference_ddl::<Sqlite>(&parts::audit_table()).unwrap();
    assert_eq!(statements(include_str!("../../migrations/0006_audit.sql")), statements(&events));
    let native = reference_ddl::<Postgres>(&parts::native_table()).unwrap();
    assert_eq!(statements(schema::POSTGRES.steps[0].2), statements(&native));
    let events = session_manager::audit_db::reference_ddl::<Postgres>(&parts::native_audit_table()).unwrap();
    assert_eq!(statements(include_str!("../../migrations/postgres/0002_audit.sql")), statements(&events));
    let events = session_manager::audit_db::reference_ddl::<MySql>(&parts::native_audit_table()).unwrap();
    assert_eq!(statements(include_str!("../../migrations/mysql/0002_audit.sql")), statements(&events));
    let native = reference_ddl::<MySql>(&parts::native_table()).unwrap();
    assert_eq!(statements(schema::MYSQL.steps[0].2), statements(&native));
}

#[tokio::test]
async fn the_storage_finds_nothing_wrong_with_our_database() {
    let folder = tempfile::tempdir().unwrap();
    for storage in [SessionStorageKind::Sqlx, SessionStorageKind::Memory] {
        let mut settings = settings(folder.path());
        settings.sessions.storage = storage;
        let health = app(settings).await.unwrap().sessions().manager().check().await.unwrap();
        assert_eq!(health.findings, [], "{storage:?}");
    }
}

#[tokio::test]
async fn tables_that_do_not_fit_keep_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(&settings(folder.path())).await.unwrap();
    crate::sql::query("ALTER TABLE sessions DROP COLUMN seed").execute(&data.pool).await.unwrap();
    data.pool.close().await;
    drop(data);
    let message = app(settings(folder.path())).await.unwrap_err().to_string();
    assert!(message.contains("sessions") && message.contains("seed") && message.contains("backup"), "{message}");
}

#[test]
fn the_client_is_named_by_the_configured_header_of_trusted_proxies() {
    for (header, line) in
        [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9;proto=https"), ("x-real-ip", "203.0.113.9")]
    {
        let mut settings = Settings::default();
        settings.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        settings.http.address_header = header.to_owned().try_into().unwrap();
        let resolver = super::addresses(&settings).unwrap();
        let mut headers = http::HeaderMap::new();
        for other in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            headers.insert(other, "6.6.6.6".parse().unwrap());
        }
        headers.insert(header, line.parse().unwrap());
        for (peer, client) in [("10.0.0.1", "203.0.113.9"), ("192.0.2.7", "192.0.2.7")] {
            let found = resolver.resolve(peer.parse().unwrap(), &headers);
            assert_eq!(found.ip.to_string(), client, "{header} from {peer}");
        }
    }
}

#[test]
fn the_policy_is_the_configured_one() {
    let configured = config::Policy {
        absolute_lifetime: Duration::from_secs(20),
        max_sessions: 3,
        on_limit: config::OnLimit::EvictIdlest,
        refresh_grace: Duration::from_secs(1),
        touch_interval: Duration::from_secs(2),
        ..config::Policy::default()
    };
    let policy = parts::policy(&configured);
    policy.validate().unwrap();
    assert_eq!((policy.absolute_lifetime.as_secs(), policy.idle_timeout), (20, Some(Duration::from_secs(20))));
    assert_eq!((policy.access_token_lifetime.as_secs(), policy.step_up_max_age.as_secs()), (20, 20));
    assert_eq!((policy.max_sessions, policy.on_limit), (3, OnLimit::EvictIdlest));
    assert_eq!((policy.refresh_grace.as_secs(), policy.touch_interval.as_secs()), (1, 2));
}
