//! The tables of a database that the sessions have to themselves.

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Acquire, SqlSafeStr as _};

/// Our migrations are kept apart from those of anybody else in that database.
const TABLE: &str = "_session_manager_migrations";

/// The schema in one database's own words.
pub(super) struct Schema(&'static str);

pub(super) const POSTGRES: Schema = Schema(include_str!("../../migrations/sessions/postgres.sql"));
pub(super) const MYSQL: Schema = Schema(include_str!("../../migrations/sessions/mysql.sql"));

impl Schema {
    /// Makes what is missing. Of several servers that start at once one does it, and the others wait.
    pub(super) async fn apply<'a, A>(&self, database: A) -> Result<(), MigrateError>
    where
        A: Acquire<'a>,
        <A::Connection as std::ops::Deref>::Target: Migrate,
    {
        let migration = Migration::new(1, "sessions".into(), MigrationType::Simple, self.0.into_sql_str(), false);
        let mut migrator = Migrator::with_migrations(vec![migration]);
        migrator.dangerous_set_table_name(TABLE);
        migrator.run(database).await
    }

    #[cfg(test)]
    pub(super) const fn text(&self) -> &'static str {
        self.0
    }
}
