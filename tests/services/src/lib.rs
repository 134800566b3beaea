//! Real database and cache servers for tests: throw-away children of the test's process, on loopback ports of their own.
//!
//! Two ways to a server:
//!
//! - A test that only needs *some* server asks for the address of one that many tests share: [`url`] and [`urls`] read it
//!   from the environment, which `cargo xtask test`, `cargo xtask ci` and `cargo xtask services up` fill. With
//!   [`fresh_postgres_database`] and [`fresh_mysql_database`] each test has a database of its own there.
//! - A test that kills, pauses or restarts a server, or starts it with arguments of its own, starts one for itself:
//!   [`Postgres`], [`MariaDb`], [`Redis`], [`RedisSentinel`], [`RedisCluster`], [`Memcached`], [`PgBouncer`].
//!
//! # Behaviour
//!
//! - A server and its folder go when its value is dropped, also by a panic. They go as well, within about a second, when the
//!   process that owns the value ends in any other way: by Ctrl-C, by `SIGKILL`, by an abort.
//! - Each process is stopped by its own handle; nothing is ever looked for by name.
//! - No two servers of this library, of whatever process, ever have the same port.
//! - All calls block. A test on an async runtime may still make them: they last milliseconds, a start about a second.
//!
//! # Security
//!
//! The servers listen on the loopback interface only and ask for no password. Keep nothing of value in them. Where the
//! owner is root, they run as `nobody`.
//!
//! ```no_run
//! use session_manager_services::{Postgres, Service, fresh_postgres_database, url};
//!
//! // Shared with other tests:
//! let Some(server) = url(Service::Postgres) else { return Ok(()) };
//! let database = fresh_postgres_database(&server)?;
//!
//! // One's own:
//! let mut server = Postgres::start()?;
//! server.kill()?;
//! server.restart()?;
//! # Ok::<(), session_manager_services::Error>(())
//! ```

mod address;
mod bundle;
mod cluster;
mod environment;
mod error;
mod instructions;
mod mariadb;
mod memcached;
mod package;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod redis;
mod resp;
mod sentinel;
mod server;
mod site;
mod watchdog;

pub use bundle::Services;
pub use cluster::RedisCluster;
pub use environment::{REQUIRE, Service, url, urls};
pub use error::{Error, Result};
pub use instructions::instructions;
pub use mariadb::{MariaDb, MariaDbEngine, fresh_mysql_database};
pub use memcached::{Memcached, MemcachedEngine};
pub use package::{Package, missing};
pub use pgbouncer::{PgBouncer, PgBouncerEngine};
pub use postgres::{Postgres, PostgresEngine, fresh_postgres_database};
pub use redis::{Redis, RedisEngine};
pub use resp::Reply;
pub use sentinel::{RedisSentinel, SentinelEngine};
pub use server::{Engine, Server, Standalone};
pub use site::Site;
