//! The statements on the tables of values remembered once and of announcements.

use std::sync::Arc;

use session_manager_core::Result;

use crate::dialect::Dialect;
use crate::identifier::TableName;
use crate::plan::quoted;
use crate::side_config::{FeedTable, OnceTable};
use crate::statement::Text;

/// The statements on the table of values remembered once.
#[derive(Clone, Debug)]
pub(crate) struct OncePlan {
    /// Remembers (until, key) again if it was remembered until the third parameter at most, where one statement does not do both.
    pub(crate) again: Option<Arc<str>>,
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
    /// Both in one statement, where the database can.
    pub(crate) sweep: Option<Arc<str>>,
}

impl Garbage {
    fn of<DB: Dialect>(table: &str, key: &str, time: &str) -> Self {
        let find = Text::<DB>::new(format!("SELECT {key} FROM {table} WHERE {time} <= ")).parameter().push(" LIMIT ");
        let find = find.parameter().push(DB::ROW_LOCK_SKIPPING).done();
        let sweep = DB::RETURNS.then(|| {
            let text =
                Text::<DB>::new(format!("WITH old AS (SELECT {key} AS k FROM {table} WHERE {time} <= ")).parameter();
            let text = text.push(" LIMIT ").parameter().push(DB::ROW_LOCK_SKIPPING);
            text.push(&format!(") DELETE FROM {table} WHERE {key} IN (SELECT old.k FROM old)")).done()
        });
        Self { find, remove: format!("DELETE FROM {table} WHERE {key}"), sweep }
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
    let again = replace.is_none().then(|| {
        let again = Text::<DB>::new(format!("UPDATE {table} SET {until} = ")).parameter();
        again.push(&format!(" WHERE {key} = ")).parameter().push(&format!(" AND {until} <= ")).parameter().done()
    });
    let remember = text.push(&replace.unwrap_or_default()).done();
    Ok(OncePlan { again, remember, garbage: Garbage::of::<DB>(&table, &key, &until) })
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
