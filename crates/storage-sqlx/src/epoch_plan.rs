//! The statements on the records of epochs.

use std::sync::Arc;

use session_manager_core::UserId;

use crate::dialect::Dialect;
use crate::epoch_names::{EpochNames, UserNames};
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::Text;
use crate::value::{Kind, Value};

/// The statements on the records of epochs.
#[derive(Clone, Debug)]
pub(crate) struct EpochPlan {
    pub(crate) user: RecordPlan,
    pub(crate) global: RecordPlan,
    /// Reads (whose, incarnation, version, grace, rotation, seq) of everybody (0) and of a user (1).
    pub(crate) read: Arc<str>,
    /// The same inside the application's transaction, as they are now.
    pub(crate) read_fresh: Arc<str>,
    /// The same of everybody alone.
    pub(crate) read_global: Arc<str>,
    pub(crate) read_global_fresh: Arc<str>,
    /// The user as the session table holds it, the values of the live condition and the user's key: as [`EpochPlan::read`], and how many
    /// sessions of the user live.
    pub(crate) room: Arc<str>,
}

/// Whose record it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    User(&'a UserId),
    Everybody,
}

/// The statements on one record. Where the database returns what it wrote, those that say so end with (incarnation, version, seq) of the
/// record and (incarnation, version, grace, rotation) of everybody's.
#[derive(Clone, Debug)]
pub(crate) struct RecordPlan {
    /// Raises `seq` of the record, if there is one: takes the lock.
    pub(crate) lock: Arc<str>,
    /// Creates the record or raises its `seq`: takes the lock. Its values are [`EpochPlan::begin_values`].
    pub(crate) enter: Arc<str>,
    /// The same, returning where the database can.
    pub(crate) enter_returning: Arc<str>,
    /// Creates the record if there is none; the values are the same.
    pub(crate) create: Arc<str>,
    /// Writes the record.
    pub(crate) write: Arc<str>,
    /// Creates the record in its second version or raises it, returning.
    pub(crate) raise: Arc<str>,
    /// Raises the record if there is one, returning.
    pub(crate) raise_known: Arc<str>,
    /// The same if it has the version that is the last parameter.
    pub(crate) raise_expected: Arc<str>,
}

impl EpochPlan {
    /// `counted`: the columns and joins of a count of live sessions.
    pub(crate) fn new<DB: Dialect>(names: &EpochNames, live: &str) -> Self {
        let of_everybody = own_records::<DB>(names, true);
        let user = names
            .users
            .as_ref()
            .map_or_else(|| own_records::<DB>(names, false), |users| user_records::<DB>(names, users));
        Self {
            user,
            global: of_everybody,
            read: read::<DB>(names, "", None),
            read_fresh: read::<DB>(names, DB::FRESH_READ, None),
            read_global: read_global::<DB>(names, ""),
            read_global_fresh: read_global::<DB>(names, DB::FRESH_READ),
            room: read::<DB>(names, "", Some(live)),
        }
    }

    pub(crate) const fn record(&self, whose: Whose<'_>) -> &RecordPlan {
        match whose {
            Whose::User(_) => &self.user,
            Whose::Everybody => &self.global,
        }
    }
}

impl Plan {
    /// What a record is known by.
    pub(crate) fn epoch_key(&self, whose: Whose<'_>) -> Result<Value, Failure> {
        match whose {
            Whose::User(user) if self.mapping.users.is_some() => self.user(user),
            Whose::User(user) => Ok(user.as_str().into()),
            Whose::Everybody => Ok("".into()),
        }
    }

    fn in_users_table(&self, whose: Whose<'_>) -> bool {
        self.mapping.users.is_some() && matches!(whose, Whose::User(_))
    }

    /// The values of [`RecordPlan::enter`] and [`RecordPlan::create`].
    pub(crate) fn begin_values(&self, whose: Whose<'_>, incarnation: u64) -> Result<Vec<Value>, Failure> {
        let key = self.epoch_key(whose)?;
        Ok(if self.in_users_table(whose) { vec![incarnation.into(), key] } else { vec![key, incarnation.into()] })
    }

