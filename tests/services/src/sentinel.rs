//! Redis with a replica and three Sentinels, which make the replica the primary when that one fails.

use std::{process::Command, time::Duration};

use crate::{
    Error, Redis, Result,
    package::REDIS,
    port::{Port, random},
    process::wait_for,
    redis::{QUICK_COPY, RedisEngine, start_together},
    resp,
    server::{Engine, Server, Standalone as _},
    site::Site,
};

/// A primary, its replica and three Sentinels that watch them.
///
/// # Behaviour
///
/// The Sentinels take the primary for dead when it has been mute for a second, and need two votes.
#[derive(Debug)]
pub struct RedisSentinel {
    // Before the servers that they watch, or they would fail over while everything goes.
    sentinels: Vec<Server<SentinelEngine>>,
    nodes: Vec<Redis>,
}

/// A Sentinel's part of [`RedisSentinel`].
#[derive(Debug)]
pub struct SentinelEngine {
    settings: String,
}

/// How long the Sentinels may take to agree.
const AGREEMENT: Duration = Duration::from_mins(1);

impl RedisSentinel {
    /// The name by which the Sentinels know the primary.
    pub const SERVICE: &'static str = "primary";

    /// Starts all five.
    ///
    /// # Errors
    ///
    /// When Redis is not installed, and with a log when one of them does not become ready.
    pub fn start() -> Result<Self> {
        Self::with_args(&[])
    }

    /// As [`start`](Self::start), with further arguments for the primary and the replica, which win over ours.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn with_args(args: &[&str]) -> Result<Self> {
        let mut all = QUICK_COPY.to_vec();
        all.extend(args);
        let primary = Redis::with_args(&all)?;
        let port = primary.port().to_string();
        all.extend(["--replicaof", "127.0.0.1", &port]);
        let replica = Redis::with_args(&all)?;
        let nodes = vec![primary, replica];
        let in_step = wait_for(AGREEMENT, || nodes.iter().rev().all(Redis::is_in_step).then_some(()));
        in_step.ok_or_else(|| Error::refused("the replica", "is not in step with the primary"))?;

