//! Tables of other shapes: each stores and gives back the same session.

use std::time::Duration;

use serde_json::json;
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Consistency, InsertOutcome, Query, Revoke, RevokeTarget,
};
use session_manager_core::{
    Actor, Authentication, Binding, DeviceKind, ErrorKind, ExternalId, RevocationReason, SessionRecord, SessionStorage,
    State,
};
use session_manager_storage_sqlx::{
    EpochColumns, EpochTable, ExtraKind, Field, IdEncoding, SessionTable, SqlxStorage, TimeEncoding, UserIdEncoding,
    reference_ddl,
};
use sqlx::{AssertSqlSafe, Sqlite};

use crate::fixture::{Fixture, INCARNATIONS, at, full, insert, pool, record, user};

/// A session with something in every field.
pub(crate) fn rich(name: &str, millis: i64) -> SessionRecord {
    let SessionRecord { session, control, .. } = record(name, millis);
    let mut session = (*session).clone();
    session.ip_address = Some("2001:db8::7".parse().unwrap());
    session.user_agent = Some("Mozilla/5.0 \"quoted\"; DROP TABLE sessions; -- ?1 ünïcode".into());
    session.device_info = Some("Firefox on Windows".into());
    session.device =
        Some(serde_json::from_value(json!({"kind": "phone", "browser": "Firefox", "is_bot": false})).unwrap());
    session.device_name = Some("Mine".into());
    session.location =
        Some(serde_json::from_value(json!({"country": "DE", "city": "Köln", "latitude": 50.9, "asn": 3320})).unwrap());
    session.application = Some("web".into());
    session.idle_timeout = Some(Duration::from_secs(500));
    session.authentication = Authentication::at(at(millis)).by(["pwd", "otp"]).level("aal2");
    session.is_trusted = true;
    session.trusted_until = Some(at(millis + 77));
    session.binding = Some(Binding::Dpop("thumb".into()));
    session.actor = Some(Actor::Service("support".into()));
    session.external = Some(ExternalId { issuer: "idp".into(), sid: format!("sid-{millis}") });
    session.attributes = serde_json::from_value(json!({
        "tenant": "acme", "seats": 12, "ratio": 0.5, "beta": true, "nested": {"a": [1, null]}, "odd": 7
    }))
    .unwrap();
    SessionRecord::new(session, control)
}

const OPTIONAL: [Field; 19] = [
    Field::IpAddress,
    Field::UserAgent,
    Field::DeviceInfo,
    Field::DeviceName,
    Field::Application,
    Field::IsTrusted,
    Field::TrustedUntil,
    Field::ExternalIssuer,
    Field::ExternalSid,
    Field::Location,
    Field::Device,
    Field::Authentication,
    Field::Binding,
    Field::Actor,
    Field::IdleTimeout,
    Field::Attributes,
    Field::DeviceKind,
    Field::Country,
    Field::City,
];

fn bare(table: SessionTable) -> SessionTable {
    OPTIONAL.into_iter().fold(table, SessionTable::without)
}

fn wide(table: SessionTable) -> SessionTable {
    OPTIONAL.into_iter().fold(table, |table, field| table.column(field, format!("col_{field:?}")))
}

#[tokio::test]
async fn every_mapping_gives_back_what_it_was_given() {
    let epochs = EpochTable::new("e").columns(EpochColumns {
        subject: "who",
        incarnation: "life",
        version: "v",
        grace_until: "until",
        rotated_at: "at",
        seq: "n",
    });
    let extras = |table: SessionTable| {
        let table = table.extra("tenant_id", "tenant", ExtraKind::Text).extra("seats", "seats", ExtraKind::Integer);
        let table = table.extra("ratio", "ratio", ExtraKind::Real).extra("beta", "beta", ExtraKind::Boolean);
        table.extra("odd", "odd", ExtraKind::Text).extra("absent", "absent", ExtraKind::Text)
    };
    let uuid = "0190f5fe-7c00-7a00-8000-00000000000a";
    let mappings = [
        (full(), "alice"),
        (SessionTable::new("sessions"), "alice"),
        (full().id(IdEncoding::Text), "alice"),
        (full().id(IdEncoding::Binary).times(TimeEncoding::Rfc3339), "alice"),
        (full().user_id(UserIdEncoding::BigInt), "42"),
        (full().user_id(UserIdEncoding::BigInt), "-9223372036854775808"),
        (full().user_id(UserIdEncoding::Uuid), uuid),
        (bare(full()), "alice"),
        (wide(full()), "alice"),
        (extras(bare(SessionTable::new("s").epochs(epochs.clone()))), "alice"),
        (extras(wide(SessionTable::new("main.s").epochs(EpochTable::new("main.e")))), "alice"),
        (
            full()
                .column(Field::Id, "order")
                .column(Field::UserId, "select")
                .column(Field::Floor, "from")
                .epochs(epochs),
            "alice",
        ),
    ];
    for (mapping, name) in mappings {
        let label = format!("{mapping:?}");
        let fixture = Fixture::with(mapping).await;
        let health = fixture.storage.check_schema().await.unwrap();
        assert!(health.findings.is_empty(), "{health:?} {label}");
        let mut given = rich(name, 0);
        let InsertOutcome::Inserted { snapshot, .. } =
            fixture.storage.insert(&insert(given.clone(), 5, 0)).await.unwrap()
        else {
            panic!()
        };
        let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
        assert_eq!(read, snapshot, "{label}");
        given.control.stamped = read.control.stamped;
        assert_eq!(read.record(), given, "{label}");
        assert_eq!(read.control.stamped.is_some(), fixture.storage.capabilities().epochs);
        let live = read.state(
            at(1),
            if fixture.storage.capabilities().epochs {
                session_manager_core::LivePolicy::TRACKED
            } else {
                session_manager_core::LivePolicy::UNTRACKED
            },
        );
        assert_eq!(live, State::Live, "{label}");
        let listed = fixture.storage.list(&Query::of(user(name), at(1))).await.unwrap();
        assert_eq!(listed.sessions, std::slice::from_ref(&read), "{label}");
        let mut filter = session_manager_core::storage::SessionFilter::new();
        (filter.device, filter.city, filter.is_trusted) = (Some(DeviceKind::Phone), Some("Köln".into()), Some(true));
        assert_eq!(
            fixture.storage.count(&Query::of(user(name), at(1)).filtered(filter)).await.unwrap().value,
            1,
            "{label}"
        );

        let target = RevokeTarget::User { user: user(name), except: None };
        let request =
            Revoke::new(target, RevocationReason::parse("stolen laptop").unwrap(), Actor::User(user(name)), at(2));
        assert_eq!(fixture.storage.revoke(&request).await.unwrap().sessions.len(), 1);
        let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
        assert_eq!(read.revocation(), Some(&request.revocation), "{label}");
        assert_eq!(read.control.version, 2);
    }
}

