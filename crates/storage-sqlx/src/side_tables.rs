//! The statements on the tables beside the sessions: epochs, values remembered once, announcements.

use std::sync::Arc;

use session_manager_core::Result;

use crate::config::{EpochTable, FeedTable, OnceTable};
use crate::dialect::Dialect;
use crate::identifier::TableName;
use crate::plan::quoted;
use crate::statement::Text;

/// The statements on the epoch table.
#[derive(Clone, Debug)]
pub(crate) struct EpochPlan {
    /// Creates the record of (subject, incarnation) or raises its `seq`: takes the lock.
    pub(crate) lock_or_create: Arc<str>,
    /// Raises `seq` of a subject's record, if there is one: takes the lock.
    pub(crate) lock: Arc<str>,
    /// Creates the record of (subject, incarnation) if there is none.
    pub(crate) create: Arc<str>,
    /// Reads the records of a subject and of everybody.
    pub(crate) read: Arc<str>,
    /// The same inside the application's transaction, as they are now.
    pub(crate) read_fresh: Arc<str>,
    /// Writes incarnation, version, grace and rotation time of a subject.
    pub(crate) write: Arc<str>,
}

/// The statements on the table of values remembered once.
#[derive(Clone, Debug)]
pub(crate) struct OncePlan {
    /// Forgets (key, time) if it was remembered until then at most, where one statement does not do both.
    pub(crate) forget: Option<Arc<str>>,
    /// Remembers (key, until), if it was not remembered at the third parameter.
    pub(crate) remember: Arc<str>,
    pub(crate) garbage: Garbage,
}

/// The statements on the table of announcements.
#[derive(Clone, Debug)]
pub(crate) struct FeedPlan {
    /// `INSERT INTO … VALUES `, and what stands for each row.
    pub(crate) announce: (String, String),
    /// Reads (seq, subject, phase, at) after the first parameter, at most the second. With marks (mark, settled, seq, …) after the place that
    /// is the mark, the mark again and the seq, at most the fourth.
    pub(crate) since: Arc<str>,
    pub(crate) garbage: Garbage,
}

/// How rows whose time is over are found and removed.
#[derive(Clone, Debug)]
pub(crate) struct Garbage {
    /// Reads the keys of the rows at most as old as the first parameter, at most the second.
    pub(crate) find: Arc<str>,
    /// `DELETE FROM … WHERE key`.
    pub(crate) remove: String,
}

impl Garbage {
    fn of<DB: Dialect>(table: &str, key: &str, time: &str) -> Self {
        let find = Text::<DB>::new(format!("SELECT {key} FROM {table} WHERE {time} <= ")).parameter().push(" LIMIT ");
        let find = find.parameter().push(DB::ROW_LOCK_SKIPPING).done();
        Self { find, remove: format!("DELETE FROM {table} WHERE {key}") }
    }
}

pub(crate) fn epoch_plan<DB: Dialect>(epochs: &EpochTable, table: &str) -> EpochPlan {
    let names =
        [&epochs.subject, &epochs.incarnation, &epochs.version, &epochs.seq, &epochs.grace_until, &epochs.rotated_at];
    let [subject, incarnation, version, seq, grace_until, rotated_at] = names.map(|name| DB::quote(name));
    let create = || {
        let text =
            Text::<DB>::new(format!("INSERT INTO {table} ({subject}, {incarnation}, {version}, {seq}) VALUES ("));
        text.parameter().push(", ").parameter().push(", 1, 1)")
    };
    let bare = table.rsplit('.').next().unwrap_or(table);
    let raise = format!("{seq} = {bare}.{seq} + 1");
    let read = |suffix| {
        let columns = format!("{subject}, {incarnation}, {version}, {grace_until}, {rotated_at}, {seq}");
        let text = Text::<DB>::new(format!("SELECT {columns} FROM {table} WHERE {subject} IN ('', "));
        text.parameter().push(")").push(suffix).done()
    };
    let write = Text::<DB>::new(format!("UPDATE {table} SET ")).assignments([
        incarnation.as_str(),
        &version,
        &grace_until,
        &rotated_at,
    ]);
    EpochPlan {
        lock_or_create: create().push(&DB::on_conflict_update(table, &subject, &raise)).done(),
        lock: Text::<DB>::new(format!("UPDATE {table} SET {seq} = {seq} + 1 WHERE {subject} = ")).parameter().done(),
        create: create().push(&DB::on_conflict_keep(table, &subject, &seq)).done(),
        read: read(""),
        read_fresh: read(DB::FRESH_READ),
        write: write.push(&format!(", {seq} = {seq} + 1 WHERE {subject} = ")).parameter().done(),
    }
}

pub(crate) fn once_plan<DB: Dialect>(once: &OnceTable) -> Result<OncePlan> {
    let table = quoted::<DB>(&TableName::parse(&once.table)?);
    let (key, until) = (DB::quote(&once.key), DB::quote(&once.until));
    let text = Text::<DB>::new(format!("INSERT INTO {table} ({key}, {until}) VALUES ("))
        .parameter()
        .push(", ")
        .parameter()
        .push(")");
    let replace = DB::on_conflict_replace_if(&table, &key, &until, &DB::placeholder(3));
    let forget = replace.is_none().then(|| {
        let forget = Text::<DB>::new(format!("DELETE FROM {table} WHERE {key} = ")).parameter();
        forget.push(&format!(" AND {until} <= ")).parameter().done()
    });
    let remember = text.push(&replace.unwrap_or_default()).done();
    Ok(OncePlan { forget, remember, garbage: Garbage::of::<DB>(&table, &key, &until) })
}

pub(crate) fn feed_plan<DB: Dialect>(feed: &FeedTable) -> Result<FeedPlan> {
    let table = quoted::<DB>(&TableName::parse(&feed.table)?);
    let names = [&feed.seq, &feed.subject, &feed.phase, &feed.at, &feed.mark];
    let [seq, subject, phase, at, mark] = names.map(|name| DB::quote(name));
    let columns = format!("{seq}, {subject}, {phase}, {at}");
    let (announce, since) = match DB::MARK {
        None => {
            let since = Text::<DB>::new(format!("SELECT {columns} FROM {table} WHERE {seq} > ")).parameter();
            let since = since.push(&format!(" ORDER BY {seq} LIMIT ")).parameter();
            ((format!("INSERT INTO {table} ({subject}, {phase}, {at}) VALUES "), "(?, ?, ?)".to_owned()), since)
        }
        Some(sql) => {
            let (read, bind) = sql.text.unwrap_or_default();
            // Qualified, so that the order is the mark's and not that of the text it is read as.
            let columns = [&seq, &subject, &phase, &at].map(|name| format!("f.{name}")).join(", ");
            let since = Text::<DB>::new(format!(
                "SELECT f.{mark}{read} AS mark_read, {}, {columns} FROM {table} AS f WHERE f.{mark} >= ",
                sql.settled
            ));
            let since = since.parameter().push(&format!("{bind} AND (f.{mark} > ")).parameter();
            let since = since.push(&format!("{bind} OR f.{seq} > ")).parameter();
            let since = since.push(&format!(") ORDER BY f.{mark}, f.{seq} LIMIT ")).parameter();
            let announce = format!("INSERT INTO {table} ({mark}, {subject}, {phase}, {at}) VALUES ");
            ((announce, format!("({}, ?, ?, ?)", sql.own)), since)
        }
    };
    Ok(FeedPlan { announce, since: since.done(), garbage: Garbage::of::<DB>(&table, &seq, &at) })
}
