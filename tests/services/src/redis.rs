//! Redis, one server by itself; the parts of Sentinel and Cluster are such servers too.

use std::process::Command;

use crate::{
    Error, Reply, Result,
    package::REDIS,
    resp,
    server::{Engine, Server, Standalone},
    site::Site,
};

/// A Redis server that keeps everything in memory.
///
/// # Behaviour
///
/// Nothing survives its end, unless it is asked for: `with_args(&["--appendonly", "yes"])` keeps what was acknowledged over
/// [`kill`](Server::kill), and with `"--appendfsync", "always"` over a power cut as well.
pub type Redis = Server<RedisEngine>;

/// Redis's part of [`Redis`].
#[derive(Debug)]
pub struct RedisEngine {
    args: Vec<String>,
    /// The file `nodes.conf` of a node of a cluster.
    nodes: Option<String>,
}

impl RedisEngine {
    /// A node of a cluster, which it knows from `nodes`.
    pub(crate) fn node(args: &[&str], nodes: String) -> Self {
        Self { nodes: Some(nodes), ..Self::with_args(args) }
    }
}

impl Redis {
    /// Sends one command over a connection of its own: for `CONFIG SET`, `SCRIPT FLUSH`, `INFO` and the like.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with Redis's own words, and when the server is not there.
    pub fn command(&self, command: &[&str]) -> Result<Reply> {
        resp::call(self.port(), command)
    }

    /// Whether what is written here goes to all replicas that are connected at once, or this is a replica and in step.
    ///
    /// Being connected is not enough: a primary keeps the writes back from a replica that has not confirmed its copy.
    pub(crate) fn is_in_step(&self) -> bool {
        let Ok(reply) = self.command(&["INFO", "replication"]) else { return false };
        let lines: Vec<_> = reply.text().unwrap_or_default().lines().collect();
        let replicas = |kind: &str| lines.iter().filter(|line| line.contains(kind)).count();
        if lines.contains(&"role:master") {
            replicas(",state=") == replicas(",state=online,")
        } else {
            lines.contains(&"master_link_status:up")
        }
    }
}

impl Standalone for RedisEngine {
    fn with_args(args: &[&str]) -> Self {
        Self { args: args.iter().map(ToString::to_string).collect(), nodes: None }
    }
}

impl Engine for RedisEngine {
    const NAME: &'static str = "redis";
    /// Needed by a node of a cluster only, but a second port costs nothing.
    const BUS: bool = true;

    fn prepare(&self, site: &Site) -> Result<()> {
        self.nodes.as_ref().map_or(Ok(()), |nodes| site.write("nodes.conf", nodes))
    }

    fn command(&self, site: &Site) -> Result<Command> {
        let mut command = site.logged(&REDIS.program("redis-server")?)?;
        command.args(["--bind", "127.0.0.1", "--port", &site.port().to_string(), "--save", "", "--appendonly", "no"]);
        if self.nodes.is_some() {
            command.args(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
        }
        command.args(&self.args);
        Ok(command)
    }

    fn probe(&self, site: &Site) -> Result<()> {
        let reply = resp::call(site.port(), &["PING"])?;
        if reply.text() == Some("PONG") { Ok(()) } else { Err(Error::refused("PING", format!("{reply:?}"))) }
    }

    fn url(port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }
}

/// For primaries with replicas: the first copy is made, and confirmed, without the delays that many replicas would need.
pub(crate) const QUICK_COPY: [&str; 4] = ["--repl-diskless-sync", "no", "--repl-ping-replica-period", "1"];

/// Starts several servers at once, in the order of `starts`.
pub(crate) fn start_together<T: Send>(starts: Vec<impl FnOnce() -> Result<T> + Send>) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = starts.into_iter().map(|start| scope.spawn(start)).collect();
        let mut all = Vec::new();
        for thread in threads {
            let panicked = || Error::refused("a server's start", "panicked");
            all.push(thread.join().unwrap_or_else(|_| Err(panicked())));
        }
        all.into_iter().collect()
    })
}
