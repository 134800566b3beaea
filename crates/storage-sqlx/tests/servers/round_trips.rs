//! How often each operation asks the server and waits: as often as the README says, `BEGIN` and `COMMIT` counted.

use session_manager_storage_sqlx::SqlxStorage;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{MySql, Postgres};

use crate::operations::{Stage, all, documented};
use crate::relay::{Relay, Wire};
use crate::server::{Fixture, full};

on_each! {
    each_operation_asks_as_often_as_documented,
}

async fn each_operation_asks_as_often_as_documented<S: Counted>() {
    let fixture = Fixture::<S>::new().await;
    let relay = Relay::before(S::port(&fixture.pool), S::WIRE).await;
    let storage = SqlxStorage::new(S::through(&fixture.pool, relay.port).await, full()).unwrap();
    let mut wrong = Vec::new();
    for operation in all() {
        // The first time its statements are prepared.
        for counted in [false, true] {
            let stage = Stage::set(&fixture.storage).await;
            relay.asked();
            (operation.run)(&storage, &stage).await;
            let (asked, said) = (relay.asked(), documented(operation.name, S::COLUMN));
            if counted && asked != said {
                wrong.push(format!("{}: {asked}, and not {said}", operation.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A server whose questions can be counted.
trait Counted: crate::server::Server {
    const WIRE: Wire;
    const COLUMN: usize;

    fn port(pool: &sqlx::Pool<Self>) -> u16;

    /// One connection through the relay to the schema of a pool.
    async fn through(pool: &sqlx::Pool<Self>, port: u16) -> sqlx::Pool<Self>;
}

impl Counted for Postgres {
    const WIRE: Wire = Wire::Postgres;
    const COLUMN: usize = 1;

    fn port(pool: &sqlx::Pool<Self>) -> u16 {
        pool.connect_options().get_port()
    }

    async fn through(pool: &sqlx::Pool<Self>, port: u16) -> sqlx::Pool<Self> {
        let options = pool.connect_options().as_ref().clone().port(port);
        PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await.unwrap()
    }
}

impl Counted for MySql {
    const WIRE: Wire = Wire::MySql;
    const COLUMN: usize = 2;

    fn port(pool: &sqlx::Pool<Self>) -> u16 {
        pool.connect_options().get_port()
    }

    async fn through(pool: &sqlx::Pool<Self>, port: u16) -> sqlx::Pool<Self> {
        let options = pool.connect_options().as_ref().clone().port(port);
        MySqlPoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await.unwrap()
    }
}
