//! The conformance suite on PostgreSQL, also behind pgbouncer, and on MariaDB, in several mappings.

use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_services::{Service, url};
use session_manager_storage_sqlx::{
    AddressEncoding, EpochTable, FeedTable, IdEncoding, JsonEncoding, OnceTable, SessionTable, SqlxStorage,
    TimeEncoding, UserEpochs, reference_ddl,
};
use session_manager_testkit::{
    storage_conformance, storage_defects, storage_evictions, storage_histories, storage_races,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{MySql, Postgres};

use crate::operations::users;
use crate::rows::{Rows, rows};
use crate::server::{Fixture, Server, fresh_name, full};

rows!(Postgres, "COLUMN::text");
rows!(MySql, "HEX(COLUMN)");

/// Ends the test that it stands in where there is no server for it.
macro_rules! on {
    ($service:expr, $factory:expr) => {{
        if url($service).is_none() {
            return;
        }
        $factory
    }};
}

async fn storage<S: Server>(mapping: SessionTable) -> SqlxStorage<S> {
    Fixture::<S>::with(mapping).await.storage
}

/// The same tables in types that every database has.
fn portable() -> SessionTable {
    full().id(IdEncoding::Text).times(TimeEncoding::Rfc3339).json(JsonEncoding::Text).address(AddressEncoding::Text)
}

fn binary() -> SessionTable {
    full().id(IdEncoding::Binary).times(TimeEncoding::Millis).json(JsonEncoding::Json)
}

async fn boxed<S: Server>() -> Box<dyn SessionStorage> {
    Box::new(storage::<S>(portable()).await)
}

async fn shared<S: Server>() -> Arc<dyn SessionStorage> {
    Arc::new(storage::<S>(binary()).await)
}

async fn plain<S: Server>() -> SqlxStorage<S> {
    storage(SessionTable::new("sessions").native()).await
}

/// The users' epochs stand in the application's users table, in which all users of the suite are.
async fn users_columns<S: Server>(columns: &str) -> SqlxStorage<S> {
    let mapping = full().user_epochs(UserEpochs::new("users", "name"));
    let ddl = reference_ddl::<S>(&mapping).unwrap();
    let fixture = Fixture::<S>::with_ddl(mapping, &format!("{}{ddl}", users::table(columns, "0"))).await;
    let findings = fixture.storage.check_schema().await.unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
    fixture.storage
}

/// The tables are named with their schema, since a pooler's connections share their settings.
async fn pooled() -> SqlxStorage<Postgres> {
    let options: PgConnectOptions = url(Service::PgBouncer).unwrap().parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    let schema = fresh_name();
    let table = |name: &str| format!("{schema}.{name}");
    let mapping = SessionTable::new(table("sessions")).native();
    let mapping = mapping.epochs(EpochTable::new(table("epochs"))).once(OnceTable::new(table("once")));
    let mapping = mapping.feed(FeedTable::new(table("feed")));
    let ddl = reference_ddl::<Postgres>(&mapping).unwrap();
    Postgres::run(&pool, &format!("CREATE SCHEMA {schema};\n{ddl}")).await;
    SqlxStorage::new(pool, mapping).unwrap().behind_transaction_pooler()
}

storage_conformance!(postgres_value, on!(Service::Postgres, || storage::<Postgres>(full())));
storage_conformance!(postgres_through_a_box, on!(Service::Postgres, boxed::<Postgres>));
storage_conformance!(postgres_through_an_arc, on!(Service::Postgres, shared::<Postgres>));
storage_conformance!(
    postgres_without_epochs,
    on!(Service::Postgres, plain::<Postgres>),
    lacking = [Epochs, RememberOnce, Feed]
);
storage_conformance!(
    postgres_epochs_in_the_users_table,
    on!(Service::Postgres, || users_columns::<Postgres>("name text COLLATE \"C\" PRIMARY KEY, joined bigint NOT NULL"))
);
storage_conformance!(postgres_behind_pgbouncer, on!(Service::PgBouncer, pooled));

storage_conformance!(mariadb_value, on!(Service::MariaDb, || storage::<MySql>(full())));
storage_conformance!(mariadb_through_a_box, on!(Service::MariaDb, boxed::<MySql>));
storage_conformance!(mariadb_through_an_arc, on!(Service::MariaDb, shared::<MySql>));
storage_conformance!(
    mariadb_epochs_in_the_users_table,
    on!(Service::MariaDb, || users_columns::<MySql>("name VARBINARY(128) PRIMARY KEY, joined BIGINT NOT NULL"))
);
storage_conformance!(
    mariadb_without_epochs,
    on!(Service::MariaDb, plain::<MySql>),
    lacking = [Epochs, Cap, RememberOnce, Feed]
);

storage_defects!(postgres_defects, on!(Service::Postgres, || storage::<Postgres>(full())));
storage_defects!(mariadb_defects, on!(Service::MariaDb, || storage::<MySql>(full())));

storage_histories!(postgres_histories, on!(Service::Postgres, || storage::<Postgres>(full())));
storage_histories!(postgres_histories_behind_pgbouncer, on!(Service::PgBouncer, pooled));
storage_histories!(mariadb_histories, on!(Service::MariaDb, || storage::<MySql>(full())));
storage_races!(postgres_races, on!(Service::Postgres, || storage::<Postgres>(full())));
storage_races!(mariadb_races, on!(Service::MariaDb, || storage::<MySql>(full())));

async fn storage_and_its_rows<S: Server>() -> (SqlxStorage<S>, Rows<S>) {
    let Fixture { pool, storage } = Fixture::<S>::new().await;
    (storage, Rows { pool, tables: ["sessions", "session_epochs", "session_once", "session_feed"] })
}

storage_evictions!(postgres_evictions, on!(Service::Postgres, storage_and_its_rows::<Postgres>));
storage_evictions!(mariadb_evictions, on!(Service::MariaDb, storage_and_its_rows::<MySql>));
