//! A filter as SQL, as far as SQL can say it.

use chrono::{DateTime, Utc};
use session_manager_core::storage::SessionFilter;
use session_manager_core::{SessionId, Snapshot, UserId};

use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{Channel, Statement};
use crate::value::Value;

/// How many rows are looked at in one go where SQL can not say all of a filter.
const BATCH: usize = 256;

/// A place in a list: what sorts after it is still to come.
type Place = (DateTime<Utc>, SessionId);

/// Conditions that every wanted session fulfils.
pub(super) struct Conditions {
    parts: Vec<(String, Vec<Value>)>,
    /// Whether nothing but wanted sessions fulfils them.
    pub(super) exact: bool,
}

impl Conditions {
    pub(super) fn new(
        plan: &Plan,
        user: Option<&UserId>,
        filter: &SessionFilter,
        now: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let mut conditions = Self { parts: Vec::new(), exact: true };
        if let Some(user) = user {
            conditions.compare(plan, Field::UserId, "=", plan.user(user)?);
        }
        if filter.active_only {
            conditions.parts.push((plan.is_live.clone(), plan.live_values(now)));
        }
        if let Some(kind) = filter.device {
            conditions.compare(plan, Field::DeviceKind, "=", kind.as_str().into());
        }
        if let Some(country) = &filter.country {
            conditions.compare(plan, Field::Country, "=", country.as_str().into());
        }
        if let Some(city) = &filter.city {
            conditions.compare(plan, Field::City, "=", city.as_str().into());
        }
        if let Some(net) = filter.ip {
            if net.prefix_len() == net.max_prefix_len() {
                conditions.compare(plan, Field::IpAddress, "=", plan.mapping.address.encode(net.addr()));
            } else if let Some(operator) = plan.in_network.filter(|_| plan.has(Field::IpAddress)) {
                conditions.compare(plan, Field::IpAddress, operator, plan.mapping.address.encode_net(net));
            } else {
                // SQL sees addresses as text: networks are told apart by core.
                conditions.exact = false;
            }
        }
        if let Some(trusted) = filter.is_trusted {
            conditions.trusted(plan, trusted, now);
        }
        if let Some(time) = filter.created_after {
            conditions.compare(plan, Field::CreatedAt, ">=", plan.bound(time));
        }
        if let Some(time) = filter.created_before {
            conditions.compare(plan, Field::CreatedAt, "<", plan.bound(time));
        }
        if let Some(time) = filter.last_activity_before {
            conditions.compare(plan, Field::LastActivity, "<", plan.bound(time));
        }
        Ok(conditions)
    }

    fn compare(&mut self, plan: &Plan, field: Field, operator: &str, value: Value) {
        if plan.has(field) {
            self.parts.push((format!("s.{} {operator} ?", plan.name(field)), vec![value]));
        } else {
            self.exact = false;
        }
    }

    fn trusted(&mut self, plan: &Plan, wanted: bool, now: DateTime<Utc>) {
        if !plan.has(Field::IsTrusted) || !plan.has(Field::TrustedUntil) {
            self.exact = false;
            return;
        }
        let (trusted, until) = (plan.name(Field::IsTrusted), plan.name(Field::TrustedUntil));
        let not = if wanted { "" } else { "NOT " };
        let condition = format!("{not}(s.{trusted} = ? AND (s.{until} IS NULL OR s.{until} > ?))");
        self.parts.push((condition, vec![Value::Bool(true), plan.time(now)]));
    }

    /// ` WHERE …`, and the sessions after a position of the list only.
    pub(super) fn apply<DB: Dialect>(
        &self,
        plan: &Plan,
        mut statement: Statement<DB>,
        after: Option<Place>,
    ) -> Statement<DB> {
        let mut word = " WHERE ";
        for (condition, values) in &self.parts {
            statement = statement.push(word).condition(condition, values.iter().cloned());
            word = " AND ";
        }
        if let Some((after_time, after_id)) = after {
            let [created, id] = [Field::CreatedAt, Field::Id].map(|field| plan.name(field));
            let (time, after_id) = (plan.time(after_time), plan.mapping.id.encode(after_id));
            statement = statement.push(word);
            statement = if DB::COMPARES_PAIRS {
                statement.condition(&format!("(s.{created}, s.{id}) < (?, ?)"), [time, after_id])
            } else {
                // The same, written so that the first part is a range of the index.
                let condition = format!("s.{created} <= ? AND (s.{created} < ? OR s.{id} < ?)");
                statement.condition(&condition, [time.clone(), time, after_id])
            };
        }
        statement
    }
}

/// What is looked for.
pub(super) struct Search<'a> {
    pub(super) user: Option<&'a UserId>,
    pub(super) filter: &'a SessionFilter,
    pub(super) now: DateTime<Utc>,
}

impl Search<'_> {
    /// The first `limit` wanted sessions after a place, newest first.
    ///
    /// # Behaviour
    /// Rows are read in batches of bounded size until the limit is reached or nothing is left.
    pub(super) async fn run<DB: Dialect>(
        &self,
        plan: &Plan,
        connection: &mut Channel<'_, DB>,
        after: Option<Place>,
        limit: usize,
        suffix: &str,
    ) -> Result<Vec<Snapshot>, Failure> {
        let conditions = Conditions::new(plan, self.user, self.filter, self.now)?;
        let size = if conditions.exact { limit.min(BATCH) } else { BATCH };
        let mut batches = Batches { search: self, conditions, size, suffix, place: after, complete: false };
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(batch) = batches.next::<DB>(plan, connection).await?
        {
            found.extend(batch);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// How many wanted sessions there are, by looking at each.
    pub(super) async fn count<DB: Dialect>(
        &self,
        plan: &Plan,
        connection: &mut Channel<'_, DB>,
    ) -> Result<u64, Failure> {
        let conditions = Conditions::new(plan, self.user, self.filter, self.now)?;
        let mut batches = Batches { search: self, conditions, size: BATCH, suffix: "", place: None, complete: false };
        let mut count = 0;
        while let Some(batch) = batches.next::<DB>(plan, connection).await? {
            count += batch.len();
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

/// A search under way.
struct Batches<'a> {
    search: &'a Search<'a>,
    conditions: Conditions,
    size: usize,
    suffix: &'a str,
    place: Option<Place>,
    complete: bool,
}

impl Batches<'_> {
    /// The wanted ones of the next rows; `None` at the end. Whatever SQL says, [`SessionFilter::matches`] decides.
    async fn next<DB: Dialect>(
        &mut self,
        plan: &Plan,
        connection: &mut Channel<'_, DB>,
    ) -> Result<Option<Vec<Snapshot>>, Failure> {
        if self.complete {
            return Ok(None);
        }
        let order = format!(" ORDER BY s.{} DESC, s.{} DESC LIMIT ", plan.name(Field::CreatedAt), plan.name(Field::Id));
        let statement = self.conditions.apply(plan, Statement::<DB>::new(&plan.select), self.place).push(&order);
        let size = Value::Int(i64::try_from(self.size).unwrap_or(i64::MAX));
        let rows = statement.bind(size).push(self.suffix).fetch(connection).await?;
        self.complete = rows.len() < self.size;
        let mut batch = rows.into_iter().map(|row| plan.snapshot(row)).collect::<Result<Vec<_>, _>>()?;
        self.place = batch.last().map(|snapshot| (snapshot.session.created_at, snapshot.session.id)).or(self.place);
        batch.retain(|snapshot| self.search.filter.matches(snapshot, self.search.now, plan.live));
        Ok(Some(batch))
    }
}
