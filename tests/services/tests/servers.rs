//! Every server for real: started, spoken to, killed, paused, restarted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests, which also tell how long things took"
)]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use session_manager_services::{
    Engine, Error, MariaDb, Memcached, Package, PgBouncer, Postgres, Redis, RedisCluster, RedisSentinel, Reply, Server,
    Service, Services, fresh_mysql_database, fresh_postgres_database, missing, urls,
};

/// These tests are about the servers, so they cannot do without; what is not there is a reason to end with its name.
fn must<T>(started: Result<T, Error>) -> T {
    started.unwrap_or_else(|error| panic!("{error}"))
}

/// PostgreSQL's client, asked by its own means and not by the library's.
fn psql(url: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql").args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, url]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn mariadb(server: &MariaDb, database: &str, sql: &str) -> Result<String, String> {
    let port = server.port().to_string();
    let login = ["--no-defaults", "-h127.0.0.1", "-uroot", "-BN", "-P", &port, "-e", sql, database];
    let output = Command::new("mariadb").args(login).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn text(reply: &str) -> Reply {
    Reply::Text(reply.to_owned())
}

/// Writes to a primary until its replica has it; Redis counts the writes of the connection that waits.
fn set_and_wait(port: u16, key: &str, value: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(format!("SET {key} {value}\r\nWAIT 1 5000\r\n").as_bytes()).unwrap();
    let lines: Vec<_> = BufReader::new(stream).lines().take(2).map(Result::unwrap).collect();
    assert_eq!(lines, ["+OK", ":1"]);
}

/// Whether the server accepts a connection but does not answer.
fn is_mute(port: u16, question: &[u8]) -> bool {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(question).unwrap();
    let error = stream.read(&mut [0; 16]).map_err(|error| error.kind());
    matches!(error, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn is_gone<E: Engine>(server: Server<E>) {
    let mut server = server;
    let (ids, folder, port) = (server.process_ids(), server.folder().to_owned(), server.port());
    assert!(!ids.is_empty() && folder.is_dir());
    drop(server);
    assert!(!folder.exists(), "{} is left", folder.display());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "somebody listens");
    for id in ids {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat"));
        assert!(state.as_ref().is_err() || state.as_ref().is_ok_and(|state| state.contains(") Z")), "{state:?}");
    }
}

#[test]
fn postgres_keeps_what_was_committed_over_kill_and_restart() {
    let mut server = must(Postgres::start());
    let url = must(server.fresh_database());
    assert_ne!(url, must(server.fresh_database()));
    psql(&url, "CREATE TABLE t (n int)").unwrap();
    psql(&url, "INSERT INTO t VALUES (1)").unwrap();
    server.kill().unwrap();
    assert!(psql(&url, "SELECT 1").is_err());
    assert!(matches!(server.kill(), Err(Error::NotRunning("postgres"))));
    must(server.restart());
    psql(&url, "INSERT INTO t VALUES (2)").unwrap();
    must(server.restart());
    assert_eq!(psql(&url, "SELECT sum(n) FROM t"), Ok("3".to_owned()));
    assert!(server.log().contains("ready to accept connections"), "{}", server.log());
    is_gone(server);
}

#[test]
fn postgres_stands_still_with_the_connections_it_has() {
    let mut server = must(Postgres::with_args(&["-c", "application_name=mine"]));
    assert_eq!(psql(&server.url(), "SHOW application_name").unwrap(), "psql");
    assert_eq!(psql(&server.url(), "SHOW fsync").unwrap(), "off");
    let url = server.url();
    let mut busy = Command::new("psql").args(["-XqAt", "-c", "SELECT pg_sleep(0.5), 'awake'", &url]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    server.pause().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(busy.try_wait().unwrap().is_none(), "a backend went on");
    assert!(is_mute(server.port(), &[0, 0, 0, 8, 4, 210, 22, 47]), "the postmaster went on");
    server.resume().unwrap();
    assert!(busy.wait().unwrap().success());
    // Paused servers go too.
    server.pause().unwrap();
    is_gone(server);
}

#[test]
fn pgbouncer_shares_few_connections_among_many_clients() {
    let postgres = must(Postgres::start());
    let bouncer = must(PgBouncer::before(&postgres));
    let url = must(bouncer.fresh_database());
    psql(&url, "CREATE TABLE t (n int)").unwrap();
    let direct = url.replace(&bouncer.port().to_string(), &postgres.port().to_string());
    assert_eq!(psql(&direct, "SELECT count(*) FROM t"), Ok("0".to_owned()), "the same database");
    assert!(fresh_postgres_database("postgres://nobody@127.0.0.1:1/x").is_err());

    // More clients than connections, all of them connected at once: each is served between the others' transactions.
    let mut clients: Vec<_> = (0..8)
        .map(|_| {
            let mut psql = Command::new("psql");
            psql.args(["-XqAt", &url]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut backends = BTreeSet::new();
    for client in &mut clients {
        client.stdin.as_mut().unwrap().write_all(b"SELECT pg_backend_pid();\n").unwrap();
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        backends.insert(line.trim().parse::<u32>().unwrap());
    }
    assert!((1..=4).contains(&backends.len()), "{backends:?}");
    for mut client in clients {
        drop(client.stdin.take());
        assert!(client.wait().unwrap().success());
    }
    is_gone(bouncer);
}

#[test]
fn mariadb_keeps_what_was_committed_over_kill_and_restart() {
    let mut server = must(MariaDb::with_args(&["--lower-case-table-names=1"]));
    assert_eq!(mariadb(&server, "mysql", "SELECT @@lower_case_table_names").unwrap(), "1");
    let url = must(server.fresh_database());
    let (_, database) = url.rsplit_once('/').unwrap();
    mariadb(&server, database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();
    server.kill().unwrap();
    assert!(mariadb(&server, database, "SELECT 1").is_err());
    must(server.restart());
    mariadb(&server, database, "INSERT INTO t VALUES (2)").unwrap();
    must(server.restart());
    assert_eq!(mariadb(&server, database, "SELECT sum(n) FROM t"), Ok("3".to_owned()));
    server.pause().unwrap();
    assert!(is_mute(server.port(), b""));
    server.resume().unwrap();
    assert_eq!(mariadb(&server, database, "SELECT 1"), Ok("1".to_owned()));
    is_gone(server);
}

#[test]
fn redis_forgets_by_default_and_keeps_when_asked() {
    let keep = ["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"];
    for (args, kept) in [(&[][..], Reply::Nil), (&keep[..], text("v"))] {
        let mut server = must(Redis::with_args(args));
        server.command(&["SET", "k", "v"]).unwrap();
        server.kill().unwrap();
        assert!(server.command(&["PING"]).is_err());
        must(server.restart());
        assert_eq!(server.command(&["GET", "k"]).unwrap(), kept, "{args:?}");
        must(server.restart());
        assert_eq!(server.command(&["GET", "k"]).unwrap(), kept, "{args:?}");
        if !args.is_empty() {
            let policy = server.command(&["CONFIG", "GET", "maxmemory-policy"]).unwrap();
            assert_eq!(policy.list()[1], text("allkeys-lru"));
        }
        assert!(matches!(server.command(&["NONSENSE"]), Err(Error::Refused { .. })));
        server.pause().unwrap();
        assert!(is_mute(server.port(), b"PING\r\n"));
        server.resume().unwrap();
        assert_eq!(server.command(&["PING"]).unwrap(), text("PONG"));
        is_gone(server);
    }
}

#[test]
fn memcached_stores_and_forgets() {
    let mut server = must(Memcached::start());
    let ask = |question: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    assert_eq!(ask("set k 0 0 1\r\nv\r\n"), "STORED\r\n");
    assert_eq!(ask("get k\r\n"), "VALUE k 0 1\r\n");
    server.kill().unwrap();
    must(server.restart());
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.write_all(b"get k\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "END\r\n");
    server.pause().unwrap();
    assert!(is_mute(server.port(), b"version\r\n"));
    server.resume().unwrap();
    assert!(!is_mute(server.port(), b"version\r\n"));
    is_gone(server);
}

#[test]
fn sentinel_fails_over_on_request_and_when_the_primary_dies() {
    let begun = Instant::now();
    let mut group = must(RedisSentinel::start());
    eprintln!("Sentinel ready after {:?}", begun.elapsed());
    assert_eq!(group.sentinel_urls().len(), 3);
    assert_eq!(group.primary().unwrap(), 0);
    set_and_wait(group.nodes()[0].port(), "k", "v");

    let begun = Instant::now();
    must(group.failover());
    eprintln!("failover on request took {:?}", begun.elapsed());
    assert_eq!(group.primary().unwrap(), 1);
    assert_eq!(group.nodes()[1].command(&["GET", "k"]).unwrap(), text("v"));
    assert!(group.nodes()[0].command(&["SET", "k", "w"]).is_err(), "a replica takes no writes");

    group.nodes()[1].kill().unwrap();
    let begun = Instant::now();
    assert_eq!(must(group.wait_for_primary_other_than(1)), 0);
    eprintln!("failover after a death took {:?}", begun.elapsed());
    group.nodes()[0].command(&["SET", "k", "w"]).unwrap();
    must(group.nodes()[1].restart());
    must(group.wait_until_agreed());
}

#[test]
fn cluster_serves_all_slots_and_replaces_a_dead_primary() {
    let begun = Instant::now();
    let mut cluster = must(RedisCluster::start());
    eprintln!("Cluster ready after {:?}", begun.elapsed());
    assert_eq!(cluster.urls().len(), 6);
    for (key, slot) in [("b", 3300), ("c", 7365), ("a", 15495)] {
        let owner = cluster.owner_of(slot).unwrap();
        set_and_wait(cluster.nodes()[owner].port(), key, key);
        let other = cluster.nodes()[(owner + 1) % 3].command(&["GET", key]);
        assert!(matches!(other, Err(Error::Refused { answer, .. }) if answer.starts_with("MOVED")), "{key}");
    }
    let before = cluster.owner_of(3300).unwrap();
    cluster.nodes()[before].kill().unwrap();
    let begun = Instant::now();
    let after = must(cluster.wait_for_owner_other_than(before, 3300));
    eprintln!("a replica took over after {:?}", begun.elapsed());
    assert_eq!((before, after), (0, 3));
    must(cluster.wait_until_ready());
    assert_eq!(cluster.nodes()[after].command(&["GET", "b"]).unwrap(), text("b"));
    must(cluster.nodes()[before].restart());
    must(cluster.wait_until_ready());
    assert_eq!(cluster.owner_of(3300).unwrap(), after, "the old primary follows the new one");
}

#[test]
fn all_start_at_once_and_say_where_they_are() {
    assert_eq!(missing(), []);
    assert!(Package::ALL.iter().all(|package| package.find().is_ok()));
    let begun = Instant::now();
    let services = must(Services::start());
    let took = begun.elapsed();
    for (name, took) in services.times() {
        eprintln!("{name:<15} {:.2} s", took.as_secs_f64());
    }
    eprintln!("all together    {:.2} s", took.as_secs_f64());
    let environment = services.environment();
    let value = |service: Service| {
        let found = environment.iter().find(|(name, _)| *name == service.variable());
        found.unwrap().1.clone()
    };
    let (postgres, bouncer) = (value(Service::Postgres), value(Service::PgBouncer));
    assert_ne!(postgres, bouncer);
    assert_eq!(psql(&postgres, "SELECT 1"), Ok("1".to_owned()));
    assert_eq!(psql(&bouncer, "SELECT 1"), Ok("1".to_owned()));
    assert!(value(Service::MariaDb).starts_with("mysql://root@127.0.0.1:"));
    assert!(value(Service::Redis).starts_with("redis://127.0.0.1:"));
    assert!(value(Service::Memcached).starts_with("memcached://127.0.0.1:"));
    assert_eq!(value(Service::RedisSentinel).split(',').count(), 3);
    assert_eq!(value(Service::RedisCluster).split(',').count(), 6);
}

#[test]
fn the_shared_servers_are_where_the_environment_says() {
    let port = |url: &str| -> u16 {
        let (_, place) = url.rsplit_once(':').unwrap();
        place.split('/').next().unwrap().parse().unwrap()
    };
    for service in Service::ALL {
        let Some(all) = urls(service) else { return };
        for url in &all {
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port(url))).is_ok(), "{service:?}: {url}");
        }
        match service {
            Service::Postgres | Service::PgBouncer => {
                let database = must(fresh_postgres_database(&all[0]));
                assert_eq!(psql(&database, "SELECT 1"), Ok("1".to_owned()));
            }
            Service::MariaDb => assert_ne!(must(fresh_mysql_database(&all[0])), must(fresh_mysql_database(&all[0]))),
            Service::RedisSentinel => assert_eq!(all.len(), 3),
            Service::RedisCluster => assert_eq!(all.len(), 6),
            Service::Redis | Service::Memcached => assert_eq!(all.len(), 1),
        }
    }
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let error = Postgres::with_args(&["-c", "nonsense=1"]).unwrap_err().to_string();
    assert!(error.contains("postgres ended with exit status: 1") && error.contains("\"nonsense\""), "{error}");
    let error = MariaDb::with_args(&["--nonsense"]).unwrap_err().to_string();
    assert!(error.contains("mariadb ended with") && error.contains("nonsense"), "{error}");
    let error = Redis::with_args(&["--nonsense", "1"]).unwrap_err().to_string();
    assert!(error.contains("redis ended with") && error.contains("nonsense"), "{error}");
    let error = Memcached::with_args(&["--nonsense"]).unwrap_err().to_string();
    assert!(error.contains("memcached ended with") && error.contains("nonsense"), "{error}");
}
