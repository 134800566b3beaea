//! Tables of other shapes, other time zones, a feed that commits late, a pooler and a server that is not there.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;
use session_manager_core::storage::{
    Bump, BumpTarget, Consistency, InsertOutcome, Notice, OnceKey, Phase, Purge, PurgeScope, PutOutcome, Query, Revoke,
    RevokeTarget, SessionFilter, Subject,
};
use session_manager_core::{
    Actor, Authentication, Binding, DeviceKind, ErrorKind, ExternalId, LivePolicy, RevocationReason, SessionRecord,
    SessionStorage, State,
};
use session_manager_services::{Service, url};
use session_manager_storage_sqlx::{
    AddressEncoding, EpochTable, ExtraKind, FeedTable, Field, IdEncoding, JsonEncoding, SessionTable, SqlxStorage,
    TimeEncoding, UserIdEncoding, reference_ddl,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{MySql, Postgres};

use crate::server::{Fixture, GRACE, INCARNATIONS, Server, at, fresh_name, full, insert, record, user};

on_each! {
    every_mapping_gives_back_what_it_was_given,
    networks_are_filtered_the_same_way,
    a_notice_that_commits_late_is_not_missed,
    notices_are_read_in_the_order_of_their_marks,
    a_scan_moves_everything_elsewhere,
    clean_up_forgets,
    what_the_application_did_to_the_table_is_named,
}

/// A session with something in every field.
fn rich(name: &str, millis: i64) -> SessionRecord {
    let SessionRecord { session, control, .. } = record(name, millis);
    let mut session = (*session).clone();
    session.ip_address = Some("2001:db8::7".parse().unwrap());
    session.user_agent = Some("Mozilla/5.0 \"quoted\"; DROP TABLE sessions; -- ?1 $1 ünïcode 🦀".into());
    session.device_info = Some("Firefox on Windows".into());
    session.device =
        Some(serde_json::from_value(json!({"kind": "phone", "browser": "Firefox", "is_bot": false})).unwrap());
    session.device_name = Some("Mine 🦀".into());
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
        "tenant": "acme", "seats": 12, "ratio": 0.5, "beta": true, "nested": {"a": [1, null, "🦀"]}, "odd": 7,
        "account": "0190f5fe-7c00-7a00-8000-00000000000a", "other": "0190F5FE-7C00-7A00-8000-00000000000A"
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

fn extras(table: SessionTable) -> SessionTable {
    let table = table.extra("tenant_id", "tenant", ExtraKind::Text).extra("seats", "seats", ExtraKind::Integer);
    let table = table.extra("ratio", "ratio", ExtraKind::Real).extra("beta", "beta", ExtraKind::Boolean);
    let table = table.extra("odd", "odd", ExtraKind::Text).extra("absent", "absent", ExtraKind::Text);
    table.extra("account", "account", ExtraKind::Uuid).extra("other", "other", ExtraKind::Uuid)
}

fn text(table: SessionTable) -> SessionTable {
    table.times(TimeEncoding::Rfc3339).json(JsonEncoding::Text).address(AddressEncoding::Text)
}

async fn every_mapping_gives_back_what_it_was_given<S: Server>() {
    let uuid = "0190f5fe-7c00-7a00-8000-00000000000a";
    let mappings = [
        (full(), "alice"),
        (SessionTable::new("sessions"), "alice"),
        (text(full()).id(IdEncoding::Text), "alice"),
        (full().id(IdEncoding::Binary).times(TimeEncoding::Millis).json(JsonEncoding::Json), "alice"),
        (full().user_id(UserIdEncoding::BigInt), "42"),
        (full().user_id(UserIdEncoding::BigInt), "-9223372036854775808"),
        (full().user_id(UserIdEncoding::Uuid), uuid),
        (bare(full()), "alice"),
        (wide(full()), "alice"),
        (extras(bare(full())), "alice"),
        (extras(wide(text(full()))), "alice"),
        (full().column(Field::Id, "order").column(Field::UserId, "select").column(Field::Floor, "from"), "alice"),
    ];
    for (mapping, name) in mappings {
        let label = format!("{mapping:?}");
        let fixture = Fixture::<S>::with(mapping).await;
        let health = fixture.storage.check_schema().await.unwrap();
        assert!(health.findings.is_empty(), "{health:?} {label}");
        let mut given = rich(name, 123);
        let outcome = fixture.storage.insert(&insert(given.clone(), 5, 123)).await.unwrap();
        let InsertOutcome::Inserted { snapshot, .. } = outcome else { panic!("{outcome:?}") };
        let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
        assert_eq!(read, snapshot, "{label}");
        given.control.stamped = read.control.stamped;
        assert_eq!(read.record(), given, "{label}");
        let tracked = fixture.storage.capabilities().epochs;
        let live = if tracked { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED };
        assert_eq!((read.control.stamped.is_some(), read.state(at(124), live)), (tracked, State::Live), "{label}");
        let listed = fixture.storage.list(&Query::of(user(name), at(124))).await.unwrap();
        assert_eq!(listed.sessions, std::slice::from_ref(&read), "{label}");
        let mut filter = SessionFilter::new();
        (filter.device, filter.city, filter.is_trusted) = (Some(DeviceKind::Phone), Some("Köln".into()), Some(true));
        let query = Query::of(user(name), at(124)).filtered(filter);
        assert_eq!(fixture.storage.count(&query).await.unwrap().value, 1, "{label}");
        let target = RevokeTarget::User { user: user(name), except: None };
        let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::User(user(name)), at(125));
        assert_eq!(fixture.storage.revoke(&revoke).await.unwrap().sessions.len(), 1, "{label}");
        let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
        assert_eq!(read.revocation().unwrap().at, at(125), "{label}");
    }
}

async fn networks_are_filtered_the_same_way<S: Server>() {
    let addresses = ["10.0.0.1", "10.0.1.7", "10.1.0.1", "192.168.0.1", "2001:db8::7", "::ffff:10.0.0.1", "::1"];
    let nets =
        ["10.0.1.7/32", "10.0.1.0/24", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1/128", "10.0.1.9/24"];
    for mapping in [full(), text(full())] {
        let fixture = Fixture::<S>::with(mapping).await;
        for (number, address) in addresses.iter().enumerate() {
            let SessionRecord { session, control, .. } = record("alice", i64::try_from(number).unwrap());
            let mut session = (*session).clone();
            session.ip_address = Some(address.parse().unwrap());
            fixture.storage.insert(&insert(SessionRecord::new(session, control), 100, 10)).await.unwrap();
        }
        fixture.sign_in("alice", 10).await;
        let all = fixture.storage.scan().unwrap().scan(None, 100).await.unwrap().sessions;
        for net in nets {
            let mut filter = SessionFilter::new();
            filter.ip = Some(net.parse::<IpNet>().unwrap());
            let wanted = all.iter().filter(|s| filter.matches(s, at(20), LivePolicy::TRACKED)).count();
            let query = Query::everybody(at(20)).filtered(filter);
            assert_eq!(fixture.storage.count(&query).await.unwrap().value, u64::try_from(wanted).unwrap(), "{net}");
            assert_eq!(fixture.storage.list(&query).await.unwrap().sessions.len(), wanted, "{net}");
        }
    }
}

/// A notice whose transaction began before another's and commits after it, and after the reader has passed.
async fn a_notice_that_commits_late_is_not_missed<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let feed = fixture.storage.feed().unwrap();
    let notice = |millis| Notice::new(Subject::User(user("alice").locator()), Phase::Intent, at(millis));
    let mut late = fixture.pool.begin().await.unwrap();
    let sql = if S::SERVICE == Service::Postgres {
        "INSERT INTO session_feed (mark, subject, phase, announced_at) \
         VALUES (pg_current_xact_id(), 'global', 'done', '2026-01-01T00:00:00.777Z')"
    } else {
        "INSERT INTO session_feed (mark, subject, phase, announced_at) \
         VALUES (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000, 'global', 'done', '2026-01-01 00:00:00.777')"
    };
    S::run_on(&mut late, sql).await;
    feed.announce(&[notice(1), notice(2), notice(3)]).await.unwrap();
    // In pages and in one piece.
    let mut cursors = Vec::new();
    for limit in [2, 100] {
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let batch = feed.since(cursor.as_ref(), limit, at(9)).await.unwrap();
            seen.extend(batch.notices);
            cursor = Some(batch.next);
            if batch.complete {
                break;
            }
        }
        assert_eq!(seen, [notice(1), notice(2), notice(3)]);
        cursors.push(cursor);
    }
    late.commit().await.unwrap();
    let missed = Notice::new(Subject::Global, Phase::Done, at(777));
    for cursor in cursors {
        let batch = feed.since(cursor.as_ref(), 100, at(9)).await.unwrap();
        assert!(batch.notices.contains(&missed), "{cursor:?} {:?}", batch.notices);
    }
    for bad in ["", "x", "1", "1.2.3.4", "1.x", "-1.0"] {
        let bad = session_manager_core::storage::FeedCursor(bad.into());
        assert_eq!(feed.since(Some(&bad), 4, at(9)).await.unwrap_err().kind(), ErrorKind::InvalidCursor, "{bad:?}");
    }
}

