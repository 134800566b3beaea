//! How tables are declared in PostgreSQL.

use sqlx::PgConnection;

use crate::schema::{LiveColumn, LiveIndex, LiveTable, merging};

const COLUMNS: &str = "SELECT a.attname::text,
  format_type(COALESCE(NULLIF(t.typbasetype, 0), a.atttypid), CASE WHEN t.typbasetype = 0 THEN a.atttypmod ELSE t.typtypmod END),
  a.attnotnull OR t.typnotnull, a.atthasdef OR a.attidentity <> '', c.collname::text, COALESCE(c.collisdeterministic, true)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Expressions have no name, and match no column of ours.
const INDEXES: &str = "SELECT i.indisunique, i.indpred IS NOT NULL,
  ARRAY(SELECT COALESCE(a.attname::text, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
    WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_index i WHERE i.indrelid = $1::text::regclass AND i.indisvalid";

pub(super) async fn describe(
    connection: &mut PgConnection,
    schema: Option<&str>,
    table: &str,
    compared: &[String],
) -> sqlx::Result<Option<LiveTable>> {
    let name = schema.map_or_else(|| format!("\"{table}\""), |schema| format!("\"{schema}\".\"{table}\""));
    // Nothing is kept prepared: behind a transaction pooler it would be kept elsewhere.
    let exists = sqlx::query_as::<_, (bool,)>("SELECT to_regclass($1) IS NOT NULL").persistent(false);
    if !exists.bind(&name).fetch_one(&mut *connection).await?.0 {
        return Ok(None);
    }
    let mut live = LiveTable::default();
    let rows: Vec<(String, String, bool, bool, Option<String>, bool)> =
        sqlx::query_as(COLUMNS).persistent(false).bind(&name).fetch_all(&mut *connection).await?;
    for (name, declared, not_null, has_default, collation, deterministic) in rows {
        let merges = compared.contains(&name) && !deterministic;
        let collation = collation.filter(|_| merges).as_deref().map(merging);
        live.columns.push(LiveColumn { name, declared, not_null, has_default, collation });
    }
    let rows: Vec<(bool, bool, Vec<String>)> =
        sqlx::query_as(INDEXES).persistent(false).bind(&name).fetch_all(&mut *connection).await?;
    for (unique, partial, columns) in rows {
        live.indexes.push(LiveIndex { columns, unique, partial });
    }
    Ok(Some(live))
}