    /// The values of [`RecordPlan::raise`].
    pub(crate) fn raise_values(
        &self,
        whose: Whose<'_>,
        incarnation: u64,
        times: [Value; 2],
    ) -> Result<Vec<Value>, Failure> {
        let mut values = self.begin_values(whose, incarnation)?;
        if !self.in_users_table(whose) {
            values.extend(times);
        }
        Ok(values)
    }

    /// The values of [`RecordPlan::raise_known`]; `times` are grace and rotation.
    pub(crate) fn raise_known_values(&self, whose: Whose<'_>, times: [Value; 2]) -> Result<Vec<Value>, Failure> {
        let key = self.epoch_key(whose)?;
        let times = if self.in_users_table(whose) { Vec::new() } else { times.into() };
        Ok(times.into_iter().chain([key]).collect())
    }

    /// No time of this mapping's encoding.
    pub(crate) fn no_time(&self) -> Value {
        let kind: Kind = self.mapping.times.kind();
        Value::Null(kind)
    }
}

/// The records in the epoch table.
fn own_records<DB: Dialect>(names: &EpochNames, global: bool) -> RecordPlan {
    let EpochNames { table, subject, incarnation, version, grace_until, rotated_at, seq, .. } = names;
    // In the clause a table goes by its bare name.
    let bare = table.rsplit('.').next().unwrap_or(table);
    let create = || {
        let text =
            Text::<DB>::new(format!("INSERT INTO {table} ({subject}, {incarnation}, {version}, {seq}) VALUES ("));
        text.parameter().push(", ").parameter().push(", 1, 1)")
    };
    let count = format!("{seq} = {bare}.{seq} + 1");
    let enter = || create().push(&DB::on_conflict_update(table, subject, &count));
    let columns = [incarnation, version, seq].map(String::as_str);
    let everybodys =
        if global { [incarnation, version, grace_until, rotated_at].map(Clone::clone) } else { names.global_scalars() };
    let returning = |text: Text<DB>| returning(text, columns, &everybodys);
    let write = Text::<DB>::new(format!("UPDATE {table} SET ")).assignments([
        incarnation.as_str(),
        version,
        grace_until,
        rotated_at,
    ]);
    let raise = Text::<DB>::new(format!(
        "INSERT INTO {table} ({subject}, {incarnation}, {grace_until}, {rotated_at}, {version}, {seq}) VALUES ("
    ));
    let raise = raise.parameter().push(", ").parameter().push(", ").parameter().push(", ").parameter().push(", 2, 1)");
    let times = [grace_until, rotated_at].map(|name| format!("{name} = {}", DB::excluded(name))).join(", ");
    let raise = raise.push(&DB::on_conflict_update(
        table,
        subject,
        &format!("{version} = {bare}.{version} + 1, {times}, {count}"),
    ));
    let known = || {
        let text = Text::<DB>::new(format!("UPDATE {table} SET {version} = {version} + 1, {seq} = {seq} + 1, "));
        let text = text.assignments([grace_until.as_str(), rotated_at]);
        text.push(&format!(" WHERE {subject} = ")).parameter()
    };
    RecordPlan {
        lock: Text::<DB>::new(format!("UPDATE {table} SET {seq} = {seq} + 1 WHERE {subject} = ")).parameter().done(),
        enter: enter().done(),
        enter_returning: returning(enter()),
        create: create().push(&DB::on_conflict_keep(table, subject, seq)).done(),
        write: write.push(&format!(", {seq} = {seq} + 1 WHERE {subject} = ")).parameter().done(),
        raise: returning(raise),
        raise_known: returning(known()),
        raise_expected: returning(known().push(&format!(" AND {version} = ")).parameter()),
    }
}

