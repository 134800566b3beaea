//! The rows of the reference tables, found and lost behind the storage's back.

use sqlx::Pool;

/// Kind, number of the table, column that names the row, and which rows of the table are of the kind.
const KINDS: [(&str, usize, &str, &str); 5] = [
    ("session row", 0, "id", "1 = 1"),
    ("user epoch row", 1, "subject", "subject <> ''"),
    ("global epoch row", 1, "subject", "subject = ''"),
    ("once row", 2, "once_key", "1 = 1"),
    ("feed row", 3, "seq", "1 = 1"),
];

/// The rows of the tables of sessions, epochs, remembered values and notices.
pub(crate) struct Rows<DB: sqlx::Database> {
    pub(crate) pool: Pool<DB>,
    pub(crate) tables: [&'static str; 4],
}

impl<DB: sqlx::Database> Rows<DB> {
    pub(crate) const NAMES: [&str; 5] = [KINDS[0].0, KINDS[1].0, KINDS[2].0, KINDS[3].0, KINDS[4].0];

    /// The words of a statement about a kind: table, condition, and the column as text.
    pub(crate) fn words(&self, kind: &str, as_text: &str) -> (&'static str, &'static str, String) {
        let (_, table, column, which) = KINDS.into_iter().find(|(known, ..)| *known == kind).unwrap();
        (self.tables[table], which, as_text.replace("COLUMN", column))
    }
}

/// Makes the rows of a database a suite's to lose. A column of any type becomes text that names its value.
macro_rules! rows {
    ($database:ty, $as_text:literal) => {
        #[async_trait::async_trait]
        impl session_manager_testkit::conformance::Evict for $crate::rows::Rows<$database> {
            fn kinds(&self) -> &'static [&'static str] {
                &Self::NAMES
            }

            async fn kept(&self) -> Vec<session_manager_testkit::conformance::Kept> {
                let mut kept = Vec::new();
                for kind in Self::NAMES {
                    let (table, which, column) = self.words(kind, $as_text);
                    let sql = sqlx::AssertSqlSafe(format!("SELECT {column} FROM {table} WHERE {which}"));
                    let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap();
                    let kept_of = |name| session_manager_testkit::conformance::Kept::new(kind, name);
                    kept.extend(names.into_iter().map(kept_of));
                }
                kept
            }

            async fn evict(&self, record: &session_manager_testkit::conformance::Kept) {
                let (table, which, column) = self.words(record.kind, $as_text);
                let name = record.name.replace('\'', "''");
                let sql = format!("DELETE FROM {table} WHERE {which} AND {column} = '{name}'");
                let lost = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&self.pool).await.unwrap().rows_affected();
                assert_eq!(lost, 1, "{record:?}");
            }
        }
    };
}

pub(crate) use rows;
