//! MariaDB.

use std::process::Command;

use crate::{
    Result,
    address::{Address, client},
    package::MARIADB,
    server::{Engine, Server, Standalone, connect},
    site::{Site, run},
};

/// A MariaDB server whose `root` needs no password.
///
/// # Behaviour
///
/// What was committed survives [`kill`](Server::kill), but not a power cut; ask for
/// `with_args(&["--innodb-flush-log-at-trx-commit=1"])` where the cost of durable commits matters.
pub type MariaDb = Server<MariaDbEngine>;

/// MariaDB's part of [`MariaDb`].
#[derive(Debug)]
pub struct MariaDbEngine {
    args: Vec<String>,
}

/// For the making of the folder and for the server alike.
const SMALL: &[&str] = &["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M"];
const SETTINGS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-networking=0",
    "--skip-log-bin",
    "--max-connections=300",
    // Commits reach the operating system at once, and the disk when that likes.
    "--innodb-flush-log-at-trx-commit=2",
    // Relative to the data's folder: the whole path may be longer than a socket's name can be.
    "--socket=server.sock",
    "--pid-file=server.pid",
];

impl MariaDb {
    /// Makes a database that no other test knows, and returns its address.
    ///
    /// # Errors
    ///
    /// When the server refuses or is not there.
    pub fn fresh_database(&self) -> Result<String> {
        fresh_mysql_database(&self.url())
    }
}

/// Makes a database that no other test knows on the MariaDB or MySQL server at `url`, and returns its address.
///
/// # Errors
///
/// When the client `mariadb` is missing, and when the server refuses or is not there.
pub fn fresh_mysql_database(url: &str) -> Result<String> {
    Address::parse(url, "3306")?.create_database('`', |sql| mariadb(url, sql))
}

/// A call of the client; the password travels in a variable, which other users of the machine cannot see.
pub(crate) fn mariadb(url: &str, sql: &str) -> Result<Command> {
    let address = Address::parse(url, "3306")?;
    let mut command = client(&MARIADB.program("mariadb")?);
    command.args(["--no-defaults", "--protocol=tcp", "--connect-timeout=10", "--batch", "--skip-column-names"]).args([
        "--host",
        address.host,
        "--port",
        address.port,
        "--user",
        address.user,
        "--execute",
        sql,
    ]);
    if !address.password.is_empty() {
        command.env("MYSQL_PWD", address.password);
    }
    Ok(command)
}

impl Standalone for MariaDbEngine {
    fn with_args(args: &[&str]) -> Self {
        Self { args: args.iter().map(ToString::to_string).collect() }
    }
}

impl Engine for MariaDbEngine {
    const NAME: &'static str = "mariadb";

    fn prepare(&self, site: &Site) -> Result<()> {
        let data = site.folder().join("data");
        let mut install = site.command(&MARIADB.program("mariadb-install-db")?);
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display())).args(SMALL);
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]);
        run(&mut install).map(drop)
    }

    fn command(&self, site: &Site) -> Result<Command> {
        let data = site.folder().join("data");
        let mut command = site.logged(&MARIADB.program("mariadbd")?)?;
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command.arg(format!("--port={}", site.port())).args(SMALL).args(SETTINGS).args(&self.args);
        Ok(command)
    }

    fn probe(&self, site: &Site) -> Result<()> {
        // Costs less than a program that finds nobody listening.
        connect(site.port())?;
        let port = site.port().to_string();
        let mut admin = client(&MARIADB.program("mariadb-admin")?);
        admin.args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--user=root", "--port", &port, "ping"]);
        run(&mut admin).map(drop)
    }

    fn url(port: u16) -> String {
        format!("mysql://root@127.0.0.1:{port}/mysql")
    }
}
