//! All SQL text that does not depend on a request, made once from the mapping.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::clock::{after, to_millis};
use session_manager_core::{LivePolicy, Result, Snapshot, UserId};

use crate::config::SessionTable;
use crate::dialect::Dialect;
use crate::encoding::AddressEncoding;
use crate::error::Failure;
use crate::field::Field;
use crate::identifier::TableName;
use crate::record::{self, Column};
use crate::side_tables::{EpochPlan, FeedPlan, OncePlan, epoch_plan, feed_plan, once_plan};
use crate::statement::Text;
use crate::value::{Row, Value};

/// The mapping and the statements that follow from it.
#[derive(Clone, Debug)]
#[allow(unnameable_types, reason = "named by sealed traits only")]
pub struct Plan {
    pub(crate) mapping: SessionTable,
    pub(crate) table: String,
    pub(crate) live: LivePolicy,
    pub(crate) written: Vec<Column>,
    read: Vec<Column>,
    names: BTreeMap<Field, String>,
    /// `SELECT … FROM …` with both epochs; the session is `s`.
    pub(crate) select: String,
    /// `FROM …` alone.
    pub(crate) from: String,
    /// The condition that a session lives; its three `?` are [`Plan::live_values`].
    pub(crate) is_live: String,
    pub(crate) read_one: Arc<str>,
    /// The same inside the application's transaction, as it is now.
    pub(crate) read_fresh: Arc<str>,
    /// Holds the row of one session, where a step has to.
    pub(crate) lock_one: Option<Arc<str>>,
    /// The operator by which an address lies in a network, where the column's type has one.
    pub(crate) in_network: Option<&'static str>,
    /// Whether statements are kept prepared on their connection.
    pub(crate) prepared: bool,
    pub(crate) insert: Arc<str>,
    pub(crate) replace: Arc<str>,
    pub(crate) advance: Arc<str>,
    /// The whole step of a refresh in one statement, where the database can.
    pub(crate) advance_at_once: Option<Arc<str>>,
    pub(crate) touch: Arc<str>,
    /// The same for many sessions in one statement, where the database can.
    pub(crate) touch_many: Option<Arc<str>>,
    pub(crate) remove_one: Arc<str>,
    pub(crate) claim: Option<Arc<str>>,
    pub(crate) epochs: Option<EpochPlan>,
    pub(crate) once: Option<OncePlan>,
    pub(crate) feed: Option<FeedPlan>,
}

impl Plan {
    /// Makes the plan.
    pub(crate) fn new<DB: Dialect>(mapping: SessionTable) -> Result<Self> {
        let mapping = mapping.checked()?;
        let table = quoted::<DB>(&TableName::parse(&mapping.table)?);
        let names: BTreeMap<_, _> = mapping.columns.iter().map(|(field, name)| (*field, DB::quote(name))).collect();
        let written = record::columns(&mapping);
        let read: Vec<_> = written.iter().filter(|column| record::is_read(column)).cloned().collect();
        let draft = Draft { table: &table, names: &names, mapping: &mapping };
        let epoch_table = mapping
            .epochs
            .as_ref()
            .map(|epochs| TableName::parse(&epochs.table))
            .transpose()?
            .map(|name| quoted::<DB>(&name));
        let from = draft.from::<DB>(epoch_table.as_deref());
        let is_live = draft.is_live::<DB>();
        let select = draft.select::<DB>(&read, &from);
        let by_id = |suffix: &str| {
            Text::<DB>::new(&select)
                .push(" WHERE s.")
                .push(draft.name(Field::Id))
                .push(" = ")
                .parameter()
                .push(suffix)
                .done()
        };
        let once = mapping.once.as_ref().map(once_plan::<DB>).transpose()?;
        let feed = mapping.feed.as_ref().map(feed_plan::<DB>).transpose()?;
        let epochs =
            mapping.epochs.as_ref().zip(epoch_table.as_deref()).map(|(epochs, table)| epoch_plan::<DB>(epochs, table));
        Ok(Self {
            live: if epochs.is_some() { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED },
            read_one: by_id(""),
            read_fresh: by_id(DB::FRESH_READ),
            lock_one: DB::ROW_LOCK.map(|lock| draft.lock_one::<DB>(lock)),
            in_network: DB::IN_NETWORK.filter(|_| mapping.address == AddressEncoding::Inet),
            prepared: true,
            insert: insert::<DB>(&table, &written),
            replace: draft.replace::<DB>(&written),
            advance: draft.advance::<DB>(),
            advance_at_once: draft.advance_at_once::<DB>(epoch_table.as_deref(), &is_live, &read),
            touch: draft.touch::<DB>(epoch_table.as_deref(), &is_live),
            touch_many: DB::HAS_ARRAYS.then(|| draft.touch_many::<DB>(epoch_table.as_deref(), &is_live)),
            remove_one: draft.remove_one::<DB>(),
            claim: DB::claim(&table).map(Into::into),
            epochs,
            once,
            feed,
            select,
            from,
            is_live,
            written,
            read,
            names,
            table,
            mapping,
        })
    }