/// Also where a mark has one digit more than the one before.
async fn notices_are_read_in_the_order_of_their_marks<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    for (mark, millis) in [(100, 3), (9, 1), (10, 2)] {
        let sql = "INSERT INTO session_feed (mark, subject, phase, announced_at) VALUES";
        let postgres = S::SERVICE == Service::Postgres;
        let at = if postgres {
            format!("2026-01-01T00:00:00.00{millis}Z")
        } else {
            format!("2026-01-01 00:00:00.00{millis}")
        };
        S::run(&fixture.pool, &format!("{sql} ('{mark}', 'global', 'done', '{at}')")).await;
    }
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let batch = fixture.storage.feed().unwrap().since(cursor.as_ref(), 1, at(9)).await.unwrap();
        seen.extend(batch.notices.iter().map(|notice| notice.at));
        cursor = Some(batch.next);
        if batch.complete {
            break;
        }
    }
    assert_eq!(seen, [at(1), at(2), at(3)]);
}

async fn a_scan_moves_everything_elsewhere<S: Server>() {
    let (from, to) = (Fixture::<S>::new().await, Fixture::<S>::with(text(full())).await);
    for number in 0..7 {
        from.sign_in(&format!("user{}", number % 3), number).await;
    }
    from.storage.bump(&Bump::new(BumpTarget::Global { grace: GRACE }, INCARNATIONS, at(10))).await.unwrap();
    let all = from.storage.scan().unwrap().scan(None, 100).await.unwrap().sessions;
    // Two copies at once.
    let copy = || async {
        let mut written = 0;
        for snapshot in &all {
            let storage = to.storage.clone();
            let outcome = storage.scan().unwrap().put(snapshot).await.unwrap();
            written += usize::from(outcome == PutOutcome::Written);
        }
        written
    };
    let (one, two) = tokio::join!(copy(), copy());
    assert_eq!(one + two, 7);
    for snapshot in &all {
        assert_eq!(&to.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap(), snapshot);
    }
}

