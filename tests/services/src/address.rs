//! The parts of a database URL, for the command-line clients that make databases for tests.

use std::{path::Path, process::Command};

use crate::{Error, Result, port::random, site::run};

/// `scheme://user[:password]@host[:port][/database]`, as our servers and most others are named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// Everything before the database.
    server: &'a str,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: &'a str,
}

impl<'a> Address<'a> {
    pub(crate) fn parse(url: &'a str, default_port: &'static str) -> Result<Self> {
        // Not even a part of it is shown: it may hold a password.
        let wrong =
            || Error::refused("the database's address", "not of the form scheme://user:password@host:port/database");
        let (_, rest) = url.split_once("://").ok_or_else(wrong)?;
        let rest = rest.split(['/', '?']).next().unwrap_or_default();
        let start = url.len().saturating_sub(url.split_once("://").map_or(0, |(_, rest)| rest.len()));
        let server = url.get(..start.saturating_add(rest.len())).ok_or_else(wrong)?;
        let (login, place) = rest.rsplit_once('@').ok_or_else(wrong)?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = place.rsplit_once(':').unwrap_or((place, default_port));
        if user.is_empty() || host.is_empty() || rest.contains('%') {
            return Err(wrong());
        }
        Ok(Self { server, user, password, host, port })
    }

    /// The address of another database on the same server.
    pub(crate) fn with_database(&self, name: &str) -> String {
        format!("{}/{name}", self.server)
    }

    /// Makes a database of a new name by `client`, which is to run the SQL, and returns its address.
    pub(crate) fn create_database(&self, quote: char, client: impl Fn(&str) -> Result<Command>) -> Result<String> {
        let name = format!("test_{:016x}", random());
        run(&mut client(&format!("CREATE DATABASE {quote}{name}{quote}"))?)?;
        Ok(self.with_database(&name))
    }
}

/// A client without any configuration of the user's, in variables or files.
pub(crate) fn client(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_address() {
        let parse = |url| Address::parse(url, "5432");
        let address = parse("postgres://me:se:cret@db.test:99/old?x=y").unwrap();
        assert_eq!((address.user, address.password, address.host, address.port), ("me", "se:cret", "db.test", "99"));
        assert_eq!(address.with_database("new"), "postgres://me:se:cret@db.test:99/new");

        let address = parse("mysql://root@127.0.0.1").unwrap();
        assert_eq!((address.user, address.password, address.host, address.port), ("root", "", "127.0.0.1", "5432"));
        assert_eq!(address.with_database("new"), "mysql://root@127.0.0.1/new");

        for url in ["", "postgres", "postgres://host/x", "postgres://@host", "postgres://a%20b@host", "postgres://a@/x"]
        {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains("scheme://") && !error.contains("host/x"), "{url}: {error}");
        }
    }
}
