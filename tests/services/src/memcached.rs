//! memcached.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Command,
};

use crate::{
    Error, Result,
    package::MEMCACHED,
    server::{Engine, Server, Standalone, connect},
    site::Site,
};

/// A memcached server with 64 MiB; `with_args(&["-m", "4"])` makes one that evicts soon.
pub type Memcached = Server<MemcachedEngine>;

/// memcached's part of [`Memcached`].
#[derive(Debug)]
pub struct MemcachedEngine {
    args: Vec<String>,
}

impl Standalone for MemcachedEngine {
    fn with_args(args: &[&str]) -> Self {
        Self { args: args.iter().map(ToString::to_string).collect() }
    }
}

impl Engine for MemcachedEngine {
    const NAME: &'static str = "memcached";

    fn command(&self, site: &Site) -> Result<Command> {
        let mut command = site.logged(&MEMCACHED.program("memcached")?)?;
        // Without UDP, whose port holds our claim.
        command.args(["-l", "127.0.0.1", "-p", &site.port().to_string(), "-U", "0", "-m", "64", "-t", "2"]);
        command.args(&self.args);
        Ok(command)
    }

    fn probe(&self, site: &Site) -> Result<()> {
        let mut stream = connect(site.port())?;
        let mut answer = String::new();
        let asked = stream.write_all(b"version\r\n").and_then(|()| BufReader::new(stream).read_line(&mut answer));
        asked.map_err(Error::io("version"))?;
        if answer.starts_with("VERSION ") { Ok(()) } else { Err(Error::refused("version", answer)) }
    }

    fn url(port: u16) -> String {
        format!("memcached://127.0.0.1:{port}")
    }
}