async fn clean_up_forgets<S: Server>() {
    let feed = FeedTable::new("session_feed").retention(Duration::from_millis(3));
    let fixture = Fixture::<S>::with(full().feed(feed)).await;
    for number in 0..300 {
        let key = OnceKey::parse(&format!("k{number}")).unwrap();
        assert!(fixture.storage.remember_once(&key, at(0), at(if number < 290 { 5 } else { 50 })).await.unwrap());
    }
    let notices = [Notice::new(Subject::Global, Phase::Done, at(1)), Notice::new(Subject::Global, Phase::Done, at(9))];
    fixture.storage.feed().unwrap().announce(&notices).await.unwrap();
    for left in [44, 10, 10] {
        fixture.storage.purge(&Purge::new(PurgeScope::EndedBefore(at(2)), 1, at(5))).await.unwrap();
        assert_eq!(S::number(&fixture.pool, "SELECT COUNT(*) FROM session_once").await, left);
    }
    let batch = fixture.storage.feed().unwrap().since(None, 9, at(9)).await.unwrap();
    assert_eq!(batch.notices, notices[1..]);
}

/// Errors name what is wrong, and hold no values.
async fn what_the_application_did_to_the_table_is_named<S: Server>() {
    let fixture = Fixture::<S>::with(full().json(JsonEncoding::Text).address(AddressEncoding::Text)).await;
    let session = fixture.sign_in("alice", 0).await;
    S::run(&fixture.pool, "UPDATE sessions SET ip_address = 'hunter2'").await;
    let error = fixture.storage.read(&session.key(), Consistency::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("ip_address") && !format!("{error:?}").contains("hunter2"), "{error:?}");
    S::run(&fixture.pool, "DROP TABLE sessions").await;
    let error = fixture.storage.read(&session.key(), Consistency::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(!format!("{error:?}").contains(&session.session.id.to_string()), "{error:?}");
    fixture.pool.close().await;
    let error = fixture.storage.read(&session.key(), Consistency::Latest).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
}

/// Columns of other types than the reference's, as an application that was there first may have them.
#[tokio::test]
async fn an_application_with_its_own_types_in_postgres() {
    if url(Service::Postgres).is_none() {
        return;
    }
    let mapping = full().extra("seats", "seats", ExtraKind::Integer).epochs(EpochTable::new("session_epochs"));
    let ddl = reference_ddl::<Postgres>(&mapping).unwrap();
    let ddl = ddl.replacen("\"user_id\" text COLLATE \"C\"", "\"user_id\" varchar(40)", 1);
    let ddl = ddl.replace("\"seats\" bigint", "\"seats\" integer").replace("timestamptz(3)", "timestamptz");
    let ddl = format!("CREATE DOMAIN agent AS text; {}", ddl.replace("\"user_agent\" text", "\"user_agent\" agent"));
    let fixture = Fixture::<Postgres>::with_ddl(mapping, &ddl).await;
    let findings = fixture.storage.check_schema().await.unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
    let given = rich("alice", 5);
    let outcome = fixture.storage.insert(&insert(given.clone(), 5, 5)).await.unwrap();
    let InsertOutcome::Inserted { snapshot, .. } = outcome else { panic!("{outcome:?}") };
    // The user is found by the epoch's index although the collations differ, and a time that is finer than ours is cut.
    Postgres::run(&fixture.pool, "UPDATE sessions SET revoked_at = '2026-01-01 00:00:00.007999Z'").await;
    let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
    assert_eq!((read.revocation().unwrap().at, &read.session), (at(7), &given.session));
    let mut nul = rich("alice", 6);
    let mut session = (*nul.session).clone();
    session.attributes.insert("nul".into(), json!("\0"));
    nul.session = session.into();
    let error = fixture.storage.insert(&insert(nul, 5, 5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

/// Without the setting, statements that are prepared on one server connection are run on another. With it none is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_pooler_needs_its_setting() {
    let Some(address) = url(Service::PgBouncer) else { return };
    let options: PgConnectOptions = address.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(16).connect_with(options).await.unwrap();
    let schema = fresh_name();
    let mapping = SessionTable::new(format!("{schema}.sessions")).native();
    let ddl = reference_ddl::<Postgres>(&mapping).unwrap();
    Postgres::run(&pool, &format!("CREATE SCHEMA {schema};\n{ddl}")).await;
    let prepared = SqlxStorage::new(pool, mapping).unwrap();
    for (storage, safe) in [(prepared.clone().behind_transaction_pooler(), true), (prepared, false)] {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..64 {
            let storage = storage.clone();
            tasks.spawn(async move {
                let name = format!("user{number}");
                let request = insert(record(&name, 0), 5, 0);
                storage.insert(&request).await?;
                storage.read(&request.record.session.key(), Consistency::Latest).await?;
                storage.count(&Query::of(user(&name), at(1))).await
            });
        }
        let mut failed = 0;
        while let Some(outcome) = tasks.join_next().await {
            // Without it even the driver panics, when somebody else's statement answers with other columns.
            let right = matches!(outcome, Ok(Ok(count)) if count.value == 1);
            failed += usize::from(!right);
        }
        assert_eq!(failed == 0, safe, "{failed}");
    }
}
