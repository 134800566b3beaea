//! The next page of a list begins where the last one ended: MariaDB is asked how it would run the statement, and how many rows it read.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::DateTime;
use session_manager_core::storage::SessionFilter;
use session_manager_core::{SessionId, UserId};
use session_manager_services::{Service, fresh_mysql_database, url};
use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection, Row};
use uuid::Uuid;

use super::filter::Conditions;
use crate::plan::Plan;
use crate::statement::{Channel, Statement};
use crate::value::Value;
use crate::{EpochTable, Field, SessionTable, reference_ddl};

/// Three thousand sessions of three users, a second between each.
const FILL: &str = "INSERT INTO sessions (id, user_id, created_at, expires_at, idle_expires_at, last_activity, generation, floor, seed, \
    rotated_at, previous_rotated_at, version, details, is_trusted, device_kind) \
    SELECT UNHEX(LPAD(HEX(seq), 32, '0')), CONCAT('user', seq % 3), FROM_UNIXTIME(1000000000 + seq), '2100-01-01', '2100-01-01', \
    FROM_UNIXTIME(1000000000 + seq), 1, 1, REPEAT('x', 32), '2001-01-01', '2001-01-01', 1, '{}', 0, 'unknown' FROM seq_1_to_3000";

#[tokio::test]
async fn a_page_in_the_middle_is_found_by_the_index() {
    let Some(server) = url(Service::MariaDb) else { return };
    let database = fresh_mysql_database(&server).unwrap();
    let mut connection = MySqlConnection::connect(&database).await.unwrap();
    let mapping = SessionTable::new("sessions").native().epochs(EpochTable::new("session_epochs"));
    let plan = Plan::new::<MySql>(mapping.clone()).unwrap();
    let ddl = reference_ddl::<MySql>(&mapping).unwrap();
    for sql in [&*ddl, "SET time_zone = '+00:00'", FILL, "ANALYZE TABLE sessions"] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }
    let place = (DateTime::from_timestamp(1_000_001_500, 0).unwrap(), SessionId::from(Uuid::from_u128(1_500)));
    let (alice, filter) = (UserId::parse("user0").unwrap(), SessionFilter::including_ended());
    for (user, index) in [(None, "sessions_created"), (Some(&alice), "sessions_user")] {
        let page = |before: &str| {
            let conditions = Conditions::new(&plan, user, &filter, place.0).unwrap();
            let order =
                format!(" ORDER BY s.{} DESC, s.{} DESC LIMIT ", plan.name(Field::CreatedAt), plan.name(Field::Id));
            let statement = Statement::<MySql>::new(&format!("{before}{}", plan.select));
            conditions.apply(&plan, statement, Some(place)).push(&order).bind(Value::Int(9))
        };
        let mut channel = Channel { connection: &mut connection, prepared: true, inside: false };
        let steps = page("EXPLAIN ").fetch(&mut channel).await.unwrap();
        let texts: Vec<Vec<_>> =
            steps.into_iter().map(|step| step.map(|value| value.text("plan").unwrap_or_default()).collect()).collect();
        let sessions = texts.iter().find(|step| step.iter().any(|text| text == "s")).unwrap();
        assert!(sessions.iter().any(|text| text == "range") && sessions.iter().any(|text| text == index), "{texts:?}");
        assert!(!texts.iter().flatten().any(|text| text.contains("filesort")), "{texts:?}");

        let rows = page("").fetch(&mut channel).await.unwrap();
        assert_eq!(rows.len(), 9);
        let before = read(&mut connection).await;
        let mut channel = Channel { connection: &mut connection, prepared: true, inside: false };
        page("").fetch(&mut channel).await.unwrap();
        let looked_at = read(&mut connection).await - before;
        assert!(looked_at < 20, "{looked_at} rows of {index} for nine sessions");
    }
}

/// How many rows of an index this connection has walked over so far.
async fn read(connection: &mut MySqlConnection) -> i64 {
    let sql = "SELECT CAST(SUM(VARIABLE_VALUE) AS SIGNED) FROM information_schema.SESSION_STATUS \
        WHERE VARIABLE_NAME IN ('Handler_read_prev', 'Handler_read_next')";
    sqlx::query(sql).fetch_one(connection).await.unwrap().get(0)
}