    /// The quoted name of a column; empty where it is not mapped.
    pub(crate) fn name(&self, field: Field) -> &str {
        self.names.get(&field).map_or("", String::as_str)
    }

    /// Whether a field has a column.
    pub(crate) fn has(&self, field: Field) -> bool {
        self.names.contains_key(&field)
    }

    /// The values of [`Plan::touch`] that follow its first four.
    pub(crate) fn touch_values<DB: Dialect>(&self, now: DateTime<Utc>) -> Vec<Value> {
        if DB::TOUCH_FINDS_FIRST { vec![self.time(now); 2] } else { self.live_values(now) }
    }

    /// The values of [`Plan::is_live`].
    pub(crate) fn live_values(&self, now: DateTime<Utc>) -> Vec<Value> {
        vec![self.time(now); if self.epochs.is_some() { 3 } else { 2 }]
    }

    pub(crate) fn time(&self, time: DateTime<Utc>) -> Value {
        self.mapping.times.encode(time)
    }

    /// The value that a column is compared with by `<` or `>=`: the next whole millisecond, since what is stored are whole ones.
    pub(crate) fn bound(&self, time: DateTime<Utc>) -> Value {
        let whole = to_millis(time);
        self.time(if whole == time { whole } else { after(whole, Duration::from_millis(1)) })
    }

    pub(crate) fn user(&self, user: &UserId) -> Result<Value, Failure> {
        self.mapping.user_id.encode(user)
    }

    /// Reads a row of [`Plan::select`].
    pub(crate) fn snapshot(&self, row: Row) -> Result<Snapshot, Failure> {
        record::decode(&self.mapping, &self.read, row)
    }

    /// The values of [`Plan::insert`].
    pub(crate) fn values(&self, snapshot: &Snapshot) -> Result<Vec<Value>, Failure> {
        record::encode(&self.mapping, &self.written, &snapshot.record())
    }
}

/// Quotes a table's name.
pub(crate) fn quoted<DB: Dialect>(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", DB::quote(schema), DB::quote(&name.name)),
        None => DB::quote(&name.name),
    }
}

/// What the statements on the session table are made of.
struct Draft<'a> {
    table: &'a str,
    names: &'a BTreeMap<Field, String>,
    mapping: &'a SessionTable,
}

