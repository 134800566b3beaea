//! Servers end with the process that owns them, however that one ends; two owners never meet.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests, which also tell how long things took"
)]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use session_manager_services::{Engine, MariaDb, Memcached, PgBouncer, Postgres, Redis, Server};

/// Tells the process that is started by a test here what to do.
const ROLE: &str = "SESSION_MANAGER_TEST_OWNER";

/// Not a test: what the other process runs.
#[test]
#[ignore = "the process that the tests of this file start"]
fn owner() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut postgres = Postgres::start().unwrap();
    let mut redis = Redis::with_args(&["--appendonly", "yes"]).unwrap();
    let mut mariadb = MariaDb::start().unwrap();
    let mut memcached = Memcached::start().unwrap();
    let mut pgbouncer = PgBouncer::before(&postgres).unwrap();
    if role == "paused" {
        postgres.pause().unwrap();
        redis.pause().unwrap();
    }
    let mut out = std::io::stdout();
    write!(out, "{}{}", line(&mut postgres), line(&mut redis)).unwrap();
    writeln!(out, "{}{}{}ready", line(&mut mariadb), line(&mut memcached), line(&mut pgbouncer)).unwrap();
    out.flush().unwrap();
    assert_ne!(role, "panics", "as told");
    loop {
        std::thread::park();
    }
}

/// For the parent to read: port, folder and processes.
fn line<E: Engine>(server: &mut Server<E>) -> String {
    let ids: Vec<_> = server.process_ids().iter().map(u32::to_string).collect();
    format!("server {} {} {}\n", server.port(), server.folder().display(), ids.join(" "))
}

struct Owner {
    child: Child,
    servers: Vec<Seen>,
}

struct Seen {
    port: u16,
    folder: PathBuf,
    ids: Vec<u32>,
}

impl Owner {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["owner", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut servers = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("the owner did not start its servers") };
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["server", port, folder, ids @ ..] => servers.push(Seen {
                    port: port.parse().unwrap(),
                    folder: folder.into(),
                    ids: ids.iter().map(|id| id.parse().unwrap()).collect(),
                }),
                ["ready"] => break,
                _ => {}
            }
        }
        assert_eq!(servers.len(), 5);
        assert!(servers.iter().all(|seen| seen.folder.is_dir() && seen.ids.iter().all(|id| is_running(*id))));
        assert!(servers[0].ids.len() > 3, "PostgreSQL has processes of its own");
        Self { child, servers }
    }

    fn remains(&self) -> Vec<String> {
        let mut remains = Vec::new();
        for seen in &self.servers {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, seen.port)).is_ok() {
                remains.push(format!("port {}", seen.port));
            }
            if seen.folder.exists() {
                remains.push(seen.folder.display().to_string());
            }
            remains.extend(seen.ids.iter().filter(|id| is_running(**id)).map(|id| format!("process {id}")));
        }
        remains
    }

    #[track_caller]
    fn assert_gone_within(&mut self, limit: Duration) {
        let begun = Instant::now();
        while !self.remains().is_empty() {
            assert!(begun.elapsed() < limit, "left after {limit:?}: {:?}", self.remains());
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("all gone after {:?}", begun.elapsed());
        self.child.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_running(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn sigkill_of_the_owner_ends_its_servers_within_two_seconds() {
    let mut owner = Owner::start("waits");
    owner.child.kill().unwrap();
    owner.assert_gone_within(Duration::from_secs(2));
}

#[test]
fn sigkill_of_the_owner_ends_paused_servers_too() {
    let mut owner = Owner::start("paused");
    owner.child.kill().unwrap();
    owner.assert_gone_within(Duration::from_secs(2));
}

#[test]
fn ctrl_c_ends_the_servers() {
    let mut owner = Owner::start("waits");
    kill_process(Pid::from_child(&owner.child), Signal::INT).unwrap();
    owner.assert_gone_within(Duration::from_secs(2));
}

#[test]
fn a_panic_of_the_owner_ends_its_servers() {
    let mut owner = Owner::start("panics");
    // The panic unwinds, so that everything is gone when the process is.
    assert!(!owner.child.wait().unwrap().success());
    assert_eq!(owner.remains(), Vec::<String>::new());
}

#[test]
fn two_owners_at_once_do_not_meet() {
    let starts: Vec<_> = (0..2).map(|_| std::thread::spawn(|| Owner::start("waits"))).collect();
    let mut owners: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let ports: BTreeSet<_> = owners.iter().flat_map(|owner| &owner.servers).map(|seen| seen.port).collect();
    let folders: BTreeSet<_> = owners.iter().flat_map(|owner| &owner.servers).map(|seen| &seen.folder).collect();
    assert_eq!((ports.len(), folders.len()), (10, 10));
    for owner in &mut owners {
        owner.child.kill().unwrap();
    }
    for owner in &mut owners {
        owner.assert_gone_within(Duration::from_secs(3));
    }
}
