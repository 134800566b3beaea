//! Redis, a throw-away server without persistence.

use std::{hint::black_box, sync::Arc};

use redis::{
    AsyncConnectionConfig, Client, Cmd, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};
use session_manager_core::SessionStorage;
use session_manager_services::Redis as Server;
use session_manager_storage_redis::{RedisStorage, RedisStorageConfig};

use super::compare as compare_each;
use crate::{
    bare::{Bare, Names, ROWS, id},
    measure::{Outcome, Plan},
    ours::Store,
    population::{PER_USER, Population, gather},
};

pub(crate) const IN_FLIGHT: usize = 64;

/// What our keys begin with.
pub(crate) const PREFIX: &str = "sm:";

pub(crate) async fn compare(plan: Plan) -> Outcome {
    let plan = plan.in_flight(IN_FLIGHT);
    let server = Server::start()?;
    let connection = connect(&server).await?;
    let storage = storage(&connection)?;
    let people = Population::insert(&storage, plan.sessions, IN_FLIGHT).await?;
    let store = Store::new(storage, people, server)?.sign_in(plan.sessions).await?;
    let bare = Keys::filled(connection.clone(), &connection, ROWS).await?;
    compare_each("Redis, 64 in flight over one connection", plan, store, bare).await
}

pub(crate) async fn connect(server: &Server) -> Outcome<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_mins(1)));
    Ok(Client::open(server.url())?.get_multiplexed_async_connection_with_config(&patient).await?)
}

/// A storage on a connection.
pub(crate) fn storage(connection: &MultiplexedConnection) -> Outcome<Arc<dyn SessionStorage>> {
    Ok(Arc::new(RedisStorage::new(connection.clone(), RedisStorageConfig::new().prefix(PREFIX))?))
}

/// One command.
pub(crate) async fn ask(connection: &MultiplexedConnection, command: &Cmd) -> Outcome<Value> {
    Ok(connection.clone().req_packed_command(command).await?)
}

/// The value of the first key that matches, as bytes.
async fn sample(connection: &MultiplexedConnection, pattern: &str) -> Outcome<Vec<u8>> {
    let mut connection = connection.clone();
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await?;
    let key = keys.first().ok_or("no key of that kind")?;
    Ok(redis::cmd("GET").arg(key).query_async(&mut connection).await?)
}

/// Keys with values of the same lengths as a session's, its user's and the global epoch's.
pub(crate) struct Keys {
    connection: MultiplexedConnection,
    session: Vec<u8>,
    rows: usize,
}

impl Keys {
    /// As many rows on one server, like the keys that a storage has on another or the same.
    pub(crate) async fn filled(
        connection: MultiplexedConnection,
        like: &MultiplexedConnection,
        rows: usize,
    ) -> Outcome<Self> {
        let session = sample(like, &format!("{PREFIX}*:s:*")).await?;
        let user = sample(like, &format!("{PREFIX}*:u:*")).await?;
        let global = sample(like, &format!("{PREFIX}{{*}}:g")).await?;
        let (server, values) = (&connection, [&session, &user, &global]);
        let set = |row| async move {
            let [session, user, global] = values;
            let mut set = redis::cmd("MSET");
            set.arg(key(row)).arg(session).arg(of_user(row)).arg(user).arg(of_all(row)).arg(global);
            ask(server, &set).await.map(drop)
        };
        gather((0..rows as u64).map(set), IN_FLIGHT).await?;
        Ok(Self { connection, session, rows })
    }

    async fn set(&self, row: u64) -> Outcome {
        let mut set = redis::cmd("SET");
        set.arg(key(row)).arg(&self.session).arg("PX").arg(2_592_000_000_u64);
        black_box(ask(&self.connection, &set).await?);
        Ok(())
    }
}

/// Which of the 4096 shards a row is in, with all of its user's.
const fn shard(row: u64) -> u64 {
    (row / PER_USER as u64) & 0xFFF
}

/// The key of a row, as long as a session's.
fn key(row: u64) -> String {
    format!("b:{{{:03x}}}:s:{}", shard(row), id(row).simple())
}

/// The key of a user's epoch.
fn of_user(row: u64) -> String {
    format!("b:{{{:03x}}}:u:{:019}", shard(row), row / PER_USER as u64)
}

/// The key of a shard's copy of the global epoch.
fn of_all(row: u64) -> String {
    format!("b:{{{:03x}}}:g", shard(row))
}

impl Bare for Keys {
    const NAMES: Names = Names { get: "MGET of 3", list: "MGET of 7", update: "SET", insert: "SET" };

    fn rows(&self) -> usize {
        self.rows
    }

    async fn get(&self, row: usize) -> Outcome {
        let row = row as u64;
        let mut get = redis::cmd("MGET");
        get.arg(key(row)).arg(of_user(row)).arg(of_all(row));
        black_box(ask(&self.connection, &get).await?);
        Ok(())
    }

    /// The sessions, and what is read beside them.
    async fn list(&self, user: usize) -> Outcome {
        let first = (user * PER_USER) as u64;
        let mut get = redis::cmd("MGET");
        for row in first..first + PER_USER as u64 {
            get.arg(key(row));
        }
        get.arg(of_user(first)).arg(of_all(first));
        black_box(ask(&self.connection, &get).await?);
        Ok(())
    }

    async fn update(&self, row: usize) -> Outcome {
        self.set(row as u64).await
    }

    async fn insert(&self, number: u64) -> Outcome {
        self.set(number).await
    }
}
