//! Examining the database.

use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{Health, Severity};

use super::{Access, Operation};
use crate::dialect::Dialect;
use crate::error::{Failure, classify};
use crate::plan::Plan;
use crate::schema::check_schema;
use crate::statement::{Channel, fetch};

/// Examines the schema, and the settings too.
pub(crate) struct Check {
    /// The settings and the clock too, at this time.
    pub(crate) now: Option<DateTime<Utc>>,
    /// When the time was told.
    pub(crate) began: Instant,
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Check {
    type Output = Health;
    const NAME: &'static str = "check";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Health, Failure> {
        let mut health = Health::well();
        if let Some(now) = self.now {
            health.clock_skew_millis = skew::<DB>(connection, now, self.began).await?;
        }
        health.findings = check_schema::<DB>(plan, connection.connection).await?.findings;
        if self.now.is_none() {
            return Ok(health);
        }
        health.findings.extend(DB::settings(connection.connection).await.map_err(classify::<DB>)?);
        if plan.epochs.is_none() {
            let message =
                "no epoch table is mapped: a global rotation is refused, and a user's ends the rows one by one";
            health = health.finding(Severity::Info, message);
        }
        Ok(health)
    }
}

/// The server's clock minus ours, which said `now` when it `began`.
async fn skew<DB: Dialect>(
    connection: &mut Channel<'_, DB>,
    now: DateTime<Utc>,
    began: Instant,
) -> Result<Option<i64>, Failure> {
    let Some(clock) = DB::CLOCK else { return Ok(None) };
    let asked = began.elapsed();
    let row = fetch::<DB>(connection, &clock.into(), Vec::new()).await?.into_iter().next();
    let server = row.and_then(|mut row| row.next()).ok_or(Failure::Driver("the clock has no row"))?.int("clock")?;
    // The server looked at its clock half-way between question and answer.
    let elapsed = i64::try_from(((asked + began.elapsed()) / 2).as_millis()).unwrap_or(i64::MAX);
    Ok(Some(server.saturating_sub(now.timestamp_millis()).saturating_sub(elapsed)))
}