#[tokio::test]
async fn extra_columns_are_the_applications() {
    let mapping = full().extra("tenant_id", "tenant", ExtraKind::Text).extra("odd", "odd", ExtraKind::Text);
    let fixture = Fixture::with(mapping).await;
    fixture.storage.insert(&insert(rich("alice", 0), 5, 0)).await.unwrap();
    let row: (String, Option<String>, String) =
        sqlx::query_as("SELECT tenant_id, odd, details FROM sessions").fetch_one(&fixture.pool).await.unwrap();
    assert_eq!((row.0.as_str(), row.1), ("acme", None));
    assert!(row.2.contains("\"odd\":7") && !row.2.contains("tenant"), "{}", row.2);
    sqlx::query("UPDATE sessions SET tenant_id = 'other'").execute(&fixture.pool).await.unwrap();
    let page = fixture.storage.list(&Query::of(user("alice"), at(1))).await.unwrap();
    assert_eq!(page.sessions[0].session.attributes["tenant"], json!("other"));
}

#[tokio::test]
async fn without_epochs_a_rotation_ends_rows_and_everybodys_is_refused() {
    let fixture = Fixture::with(SessionTable::new("sessions")).await;
    assert!(!fixture.storage.capabilities().epochs && !fixture.storage.capabilities().remember_once);
    assert!(fixture.storage.feed().is_none());
    let (kept, other) = (fixture.sign_in("alice", 0).await, fixture.sign_in("alice", 1).await);
    let bump = Bump::new(BumpTarget::User { user: user("alice"), keep: Some(kept.session.id) }, INCARNATIONS, at(2));
    let BumpOutcome::Bumped(bumped) = fixture.storage.bump(&bump).await.unwrap() else { panic!() };
    assert_eq!(bumped.kept.unwrap().control.floor, 3);
    let ended = fixture.storage.read(&other.key(), Consistency::Latest).await.unwrap().unwrap();
    assert_eq!(ended.revocation().unwrap().reason, RevocationReason::ROTATED);
    let global = Bump::new(BumpTarget::Global { grace: Duration::ZERO }, INCARNATIONS, at(3));
    assert_eq!(fixture.storage.bump(&global).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn mappings_that_do_not_hold_together_are_refused() {
    let (pool, _directory) = pool().await;
    let hostile = "x\"; DROP TABLE users; --";
    let cases = [
        SessionTable::new(hostile),
        SessionTable::new("a.b.c"),
        full().column(Field::Id, hostile),
        full().column(Field::City, ""),
        full().extra(hostile, "k", ExtraKind::Text),
        full().extra("USER_ID", "k", ExtraKind::Text),
        full().without(Field::Seed),
        full().without(Field::UserVersion),
        full().without(Field::ExternalSid),
        full().epochs(EpochTable::new(hostile)),
        full().once(session_manager_storage_sqlx::OnceTable::new("o").columns(hostile, "u")),
        full().feed(session_manager_storage_sqlx::FeedTable::new("f").columns("a", "b", "c", hostile)),
        full().feed(session_manager_storage_sqlx::FeedTable::new("f").retention(Duration::ZERO)),
    ];
    for mapping in cases {
        let label = format!("{mapping:?}");
        assert_eq!(reference_ddl::<Sqlite>(&mapping).unwrap_err().kind(), ErrorKind::Misconfigured, "{label}");
        assert_eq!(SqlxStorage::new(pool.clone(), mapping).unwrap_err().kind(), ErrorKind::Misconfigured, "{label}");
    }
}

#[tokio::test]
async fn errors_and_debug_hold_no_values() {
    let fixture = Fixture::new().await;
    assert_eq!(
        format!("{:?}", fixture.storage),
        "SqlxStorage { database: \"SQLite\", table: \"\\\"sessions\\\"\", .. }"
    );
    let session = fixture.sign_in("alice", 0).await;
    let key = session.key();
    sqlx::query("UPDATE sessions SET ip_address = 'hunter2', details = '{}'").execute(&fixture.pool).await.unwrap();
    let error = fixture.storage.read(&key, Consistency::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("ip_address") && !format!("{error:?}").contains("hunter2"), "{error:?}");

    sqlx::raw_sql(AssertSqlSafe("DROP TABLE sessions".to_owned())).execute(&fixture.pool).await.unwrap();
    let error = fixture.storage.read(&key, Consistency::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(!format!("{error:?}").contains(&session.session.id.to_string()), "{error:?}");
    fixture.pool.close().await;
    let error = fixture.storage.read(&key, Consistency::Latest).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
}
