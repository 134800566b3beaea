//! What a statement returned.

use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, MySql, Postgres, Row as _, Sqlite, Type};

/// A row.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
    MySql(MySqlRow),
}

/// What every one of the databases can give.
pub(crate) trait Readable:
    for<'r> Decode<'r, Sqlite>
    + Type<Sqlite>
    + for<'r> Decode<'r, Postgres>
    + Type<Postgres>
    + for<'r> Decode<'r, MySql>
    + Type<MySql>
{
}

impl<T> Readable for T where
    T: for<'r> Decode<'r, Sqlite>
        + Type<Sqlite>
        + for<'r> Decode<'r, Postgres>
        + Type<Postgres>
        + for<'r> Decode<'r, MySql>
        + Type<MySql>
{
}

/// What is read from a whole row.
pub(crate) trait FromRow: Sized {
    fn from_row(row: &Row) -> sqlx::Result<Self>;
}

impl Row {
    /// The value of a column. Whole numbers are read as `i64`: other widths are not the same everywhere.
    pub(crate) fn try_get<T: Readable>(&self, column: &str) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
            Self::MySql(row) => row.try_get(column),
        }
    }

    /// The value of the only column.
    pub(crate) fn only<T: Readable>(&self) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(0),
            Self::Postgres(row) => row.try_get(0),
            Self::MySql(row) => row.try_get(0),
        }
    }

    /// The whole row.
    pub(crate) fn read<T: FromRow>(&self) -> sqlx::Result<T> {
        T::from_row(self)
    }
}
