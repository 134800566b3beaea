//! PostgreSQL.

use std::process::Command;

use rustix::process::Signal;

use crate::{
    Result,
    address::{Address, client},
    package::POSTGRESQL,
    server::{Engine, Server, Standalone, connect},
    site::{Site, run},
};

/// A PostgreSQL server with the superuser `postgres`.
///
/// # Behaviour
///
/// What was committed survives [`kill`](Server::kill), but not a power cut: `fsync` is off. Where the cost of durable
/// commits matters, ask for `with_args(&["-c", "fsync=on", "-c", "full_page_writes=on"])`.
pub type Postgres = Server<PostgresEngine>;

/// PostgreSQL's part of [`Postgres`].
#[derive(Debug)]
pub struct PostgresEngine {
    args: Vec<String>,
}

const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "fsync=off",
    "full_page_writes=off",
    // Shared memory within the folder, so that nothing of it stays behind.
    "dynamic_shared_memory_type=mmap",
];

impl Postgres {
    /// Makes a database that no other test knows, and returns its address.
    ///
    /// # Errors
    ///
    /// When the server refuses or is not there.
    pub fn fresh_database(&self) -> Result<String> {
        fresh_postgres_database(&self.url())
    }
}

/// Makes a database that no other test knows on the server at `url`, PostgreSQL or pgbouncer, and returns its address.
///
/// # Errors
///
/// When `psql` is missing, and when the server refuses or is not there.
pub fn fresh_postgres_database(url: &str) -> Result<String> {
    Address::parse(url, "5432")?.create_database('"', |sql| psql(url, sql))
}

/// A call of `psql`; its settings travel in variables, which other users of the machine cannot see.
pub(crate) fn psql(url: &str, sql: &str) -> Result<Command> {
    let address = Address::parse(url, "5432")?;
    let mut command = client(&POSTGRESQL.program("psql")?);
    command
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql])
        .env("PGHOST", address.host)
        .env("PGPORT", address.port)
        .env("PGUSER", address.user)
        .env("PGPASSWORD", address.password)
        .env("PGDATABASE", "postgres")
        .env("PGCONNECT_TIMEOUT", "10");
    Ok(command)
}

impl Standalone for PostgresEngine {
    fn with_args(args: &[&str]) -> Self {
        Self { args: args.iter().map(ToString::to_string).collect() }
    }
}

impl Engine for PostgresEngine {
    const NAME: &'static str = "postgres";
    /// "Fast shutdown": does not wait for clients to leave.
    const STOP: Signal = Signal::INT;
    /// "Immediate shutdown": gives back the System V shared memory, which `SIGKILL` would leave behind.
    const DISCARD: Option<Signal> = Some(Signal::QUIT);

    fn prepare(&self, site: &Site) -> Result<()> {
        let mut initdb = site.command(&POSTGRESQL.program("initdb")?);
        initdb.args(["--no-sync", "--no-instructions", "--auth=trust", "--username=postgres"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--pgdata=data"]);
        run(&mut initdb).map(drop)
    }

    fn command(&self, site: &Site) -> Result<Command> {
        let mut command = site.logged(&POSTGRESQL.program("postgres")?)?;
        command.args(["-D", "data", "-p", &site.port().to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(&self.args);
        Ok(command)
    }

    fn probe(&self, site: &Site) -> Result<()> {
        // Costs less than a program that finds nobody listening.
        connect(site.port())?;
        let port = site.port().to_string();
        run(client(&POSTGRESQL.program("pg_isready")?).args(["-q", "-h", "127.0.0.1", "-p", &port])).map(drop)
    }

    fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }
}
