//! A Redis Cluster of three primaries with a replica each.

use std::time::Duration;

use crate::{
    Error, Redis, Result,
    port::{Port, random},
    process::wait_for,
    redis::{QUICK_COPY, RedisEngine, start_together},
    server::{START_LIMIT, Server},
};

/// Six nodes: the primaries 0, 1 and 2 with a third of the slots each, and their replicas 3, 4 and 5.
///
/// # Behaviour
///
/// Ready after about two seconds, which each primary waits before it takes writes. A replica takes over when its primary
/// has been mute for two seconds.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

const SLOTS: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];
const NODES: usize = 6;

/// A node's place before it runs.
struct Seat {
    port: Port,
    id: String,
}

impl RedisCluster {
    /// Starts all six.
    ///
    /// # Errors
    ///
    /// When Redis is not installed, and with a log when one of them does not become ready.
    pub fn start() -> Result<Self> {
        Self::with_args(&[])
    }

    /// As [`start`](Self::start), with further arguments for every node, which win over ours.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn with_args(args: &[&str]) -> Result<Self> {
        let mut seats = Vec::new();
        for _ in 0..NODES {
            let id = format!("{:016x}{:016x}{:08x}", random(), random(), random() >> 32);
            seats.push(Seat { port: Server::<RedisEngine>::claim()?, id });
        }
        let mut all = vec!["--cluster-node-timeout", "2000"];
        all.extend(QUICK_COPY);
        all.extend(args);
        // Each node finds the finished cluster in its file, so that none has to be introduced to another.
        let files: Vec<_> = (0..NODES).map(|own| nodes_file(&seats, own)).collect();
        let starts = seats.into_iter().zip(files).map(|(seat, file)| {
            let engine = RedisEngine::node(&all, file);
            move || Redis::launch_on(seat.port, engine)
        });
        let mut cluster = Self { nodes: start_together(starts.collect())? };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The addresses of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The nodes, each of which may be killed, paused and restarted.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// Waits until every running node finds all slots served, and every running replica is in step with its primary.
    ///
    /// # Errors
    ///
    /// When they do not within a minute, as when a primary and its replica are down.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let mut last = String::new();
        let found = wait_for(START_LIMIT, || {
            // Twice: what primaries say of their replicas counts only once all of these are connected.
            match self.nodes.iter_mut().try_for_each(state).and_then(|()| self.nodes.iter_mut().try_for_each(state)) {
                Ok(()) => Some(()),
                Err(why) => {
                    last = why;
                    None
                }
            }
        });
        let log = || self.nodes.first().map(Server::log).unwrap_or_default();
        let reason = || format!("is not ready after {} s: {last}", START_LIMIT.as_secs());
        found.ok_or_else(|| Error::NotReady { server: "redis cluster", reason: reason(), log: log() })
    }

    /// The node that serves `slot` now, as an index into [`nodes`](Self::nodes), by the word of a running node.
    ///
    /// # Errors
    ///
    /// When no node answers, and when none serves the slot.
    pub fn owner_of(&self, slot: u16) -> Result<usize> {
        let mut last = Error::NotRunning("redis");
        for node in &self.nodes {
            let reply = match node.command(&["CLUSTER", "SLOTS"]) {
                Ok(reply) => reply,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let found = reply.list().iter().find_map(|range| match range.list() {
                [crate::Reply::Integer(from), crate::Reply::Integer(to), owner, ..] => {
                    let crate::Reply::Integer(port) = owner.list().get(1)? else { return None };
                    (*from..=*to).contains(&i64::from(slot)).then_some(*port)
                }
                _ => None,
            });
            let index = |port: i64| self.nodes.iter().position(|node| i64::from(node.port()) == port);
            return found
                .and_then(index)
                .ok_or_else(|| Error::refused("CLUSTER SLOTS", format!("nobody serves {slot}")));
        }
        Err(last)
    }

    /// Waits until `slot` is served by another node than `node`, after that one was killed or paused. Returns the new one.
    ///
    /// # Errors
    ///
    /// When no replica takes over within a minute.
    pub fn wait_for_owner_other_than(&mut self, node: usize, slot: u16) -> Result<usize> {
        let found = wait_for(Duration::from_mins(1), || self.owner_of(slot).ok().filter(|owner| *owner != node));
        found.ok_or_else(|| Error::refused("the cluster", format!("no other node serves {slot}")))
    }
}

/// What `CLUSTER NODES` prints, which is also how a node keeps it.
fn nodes_file(seats: &[Seat], own: usize) -> String {
    let line = |(index, seat): (usize, &Seat)| {
        let number = seat.port.number();
        let place = format!("{} 127.0.0.1:{number}@{}", seat.id, u32::from(number) + 10_000);
        let myself = if index == own { "myself," } else { "" };
        // Each primary has the epoch after its index.
        let part = index % SLOTS.len();
        match (SLOTS.get(index), seats.get(part)) {
            (None, Some(primary)) => format!("{place} {myself}slave {} 0 0 {} connected\n", primary.id, part + 1),
            (slots, _) => format!("{place} {myself}master - 0 0 {} connected {}\n", part + 1, slots.unwrap_or(&"")),
        }
    };
    let lines: String = seats.iter().enumerate().map(line).collect();
    format!("{lines}vars currentEpoch 6 lastVoteEpoch 0\n")
}

fn state(node: &mut Redis) -> Result<(), String> {
    if !node.is_running() {
        return Ok(());
    }
    let ask = |command: &[&str]| node.command(command).map_err(|error| error.to_string());
    let info = ask(&["CLUSTER", "INFO"])?;
    let info = info.text().unwrap_or_default();
    if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
        return Err(info.to_owned());
    }
    if node.is_in_step() { Ok(()) } else { Err("a replica is not in step".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_node_names_all_and_itself() {
        let seat = |name: usize| Seat { port: Port::claim_with_bus().unwrap(), id: format!("id{name}") };
        let seats: Vec<_> = (0..NODES).map(seat).collect();
        let file = nodes_file(&seats, 4);
        let lines: Vec<_> = file.lines().collect();
        assert!(lines[0].ends_with("master - 0 0 1 connected 0-5460"), "{file}");
        assert!(lines[4].ends_with("myself,slave id1 0 0 2 connected"), "{file}");
        assert!(lines[5].ends_with(" slave id2 0 0 3 connected"), "{file}");
        assert_eq!((lines.len(), file.matches("myself").count()), (7, 1));
    }
}
