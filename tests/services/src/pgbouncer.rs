//! pgbouncer, pooling transactions before a PostgreSQL server.

use std::process::Command;

use crate::{
    Postgres, Result,
    package::PGBOUNCER,
    postgres::{fresh_postgres_database, psql},
    server::{Engine, Server, connect},
    site::{Site, run},
};

/// A pgbouncer that gives each transaction whichever connection is free: nothing that belongs to a connection (settings,
/// prepared statements, locks of the session) lasts longer than a transaction.
///
/// All databases of the PostgreSQL server behind it are there under their own names.
pub type PgBouncer = Server<PgBouncerEngine>;

/// pgbouncer's part of [`PgBouncer`].
#[derive(Debug)]
pub struct PgBouncerEngine {
    upstream: u16,
    settings: String,
}

impl PgBouncer {
    /// Starts it before `postgres`, with four connections for each database, so that clients really share them.
    ///
    /// # Errors
    ///
    /// When pgbouncer is not installed, and with its log when it does not become ready.
    pub fn before(postgres: &Postgres) -> Result<Self> {
        Self::with_settings(postgres, "")
    }

    /// As [`before`](Self::before), with further lines for the section `[pgbouncer]` of its settings, which win over ours.
    ///
    /// # Errors
    ///
    /// As [`before`](Self::before).
    pub fn with_settings(postgres: &Postgres, settings: &str) -> Result<Self> {
        Self::launch(|| PgBouncerEngine { upstream: postgres.port(), settings: settings.to_owned() })
    }

    /// Makes a database that no other test knows, and returns its address here.
    ///
    /// # Errors
    ///
    /// When the server refuses or is not there.
    pub fn fresh_database(&self) -> Result<String> {
        fresh_postgres_database(&self.url())
    }
}

impl Engine for PgBouncerEngine {
    const NAME: &'static str = "pgbouncer";

    fn prepare(&self, site: &Site) -> Result<()> {
        let (port, upstream, settings) = (site.port(), self.upstream, &self.settings);
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={upstream} user=postgres\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n\
             max_client_conn = 500\nignore_startup_parameters = extra_float_digits,options,search_path\n{settings}\n"
        );
        site.write("pgbouncer.ini", &text)
    }

    fn command(&self, site: &Site) -> Result<Command> {
        let mut command = site.logged(&PGBOUNCER.program("pgbouncer")?)?;
        command.arg("pgbouncer.ini");
        Ok(command)
    }

    /// Through it to the server behind it.
    fn probe(&self, site: &Site) -> Result<()> {
        connect(site.port())?;
        run(&mut psql(&Self::url(site.port()), "SELECT 1")?).map(drop)
    }

    fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }
}
