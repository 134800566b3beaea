//! How tables are declared in MySQL and MariaDB.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, MySql, MySqlConnection};

use super::Dialect;
use crate::identifier::checked;
use crate::schema::{LiveColumn, LiveIndex, LiveTable, merging};
use crate::value::{Row, Value};

const COLUMNS: &str = "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE = 'NO', \
    COLUMN_DEFAULT IS NOT NULL OR EXTRA <> '', COLLATION_NAME, CHARACTER_SET_NAME \
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

const INDEXES: &str = "SELECT INDEX_NAME, NON_UNIQUE = 0, COLUMN_NAME, SUB_PART IS NULL FROM information_schema.STATISTICS \
    WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX";

pub(super) async fn describe(
    connection: &mut MySqlConnection,
    schema: Option<&str>,
    table: &str,
    compared: &[String],
) -> sqlx::Result<Option<LiveTable>> {
    let place = || vec![Value::from(schema.map(str::to_owned)), table.into()];
    let rows = MySql::fetch(connection, COLUMNS.into(), place(), false).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut live = LiveTable::default();
    for mut row in rows {
        let (name, declared) = (text(&mut row)?, text(&mut row)?);
        let (not_null, has_default) = (truth(&mut row), truth(&mut row));
        let (collation, characters) = (text(&mut row)?, text(&mut row)?);
        let compared = compared.iter().any(|column| column.eq_ignore_ascii_case(&name));
        let collation = problem(connection, &collation, &characters, compared).await?;
        live.columns.push(LiveColumn { name, declared, not_null, has_default, collation });
    }
    let mut indexes: BTreeMap<String, LiveIndex> = BTreeMap::new();
    for mut row in MySql::fetch(connection, INDEXES.into(), place(), false).await? {
        let (name, unique, column, whole) = (text(&mut row)?, truth(&mut row), text(&mut row)?, truth(&mut row));
        let index = indexes.entry(name);
        let index = index.or_insert_with(|| LiveIndex { columns: Vec::new(), unique, partial: false });
        // The beginning of a column tells no two columns apart; an expression has no name.
        index.columns.push(if whole { column } else { String::new() });
    }
    live.indexes = indexes.into_values().collect();
    Ok(Some(live))
}

/// What is wrong with a text column's collation: whether it pads by what it does, since the two servers name that differently. Any but a
/// binary one also merges texts that Unicode holds to be the same, an `é` of one character and one of two, and ignores some characters.
async fn problem(
    connection: &mut MySqlConnection,
    collation: &str,
    characters: &str,
    compared: bool,
) -> sqlx::Result<Option<String>> {
    if collation.is_empty() {
        return Ok(None);
    }
    if !compared {
        let narrow = characters != "utf8mb4";
        return Ok(narrow.then(|| {
            format!("{collation} of character set {characters}, which lacks most characters: utf8mb4 is needed")
        }));
    }
    if !collation.ends_with("_bin") && collation != "binary" {
        return Ok(Some(merging(collation)));
    }
    let (Ok(collation), Ok(characters)) = (checked(collation), checked(characters)) else { return Ok(None) };
    let text = |text: &str| format!("CONVERT('{text}' USING {characters}) COLLATE {collation}");
    let sql = format!("SELECT {} = {}", text("a"), text("a "));
    let pads: bool = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await?;
    Ok(pads.then(|| merging(&collation)))
}

/// A text, which one of the servers gives as bytes; NULL is empty.
fn text(row: &mut Row) -> sqlx::Result<String> {
    let value = row.next().and_then(Value::present).map(|value| value.text("information_schema"));
    value.transpose().map(Option::unwrap_or_default).map_err(|_| sqlx::Error::Protocol("no text".to_owned()))
}

fn truth(row: &mut Row) -> bool {
    matches!(row.next(), Some(Value::Int(number)) if number != 0)
}