impl Draft<'_> {
    fn name(&self, field: Field) -> &str {
        self.names.get(&field).map_or("", String::as_str)
    }

    fn from<DB: Dialect>(&self, epoch_table: Option<&str>) -> String {
        let Some((epochs, table)) = self.mapping.epochs.as_ref().zip(epoch_table) else {
            return format!(" FROM {} AS s", self.table);
        };
        let subject = DB::quote(&epochs.subject);
        let user = DB::subject(&format!("s.{}", self.name(Field::UserId)), self.mapping.user_id);
        format!(
            " FROM {} AS s LEFT JOIN {table} AS u ON u.{subject} = {user} LEFT JOIN {table} AS g ON g.{subject} = ''",
            self.table
        )
    }

    fn select<DB: Dialect>(&self, read: &[Column], from: &str) -> String {
        let mut columns: Vec<_> = read.iter().map(|column| format!("s.{}", DB::quote(column.name()))).collect();
        if let Some(epochs) = &self.mapping.epochs {
            let (incarnation, version) = (DB::quote(&epochs.incarnation), DB::quote(&epochs.version));
            columns.extend([
                format!("u.{incarnation}"),
                format!("u.{version}"),
                format!("g.{incarnation}"),
                format!("g.{version}"),
            ]);
            columns.extend([&epochs.grace_until, &epochs.rotated_at].map(|name| format!("g.{}", DB::quote(name))));
        }
        format!("SELECT {}{from}", columns.join(", "))
    }

    /// The SQL of `Snapshot::state` being `Live`.
    fn is_live<DB: Dialect>(&self) -> String {
        let [revoked, expires, idle] =
            [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].map(|field| self.name(field));
        let mut condition = format!("s.{revoked} IS NULL AND s.{expires} > ? AND s.{idle} > ?");
        if let Some(epochs) = &self.mapping.epochs {
            let (incarnation, version) = (DB::quote(&epochs.incarnation), DB::quote(&epochs.version));
            let grace = DB::quote(&epochs.grace_until);
            let fields = [Field::UserIncarnation, Field::UserVersion, Field::GlobalIncarnation, Field::GlobalVersion];
            let [ui, uv, gi, gv] = fields.map(|field| self.name(field));
            condition = format!(
                "{condition} AND s.{ui} = u.{incarnation} AND s.{uv} = u.{version} AND s.{gi} = g.{incarnation} \
                AND (s.{gv} = g.{version} OR (s.{gv} + 1 = g.{version} AND g.{grace} > ?))"
            );
        }
        condition
    }

    fn lock_one<DB: Dialect>(&self, lock: &str) -> Arc<str> {
        let id = self.name(Field::Id);
        let text = Text::<DB>::new(format!("SELECT s.{id} FROM {} AS s WHERE s.{id} = ", self.table));
        text.parameter().push(lock).done()
    }

    fn remove_one<DB: Dialect>(&self) -> Arc<str> {
        let text = Text::<DB>::new(format!("DELETE FROM {} WHERE {} = ", self.table, self.name(Field::Id)));
        text.parameter().done()
    }

    fn replace<DB: Dialect>(&self, written: &[Column]) -> Arc<str> {
        let names: Vec<_> = written.iter().map(|column| DB::quote(column.name())).collect();
        let text = Text::<DB>::new(format!("UPDATE {} SET ", self.table)).assignments(names.iter().map(String::as_str));
        text.push(" WHERE ").push(self.name(Field::Id)).push(" = ").parameter().done()
    }

    fn advance<DB: Dialect>(&self) -> Arc<str> {
        let fields = [Field::Generation, Field::RotatedAt, Field::PreviousRotatedAt, Field::Version];
        let text =
            Text::<DB>::new(format!("UPDATE {} SET ", self.table)).assignments(fields.map(|field| self.name(field)));
        text.push(" WHERE ").push(self.name(Field::Id)).push(" = ").parameter().done()
    }

    /// Last activity, idle deadline, id, the time before which the stored activity lies, then the values of the live condition.
    fn touch<DB: Dialect>(&self, epoch_table: Option<&str>, is_live: &str) -> Arc<str> {
        let [last, idle, expires, id] =
            [Field::LastActivity, Field::IdleExpiresAt, Field::ExpiresAt, Field::Id].map(|field| self.name(field));
        let text =
            Text::<DB>::new(format!("UPDATE {} AS s{} SET {last} = ", self.table, DB::BY_PRIMARY_KEY)).parameter();
        let text = text.push(&format!(", {idle} = {}({idle}, {}({expires}, ", DB::GREATEST, DB::LEAST)).parameter();
        let text = text.push(&format!(")) WHERE s.{id} = ")).parameter().push(&format!(" AND s.{last} < ")).parameter();
        if DB::TOUCH_FINDS_FIRST {
            let [revoked, expires, idle] =
                [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].map(|field| self.name(field));
            let open = format!(" AND s.{revoked} IS NULL AND s.{expires} > ? AND s.{idle} > ?");
            return text.condition(&open).done();
        }
        self.and_lives(text, epoch_table, is_live).done()
    }

    /// Arrays of ids, last activities, idle deadlines and the times before which the stored activities lie, then the values of the live
    /// condition. The rows are locked in the order of their ids, as everywhere.
    fn touch_many<DB: Dialect>(&self, epoch_table: Option<&str>, is_live: &str) -> Arc<str> {
        let [last, idle, expires, id] =
            [Field::LastActivity, Field::IdleExpiresAt, Field::ExpiresAt, Field::Id].map(|field| self.name(field));
        let mut text = Text::<DB>::new(format!(
            "WITH held AS (SELECT s.{id} AS id, b.seen, b.idle, b.stale FROM {} AS s JOIN unnest(",
            self.table
        ));
        for number in 0..4 {
            text = text.push(if number == 0 { "" } else { ", " }).parameter();
        }
        let text = text.push(&format!(
            ") AS b (id, seen, idle, stale) ON s.{id} = b.id WHERE s.{last} < b.stale ORDER BY s.{id} FOR UPDATE OF s) \
            UPDATE {} AS s SET {last} = held.seen, {idle} = {}(s.{idle}, {}(s.{expires}, held.idle)) \
            FROM held WHERE s.{id} = held.id AND s.{last} < held.stale",
            self.table,
            DB::GREATEST,
            DB::LEAST
        ));
        self.and_lives(text, epoch_table, is_live).done()
    }

    /// Id, generation, the next generation and its time are the parameters, then the values of the live condition.
    fn advance_at_once<DB: Dialect>(
        &self,
        epoch_table: Option<&str>,
        is_live: &str,
        read: &[Column],
    ) -> Option<Arc<str>> {
        let returned = DB::returned(self.table)?;
        let fields = [Field::Generation, Field::RotatedAt, Field::PreviousRotatedAt, Field::Version, Field::Id];
        let [generation, rotated_at, previous, version, id] = fields.map(|field| self.name(field));
        let floor = self.name(Field::Floor);
        let text = Text::<DB>::new(format!(
            "UPDATE {} AS s SET {previous} = {rotated_at}, {version} = {version} + 1, {generation} = ",
            self.table
        ));
        let text = text.parameter().push(&format!(", {rotated_at} = ")).parameter();
        let text =
            text.push(&format!(" WHERE s.{id} = ")).parameter().push(&format!(" AND s.{generation} = ")).parameter();
        let text = text.push(&format!(" AND s.{floor} <= s.{generation}"));
        let mut columns: Vec<_> = read.iter().map(|column| DB::quote(column.name())).collect();
        if let Some((epochs, table)) = self.mapping.epochs.as_ref().zip(epoch_table) {
            let subject = DB::quote(&epochs.subject);
            let user = DB::subject(&format!("{returned}.{}", self.name(Field::UserId)), self.mapping.user_id);
            let of = |whose: &str, name: &str| {
                format!("(SELECT e.{} FROM {table} AS e WHERE e.{subject} = {whose})", DB::quote(name))
            };
            columns.extend([&epochs.incarnation, &epochs.version].map(|name| of(&user, name)));
            let global = [&epochs.incarnation, &epochs.version, &epochs.grace_until, &epochs.rotated_at];
            columns.extend(global.map(|name| of("''", name)));
        }
        Some(self.and_lives(text, epoch_table, is_live).push(" RETURNING ").push(&columns.join(", ")).done())
    }

    /// The condition that the session lives, for a statement that joins no epochs.
    fn and_lives<DB: Dialect>(&self, text: Text<DB>, epoch_table: Option<&str>, is_live: &str) -> Text<DB> {
        let Some((epochs, table)) = self.mapping.epochs.as_ref().zip(epoch_table) else {
            return text.push(" AND ").condition(is_live);
        };
        let subject = DB::quote(&epochs.subject);
        let user = DB::subject(&format!("s.{}", self.name(Field::UserId)), self.mapping.user_id);
        let joined = format!("{table} AS u JOIN {table} AS g ON g.{subject} = ''");
        text.push(&format!(" AND EXISTS (SELECT 1 FROM {joined} WHERE u.{subject} = {user} AND "))
            .condition(is_live)
            .push(")")
    }
}

fn insert<DB: Dialect>(table: &str, written: &[Column]) -> Arc<str> {
    let names: Vec<_> = written.iter().map(|column| DB::quote(column.name())).collect();
    let mut text = Text::<DB>::new(format!("INSERT INTO {table} ({}) VALUES (", names.join(", ")));
    for number in 0..names.len() {
        text = text.push(if number == 0 { "" } else { ", " }).parameter();
    }
    text.push(")").done()
}