/// The users' records in the application's users table, whose rows the application makes.
fn user_records<DB: Dialect>(names: &EpochNames, users: &UserNames) -> RecordPlan {
    let UserNames { table, key, incarnation, version, seq } = users;
    let count = format!("{seq} = COALESCE({seq}, 0) + 1");
    let update = |set: &str| Text::<DB>::new(format!("UPDATE {table} SET {set}"));
    let keyed = |text: Text<DB>| text.push(&format!(" WHERE {key} = ")).parameter();
    // MySQL assigns from left to right: what asks for the incarnation stands before it.
    let begin = |set: &str| {
        keyed(update(set).push(&format!(", {incarnation} = COALESCE({incarnation}, ")).parameter().push(")"))
    };
    let enter = || begin(&format!("{count}, {version} = CASE WHEN {incarnation} IS NULL THEN 1 ELSE {version} END"));
    let raise = begin(&format!("{count}, {version} = CASE WHEN {incarnation} IS NULL THEN 2 ELSE {version} + 1 END"));
    let there = format!(" AND {incarnation} IS NOT NULL");
    let known = || keyed(update(&format!("{version} = {version} + 1, {count}"))).push(&there);
    let columns = [incarnation, version, seq].map(String::as_str);
    let everybodys = names.global_scalars();
    let returning = |text: Text<DB>| returning(text, columns, &everybodys);
    let create = keyed(update(&format!("{count}, {version} = 1, {incarnation} = ")).parameter());
    RecordPlan {
        lock: keyed(update(&count)).push(&there).done(),
        enter: enter().done(),
        enter_returning: returning(enter()),
        create: create.push(&format!(" AND {incarnation} IS NULL")).done(),
        write: keyed(update(&format!("{count}, ")).assignments([incarnation.as_str(), version])).done(),
        raise: returning(raise),
        raise_known: returning(known()),
        raise_expected: returning(known().push(&format!(" AND {version} = ")).parameter()),
    }
}

fn returning<DB: Dialect>(text: Text<DB>, columns: [&str; 3], everybodys: &[String]) -> Arc<str> {
    if !DB::RETURNS {
        return text.done();
    }
    text.push(&format!(" RETURNING {}, {}", columns.join(", "), everybodys.join(", "))).done()
}

fn read<DB: Dialect>(names: &EpochNames, suffix: &str, live: Option<&str>) -> Arc<str> {
    let EpochNames { table, subject, incarnation, version, grace_until, rotated_at, seq, users } = names;
    let counted = |text: Text<DB>, before: &str, after: &str| match live {
        Some(live) => text.push(&format!(", {before}(")).condition(live).push(&format!("){after}")),
        None => text,
    };
    let Some(users) = users else {
        let columns = format!("{incarnation}, {version}, {grace_until}, {rotated_at}, {seq}");
        let text = Text::<DB>::new(format!("SELECT CASE WHEN {subject} = '' THEN 0 ELSE 1 END, {columns}"));
        let text = counted(text, &format!("CASE WHEN {subject} = '' THEN NULL ELSE "), " END");
        let text = text.push(&format!(" FROM {table} WHERE {subject} IN ('', ")).parameter();
        return text.push(")").push(suffix).done();
    };
    let UserNames { table: users, key, incarnation: ui, version: uv, seq: us } = users;
    let (open, close) = if suffix.is_empty() { ("", "") } else { ("(", ")") };
    let unknown = if live.is_some() { ", NULL" } else { "" };
    let text = Text::<DB>::new(format!(
        "{open}SELECT 0, {incarnation}, {version}, {grace_until}, {rotated_at}, {seq}{unknown} FROM {table} WHERE {subject} = ''{suffix}{close} \
        UNION ALL {open}SELECT 1, {ui}, {uv}, NULL, NULL, {us}"
    ));
    let text = counted(text, "", "").push(&format!(" FROM {users} WHERE {key} = ")).parameter();
    text.push(suffix).push(close).done()
}

fn read_global<DB: Dialect>(names: &EpochNames, suffix: &str) -> Arc<str> {
    let EpochNames { table, subject, incarnation, version, grace_until, rotated_at, seq, .. } = names;
    let columns = format!("{incarnation}, {version}, {grace_until}, {rotated_at}, {seq}");
    Text::<DB>::new(format!("SELECT 0, {columns} FROM {table} WHERE {subject} = ''{suffix}")).done()
}
