//! The tables of the sessions in PostgreSQL, MySQL and MariaDB: in a database of their own, or in the accounts'.

use crate::sql::Schema;

const TABLE: &str = "_session_manager_migrations";

pub(crate) const POSTGRES: Schema =
    Schema { table: TABLE, steps: &[(1, "sessions", include_str!("../../migrations/sessions/postgres.sql"))] };
pub(crate) const MYSQL: Schema =
    Schema { table: TABLE, steps: &[(1, "sessions", include_str!("../../migrations/sessions/mysql.sql"))] };