        let mut group = Self { sentinels: start_sentinels(&nodes)?, nodes };
        group.wait_until_agreed()?;
        Ok(group)
    }

    /// The Sentinels' addresses; what they name [`SERVICE`](Self::SERVICE) is the primary.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// The servers that hold the data, each of which may be killed, paused and restarted.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The Sentinels, each of which may be killed, paused and restarted.
    pub fn sentinels(&mut self) -> &mut [Server<SentinelEngine>] {
        &mut self.sentinels
    }

    /// Which of the [`nodes`](Self::nodes) the Sentinels take for the primary.
    ///
    /// # Errors
    ///
    /// When no Sentinel answers.
    pub fn primary(&self) -> Result<usize> {
        let mut last = Error::NotRunning("redis-sentinel");
        for sentinel in &self.sentinels {
            match self.primary_by(sentinel) {
                Ok(node) => return Ok(node),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Lets the Sentinels make the replica the primary, and waits until all agree and the other one follows it.
    ///
    /// # Errors
    ///
    /// When they refuse, as they do while one of the nodes is down, or do not agree.
    pub fn failover(&mut self) -> Result<()> {
        let before = self.primary()?;
        let sentinel = self.sentinels.first().ok_or(Error::NotRunning("redis-sentinel"))?;
        // Right after another failover they may still be at odds about the replica; they refuse until they are not.
        let mut answer = None;
        let accepted = wait_for(AGREEMENT, || {
            answer = Some(resp::call(sentinel.port(), &["SENTINEL", "FAILOVER", Self::SERVICE]));
            matches!(answer, Some(Ok(_))).then_some(())
        });
        if let (None, Some(answer)) = (accepted, answer) {
            answer?;
        }
        self.wait_for_primary_other_than(before)?;
        self.wait_until_agreed()
    }

    /// Waits until all running Sentinels name another primary than `node`, and that one says so itself: after `node` was
    /// killed or paused. Returns the new one.
    ///
    /// # Errors
    ///
    /// When they do not agree in time.
    pub fn wait_for_primary_other_than(&mut self, node: usize) -> Result<usize> {
        let found = wait_for(AGREEMENT, || {
            let now = self.agreed_primary()?;
            (now != node && self.role(now).as_deref() == Some("master")).then_some(now)
        });
        found.ok_or_else(|| Error::refused("the Sentinels", "name no other primary"))
    }

    /// Waits until all running Sentinels name the same primary, and the other node is its replica and in step.
    ///
    /// # Errors
    ///
    /// When they do not agree in time, as when a node is down.
    pub fn wait_until_agreed(&mut self) -> Result<()> {
        let found = wait_for(AGREEMENT, || {
            let primary = self.agreed_primary()?;
            let quorum = self.sentinels.iter().all(|sentinel| {
                resp::call(sentinel.port(), &["SENTINEL", "CKQUORUM", Self::SERVICE]).is_ok() && knows_replica(sentinel)
            });
            let roles = (0..self.nodes.len())
                .all(|node| self.role(node).as_deref() == Some(if node == primary { "master" } else { "connected" }));
            (quorum && roles && self.nodes.iter().all(Redis::is_in_step)).then_some(())
        });
        found.ok_or_else(|| Error::refused("the Sentinels", "do not agree"))
    }

    fn agreed_primary(&mut self) -> Option<usize> {
        let mut agreed = None;
        for at in 0..self.sentinels.len() {
            if !self.sentinels.get_mut(at)?.is_running() {
                continue;
            }
            let named = self.primary_by(self.sentinels.get(at)?).ok()?;
            if *agreed.get_or_insert(named) != named {
                return None;
            }
        }
        agreed
    }

    fn primary_by(&self, sentinel: &Server<SentinelEngine>) -> Result<usize> {
        let reply = resp::call(sentinel.port(), &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE])?;
        let port = reply.list().get(1).and_then(|port| port.text()?.parse::<u16>().ok());
        let node = self.nodes.iter().position(|node| Some(node.port()) == port);
        node.ok_or_else(|| Error::refused("the primary", format!("is not one of ours: {reply:?}")))
    }

    /// `master`, or the state of a replica's link to it.
    fn role(&self, node: usize) -> Option<String> {
        let reply = self.nodes.get(node)?.command(&["ROLE"]).ok()?;
        match reply.list().first()?.text()? {
            "slave" => reply.list().get(3)?.text().map(str::to_owned),
            role => Some(role.to_owned()),
        }
    }
}

/// Each knows the replica and the other Sentinels from its first moment, instead of finding them out within seconds.
fn start_sentinels(nodes: &[Redis]) -> Result<Vec<Server<SentinelEngine>>> {
    let mut seats: Vec<(Port, String)> = Vec::new();
    for _ in 0..3 {
        let id = format!("{:016x}{:016x}{:08x}", random(), random(), random() >> 32);
        seats.push((Server::<SentinelEngine>::claim()?, id));
    }
    let ports: Vec<_> = nodes.iter().map(Server::port).collect();
    let [primary, replica] = ports.as_slice() else { return Ok(Vec::new()) };
    let name = RedisSentinel::SERVICE;
    let settings = |own: &str| {
        let others = seats.iter().filter(|(_, id)| id != own);
        let others = others.map(|(port, id)| {
            let port = port.number();
            format!("sentinel known-sentinel {name} 127.0.0.1 {port} {id}\n")
        });
        format!(
            "sentinel myid {own}\nsentinel monitor {name} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 6000\n\
             sentinel known-replica {name} 127.0.0.1 {replica}\n{}",
            others.collect::<String>()
        )
    };
    let all: Vec<_> = seats.iter().map(|(_, id)| settings(id)).collect();
    let starts = seats.into_iter().zip(all);
    let starts = starts.map(|((port, _), settings)| move || Server::launch_on(port, SentinelEngine { settings }));
    start_together(starts.collect())
}

fn knows_replica(sentinel: &Server<SentinelEngine>) -> bool {
    let Ok(reply) = resp::call(sentinel.port(), &["SENTINEL", "REPLICAS", RedisSentinel::SERVICE]) else {
        return false;
    };
    let flags = |replica: &crate::Reply| {
        let mut fields = replica.list().chunks_exact(2);
        fields.find_map(|pair| match pair {
            [name, value] if name.text() == Some("flags") => value.text().map(str::to_owned),
            _ => None,
        })
    };
    reply.list().iter().any(|replica| flags(replica).as_deref() == Some("slave"))
}

impl Engine for SentinelEngine {
    const NAME: &'static str = "redis-sentinel";

    fn prepare(&self, site: &Site) -> Result<()> {
        // Sentinel writes what it learns into its settings, into a new file beside the old one.
        site.write("sentinel.conf", &format!("port {}\nbind 127.0.0.1\n{}", site.port(), self.settings))
    }

    fn command(&self, site: &Site) -> Result<Command> {
        let mut command = site.logged(&REDIS.program("redis-server")?)?;
        command.args(["sentinel.conf", "--sentinel"]);
        Ok(command)
    }

    fn probe(&self, site: &Site) -> Result<()> {
        RedisEngine::with_args(&[]).probe(site)?;
        // They look at the nodes every ten seconds and greet each other every two, which makes a failover last eleven.
        // Sentinels before version 7 cannot be hurried, and are right all the same.
        let _ = resp::call(site.port(), &["SENTINEL", "DEBUG", "INFO-PERIOD", "500", "PUBLISH-PERIOD", "500"]);
        Ok(())
    }

    fn url(port: u16) -> String {
        RedisEngine::url(port)
    }
}
