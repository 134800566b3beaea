//! Every statement on a request's path is served by an index: SQLite is asked how it would run them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use chrono::DateTime;
use session_manager_core::UserId;
use session_manager_core::storage::SessionFilter;
use sqlx::{AssertSqlSafe, Connection, Sqlite, SqliteConnection};

use super::filter::Conditions;
use crate::plan::Plan;
use crate::statement::{Channel, Statement, fetch};
use crate::value::Value;
use crate::{EpochTable, Field, OnceTable, SessionTable, UserIdEncoding, reference_ddl};

async fn database(mapping: &SessionTable) -> (Plan, SqliteConnection) {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Sqlite>(mapping).unwrap())).execute(&mut connection).await.unwrap();
    (Plan::new::<Sqlite>(mapping.clone()).unwrap(), connection)
}

fn channel(connection: &mut SqliteConnection) -> Channel<'_, Sqlite> {
    Channel { connection, prepared: true, inside: false }
}

/// The steps by which a statement would be run.
async fn steps(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    // Parameters that are not bound are NULL, which changes no plan.
    let sql: Arc<str> = format!("EXPLAIN QUERY PLAN {sql}").into();
    let rows = fetch::<Sqlite>(&mut channel(connection), &sql, Vec::new()).await.unwrap();
    rows.into_iter().map(|mut row| row.nth(3).unwrap().text("detail").unwrap()).collect()
}

fn assert_searches(steps: &[String], what: &str) {
    assert!(!steps.is_empty(), "{what}");
    for step in steps {
        assert!(!step.starts_with("SCAN") && !step.contains("TEMP B-TREE"), "{what}: {steps:?}");
    }
}

#[tokio::test]
async fn nothing_on_a_requests_path_scans() {
    for user_id in [UserIdEncoding::Text, UserIdEncoding::BigInt, UserIdEncoding::Uuid] {
        let mapping = SessionTable::new("sessions").epochs(EpochTable::new("epochs")).once(OnceTable::new("once"));
        let (plan, mut connection) = database(&mapping.user_id(user_id)).await;
        let epochs = plan.epochs.as_ref().unwrap();
        let (quick, record) = (plan.quick.as_ref().unwrap(), &epochs.user);
        let fixed = [&plan.read_one, &plan.replace, &plan.advance, &plan.touch, &record.lock, &record.write];
        let at_once = [&quick.advance, &quick.revoke, &quick.revoke_owned, &quick.revoke_all, &quick.revoke_others];
        let others = [&quick.keep, &quick.remove, &quick.insert.evict.as_ref().unwrap()[0], &epochs.room];
        for sql in fixed.into_iter().chain(at_once).chain(others) {
            assert_searches(&steps(&mut connection, sql).await, sql);
        }
        let [user, created, id] = [Field::UserId, Field::CreatedAt, Field::Id].map(|field| plan.name(field));
        let [revoked, expires, idle] = [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].map(|f| plan.name(f));
        let [issuer, sid] = [Field::ExternalIssuer, Field::ExternalSid].map(|field| plan.name(field));
        let (select, is_live) = (&plan.select, &plan.is_live);
        for sql in [
            format!("{select} WHERE s.{user} = ? AND {is_live} ORDER BY s.{created}, s.{id} LIMIT 3"),
            format!("{select} WHERE s.{issuer} = ? AND s.{sid} = ?"),
            format!("{select} WHERE (s.{revoked} < ? OR s.{expires} < ? OR s.{idle} < ?) LIMIT 9"),
            format!("{select} WHERE s.{id} > ? ORDER BY s.{id} LIMIT 9"),
        ] {
            assert_searches(&steps(&mut connection, &sql).await, &sql);
        }
    }
}

#[tokio::test]
async fn lists_need_no_sorting() {
    let (plan, mut connection) = database(&SessionTable::new("sessions").epochs(EpochTable::new("epochs"))).await;
    let now = DateTime::UNIX_EPOCH;
    let alice = UserId::parse("alice").unwrap();
    let place = session_manager_core::SessionId::from(uuid::Uuid::from_u128(7));
    for (user, filter, after) in [
        (Some(&alice), SessionFilter::new(), None),
        (Some(&alice), SessionFilter::including_ended(), Some((now, place))),
        (None, SessionFilter::new(), Some((now, place))),
    ] {
        let conditions = Conditions::new(&plan, user, &filter, now).unwrap();
        let explain = Statement::<Sqlite>::new(&format!("EXPLAIN QUERY PLAN {}", plan.select));
        let order = format!(" ORDER BY s.{} DESC, s.{} DESC LIMIT ", plan.name(Field::CreatedAt), plan.name(Field::Id));
        let statement = conditions.apply(&plan, explain, after).push(&order).bind(Value::Int(9));
        let rows = statement.fetch(&mut channel(&mut connection)).await.unwrap();
        let steps: Vec<_> = rows.into_iter().map(|mut row| row.nth(3).unwrap().text("detail").unwrap()).collect();
        assert_searches(&steps, &format!("{user:?} {filter:?}"));
    }
}
