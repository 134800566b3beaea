//! Two servers as one service: every storage of the sessions, with each request going to the other node, a node that is killed, and storages
//! that go away and come back.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use session_manager_services::{MariaDb, Memcached, Postgres, Redis, RedisCluster, RedisSentinel};
use session_manager_tests::client::{Client, Tokens};
use session_manager_tests::server::{Server, run_to_exit};

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "Correct-Horse-7";
/// The bound of the modes that have one, and the time that a bus may take.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Where nodes tell each other, the bound would be no proof of it: it is set to a minute then.
const BY_THE_BUS: &str = "verification.max_age=1m";
/// A failover, a restart: nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_mins(1);

fn start(data: &Path, settings: &[String]) -> Server {
    let mut arguments = Vec::new();
    for setting in settings {
        arguments.extend(["--set", setting.as_str()]);
    }
    Server::start(data, &arguments)
}

fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
    begin.elapsed()
}

fn registered(a: &Server, b: &Server) -> (Client, Client) {
    let (phone, laptop) = (a.client("Phone/1.0"), b.client("Laptop/2.0"));
    phone.post("/auth/register", json!({"email": EMAIL, "password": PASSWORD, "name": "Ann"})).expect(201);
    laptop.post("/auth/verify-email", json!({"token": a.mailed_token("/verify-email")})).expect(200);
    (phone, laptop)
}

/// How late a node may see what another ended.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    AtOnce,
    Within(Duration),
}

/// The life of two sessions, each step at the other node than the one before it.
fn as_one(settings: &[String], seen: Seen) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    live(&[data.clone(), data], settings, seen);
}

/// The same with a data folder for each node, as on two machines: they share nothing but the key file, and what the settings name.
fn as_one_apart(settings: &[String], seen: Seen) {
    let folder = tempfile::tempdir().unwrap();
    live(&apart(folder.path(), settings), settings, seen);
}

/// Two data folders with the same key file.
fn apart(folder: &Path, settings: &[String]) -> [PathBuf; 2] {
    let folders = [folder.join("a"), folder.join("b")];
    assert_eq!(start(&folders[0], settings).stop(), Some(0));
    for folder in [folders[1].clone(), folders[1].join("keys")] {
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let [from, to] = [&folders[0], &folders[1]].map(|folder| folder.join("keys/session-manager.keys"));
    std::fs::copy(from, to).unwrap();
    folders
}

fn live(folders: &[PathBuf; 2], settings: &[String], seen: Seen) {
    let (a, b) = (start(&folders[0], settings), start(&folders[1], settings));
    let (phone, laptop) = registered(&a, &b);
    let first = phone.login(EMAIL, PASSWORD);
    let second = laptop.login(EMAIL, PASSWORD);

    for (client, current) in [(&phone, &second), (&laptop, &first)] {
        let listed = client.get("/auth/sessions", &current.access).expect(200);
        assert_eq!(listed.json["total_count"], 2, "{}", listed.text);
        let mut agents: Vec<_> =
            listed.json["sessions"].as_array().unwrap().iter().map(|one| &one["ip_address"]).collect();
        agents.dedup();
        assert_eq!(agents, [&json!("127.0.0.1")]);
    }
    let first = refreshed_once(&[phone.clone(), laptop.clone()], &first);

    // The laptop's node ends the phone's session; the phone's node knows.
    phone.get("/auth/me", &first.access).expect(200);
    laptop.call("DELETE", &format!("/auth/sessions/{}", first.session), &second.access).expect(200);
    let refuses = || phone.get("/auth/me", &first.access).status == 401;
    match seen {
        Seen::AtOnce => assert!(refuses(), "at once"),
        Seen::Within(limit) => drop(wait_until("the end is seen", limit, refuses)),
    }
    phone.refresh(&first.refresh).expect_problem(401, ":revoked");
    laptop.get("/auth/me", &second.access).expect(200);

    // What was acknowledged outlives the node that did it.
    let third = phone.login(EMAIL, PASSWORD);
    a.kill();
    laptop.get("/auth/me", &third.access).expect(200);
    let third = laptop.refresh(&third.refresh).expect(200).tokens();
    let listed = laptop.get("/auth/sessions", &third.access).expect(200);
    assert_eq!(listed.json["total_count"], 2, "{}", listed.text);
    let a = start(&folders[0], settings);
    let phone = a.client("Phone/1.0");
    phone.get("/auth/me", &third.access).expect(200);
    laptop.call("DELETE", "/auth/sessions/all/revoke", &second.access).expect(200);
    for refresh in [&second.refresh, &third.refresh] {
        phone.refresh(refresh).expect(401);
    }
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));
}

/// One refresh token, presented sixteen times at once at both nodes: one successor, and everybody has it.
fn refreshed_once(clients: &[Client], tokens: &Tokens) -> Tokens {
    let barrier = Barrier::new(16);
    let answers: Vec<Tokens> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|index| {
                let (client, barrier) = (&clients[index % clients.len()], &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    client.refresh(&tokens.refresh).expect(200).tokens()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.refresh == answers[0].refresh), "one successor");
    answers[0].clone()
}

/// What one node counts, the other counts on from.
fn limited_as_one(settings: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nodes = [start(&data, settings), start(&data, settings)];
    let clients = [nodes[0].client("Phone/1.0"), nodes[1].client("Laptop/2.0")];
    // Nobody's account: the password is hashed all the same, and nothing is locked.
    let left: Vec<u32> = (0..8)
        .map(|index| {
            let email = format!("nobody{index}@example.org");
            let answer = clients[index % 2].post("/auth/login", json!({"email": email, "password": PASSWORD}));
            answer.expect(401).header("x-ratelimit-remaining").unwrap().parse().unwrap()
        })
        .collect();
    // A window may begin meanwhile, and is four minutes long.
    let steps = left.windows(2).filter(|pair| pair[1] + 1 == pair[0]).count();
    assert!(steps >= 6, "{left:?}");
}

/// A mailbox gets as many letters from all nodes together as from one.
fn mails_as_one(settings: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nodes = [start(&data, settings), start(&data, settings)];
    let clients = [nodes[0].client("Phone/1.0"), nodes[1].client("Laptop/2.0")];
    // An hour may begin meanwhile, but not in the middle of a minute.
    let answer = clients[0].send("GET", "/api/v1/provider-types", None, None);
    let left: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
    if left < 15 {
        thread::sleep(Duration::from_secs(left));
    }
    for index in 0..8 {
        let body = json!({"email": EMAIL, "password": PASSWORD, "name": "Ann"});
        clients[index % 2].post("/auth/register", body).expect(201);
    }
    let names = std::fs::read_dir(data.join("mail")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().ends_with(".eml")).count(), 5);
}

fn settings(list: &[&str]) -> Vec<String> {
    list.iter().map(|setting| (*setting).to_owned()).collect()
}

#[test]
fn on_sqlite() {
    as_one(&[], Seen::AtOnce);
    as_one(&settings(&["backend=opaque", "audit.sinks=db,log"]), Seen::AtOnce);
    as_one(&settings(&["verification.mode=feed"]), Seen::Within(MAX_AGE));
}

#[test]
fn on_postgres() {
    let server = Postgres::start().unwrap();
    let database = || format!("sessions.url={}", server.fresh_database().unwrap());
    as_one(&[database()], Seen::AtOnce);
    as_one(&[database(), "verification.mode=feed".to_owned(), BY_THE_BUS.to_owned()], Seen::Within(MAX_AGE));
}

#[test]
fn on_mariadb() {
    let server = MariaDb::start().unwrap();
    as_one(&[format!("sessions.url={}", server.fresh_database().unwrap())], Seen::AtOnce);
}

#[test]
fn with_accounts_on_postgres() {
    let server = Postgres::start().unwrap();
    let accounts = || format!("database.url={}", server.fresh_database().unwrap());
    as_one_apart(&[accounts()], Seen::AtOnce);
    as_one_apart(&[accounts(), "backend=opaque".to_owned(), "audit.sinks=db,log".to_owned()], Seen::AtOnce);
    as_one_apart(&[accounts(), "verification.mode=feed".to_owned(), BY_THE_BUS.to_owned()], Seen::Within(MAX_AGE));
}

#[test]
fn with_accounts_on_mariadb() {
    let server = MariaDb::start().unwrap();
    let accounts = || format!("database.url={}", server.fresh_database().unwrap());
    as_one_apart(&[accounts(), "audit.sinks=db,log".to_owned()], Seen::AtOnce);
    as_one_apart(&[accounts(), "verification.mode=feed".to_owned()], Seen::Within(MAX_AGE));
}

#[test]
fn with_accounts_on_postgres_and_sessions_on_a_redis_cluster() {
    let (server, cluster) = (Postgres::start().unwrap(), RedisCluster::start().unwrap());
    let settings = || {
        [
            format!("database.url={}", server.fresh_database().unwrap()),
            format!("sessions.url={}", cluster.urls().join(",")),
            "sessions.storage=redis-cluster".to_owned(),
            "audit.sinks=db,log".to_owned(),
        ]
    };
    as_one_apart(&settings(), Seen::AtOnce);
    account_life_apart(&settings());
}

#[test]
fn an_account_lives_on_two_nodes() {
    let (postgres, mariadb) = (Postgres::start().unwrap(), MariaDb::start().unwrap());
    for url in [postgres.fresh_database().unwrap(), mariadb.fresh_database().unwrap()] {
        account_life_apart(&[format!("database.url={url}")]);
    }
}

/// What an account goes through, each step at the other node; one of them is killed in the middle of it.
fn account_life_apart(settings: &[String]) {
    const NEW: &str = "Battery-Staple-8";
    let folder = tempfile::tempdir().unwrap();
    let settings = &[settings, &["rate_limits.enabled=false".to_owned()]].concat();
    let folders = apart(folder.path(), settings);
    let (a, b) = (start(&folders[0], settings), start(&folders[1], settings));
    let (phone, laptop) = registered(&a, &b);
    let (first, second) = (phone.login(EMAIL, PASSWORD), laptop.login(EMAIL, PASSWORD));
    // A lock that one node has seen the beginning of counts at the other: ten guesses, at whichever.
    for guess in 0..10 {
        let client = if guess % 2 == 0 { &phone } else { &laptop };
        client.post("/auth/login", json!({"email": "eve@example.org", "password": "wrong"})).expect(401);
    }
    for client in [&phone, &laptop] {
        let answer = client.post("/auth/login", json!({"email": "eve@example.org", "password": "wrong"}));
        answer.expect_problem(403, ":account-locked");
    }
    // A new password at one node ends the sessions of the other.
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    let changed = phone.send("PATCH", "/api/v1/auth/me/password", Some(&first.access), Some(&change));
    changed.expect(200);
    laptop.get("/auth/me", &second.access).expect(401);
    laptop.post("/auth/login", json!({"email": EMAIL, "password": PASSWORD})).expect(401);
    let third = laptop.login(EMAIL, NEW);
    phone.get("/auth/me", &third.access).expect(200);
    // The node that did it dies; what it had said is so.
    a.kill();
    laptop.get("/auth/me", &third.access).expect(200);
    laptop.post("/password-resets", json!({"email": EMAIL})).expect(202);
    b.wait_for_mail("reset");
    let a = start(&folders[0], settings);
    let phone = a.client("Phone/1.0");
    let token = b.mailed_token("/reset-password");
    let path = format!("/api/v1/password-resets/{token}");
    let reset = phone.send("PATCH", &path, None, Some(&json!({"new_password": PASSWORD})));
    reset.expect(200);
    laptop.get("/auth/me", &third.access).expect(401);
    laptop.login(EMAIL, PASSWORD);
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));
}

#[test]
fn two_servers_begin_at_once_on_an_empty_database() {
    let (postgres, mariadb) = (Postgres::start().unwrap(), MariaDb::start().unwrap());
    for round in 0..3 {
        for url in [postgres.fresh_database().unwrap(), mariadb.fresh_database().unwrap()] {
            let folder = tempfile::tempdir().unwrap();
            let settings = [format!("database.url={url}")];
            let barrier = Barrier::new(4);
            let nodes: Vec<Server> = thread::scope(|scope| {
                let begun: Vec<_> = (0..4)
                    .map(|node| {
                        let (data, settings, barrier) = (folder.path().join(node.to_string()), &settings, &barrier);
                        scope.spawn(move || {
                            barrier.wait();
                            start(&data, settings)
                        })
                    })
                    .collect();
                begun.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            for node in nodes {
                let client = node.client("Phone/1.0");
                assert_eq!(client.send("GET", "/ready", None, None).status, 200, "round {round}");
            }
        }
    }
}

#[test]
fn on_redis() {
    let server = Redis::start().unwrap();
    let url = format!("sessions.url={}", server.url());
    as_one(&[url.clone(), "sessions.storage=redis".to_owned()], Seen::AtOnce);
    let feed = "verification.mode=feed".to_owned();
    as_one(&[url, "sessions.storage=redis".to_owned(), feed, BY_THE_BUS.to_owned()], Seen::Within(MAX_AGE));
}

#[test]
fn on_a_redis_cluster() {
    let cluster = RedisCluster::start().unwrap();
    let url = format!("sessions.url={}", cluster.urls().join(","));
    let storage = "sessions.storage=redis-cluster".to_owned();
    as_one(&[url, storage, "verification.mode=feed".to_owned(), BY_THE_BUS.to_owned()], Seen::Within(MAX_AGE));
}

#[test]
fn limits_are_one_for_all_nodes_where_there_is_redis() {
    let server = Redis::start().unwrap();
    let settings = [format!("sessions.url={}", server.url()), "sessions.storage=redis".to_owned()];
    limited_as_one(&settings);
    mails_as_one(&settings);
    let cluster = RedisCluster::start().unwrap();
    let url = format!("sessions.url={}", cluster.urls().join(","));
    limited_as_one(&[url, "sessions.storage=redis-cluster".to_owned()]);
}

#[test]
fn on_memcached() {
    let server = Memcached::start().unwrap();
    as_one(&[format!("sessions.url={}", server.url()), "sessions.storage=memcached".to_owned()], Seen::AtOnce);
}

#[test]
fn behind_a_cache_that_nodes_share() {
    let (database, cache) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let url = || format!("sessions.url={}", database.fresh_database().unwrap());
    let tiered = "sessions.storage=tiered".to_owned();
    let cache = format!("sessions.cache_url={}", cache.url());
    // Always: the database is read, whatever the cache remembers.
    as_one(&[url(), tiered.clone(), cache.clone()], Seen::AtOnce);
    let cached = "verification.mode=cached".to_owned();
    as_one(&[url(), tiered.clone(), cache, cached.clone(), BY_THE_BUS.to_owned()], Seen::Within(MAX_AGE));
    // Without a shared cache the nodes hear of each other by the database.
    as_one(&[url(), tiered, cached, BY_THE_BUS.to_owned()], Seen::Within(MAX_AGE));
}

#[test]
fn stateless_tokens_live_until_they_expire_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&["verification.mode=stateless", "policy.access_token_lifetime=3s"]);
    let (a, b) = (start(&folder.path().join("data"), &settings), start(&folder.path().join("data"), &settings));
    let (phone, laptop) = registered(&a, &b);
    let (first, second) = (phone.login(EMAIL, PASSWORD), laptop.login(EMAIL, PASSWORD));
    laptop.call("DELETE", &format!("/auth/sessions/{}", first.session), &second.access).expect(200);
    phone.refresh(&first.refresh).expect_problem(401, ":revoked");
    // The leeway for clocks comes on top of the lifetime.
    wait_until("it expires", Duration::from_secs(10), || phone.get("/auth/me", &first.access).status == 401);
}

#[test]
fn through_a_failover_of_sentinel() {
    let mut servers = RedisSentinel::start().unwrap();
    let url = servers
        .sentinel_urls()
        .iter()
        .map(|url| format!("{url}?service={}", RedisSentinel::SERVICE))
        .collect::<Vec<_>>()
        .join(",");
    let settings = [format!("sessions.url={url}"), "sessions.storage=redis-sentinel".to_owned()];
    as_one(&settings, Seen::AtOnce);

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (a, b) = (start(&data, &settings), start(&data, &settings));
    let (phone, laptop) = registered(&a, &b);
    let before = phone.login(EMAIL, PASSWORD);
    let ended = laptop.login(EMAIL, PASSWORD);
    phone.call("DELETE", &format!("/auth/sessions/{}", ended.session), &before.access).expect(200);
    let primary = servers.primary().unwrap();
    servers.nodes()[primary].kill().unwrap();
    let answer = phone.get("/auth/me", &before.access);
    assert!(answer.status == 503 || answer.status == 200, "{}", answer.text);
    servers.wait_for_primary_other_than(primary).unwrap();
    for client in [&phone, &laptop] {
        wait_until("it goes on at the new primary", PATIENCE, || client.get("/auth/me", &before.access).status == 200);
        client.get("/auth/me", &ended.access).expect(401);
    }
    laptop.login(EMAIL, PASSWORD);
}

/// What Redis, or a Sentinel, says to a command.
fn told(port: u16, command: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// The old primary lives and keeps its connections. Whoever writes to it hears that it is a replica now.
#[test]
fn a_primary_that_became_a_replica_is_let_go() {
    let mut servers = RedisSentinel::start().unwrap();
    let name = RedisSentinel::SERVICE;
    let urls: Vec<_> = servers.sentinel_urls().iter().map(|url| format!("{url}?service={name}")).collect();
    let settings = [
        format!("sessions.url={}", urls.join(",")),
        "sessions.storage=redis-sentinel".to_owned(),
        "rate_limits.enabled=false".to_owned(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder.path().join("data"), &settings);
    let (phone, _) = registered(&server, &server);
    let before = phone.login(EMAIL, PASSWORD);

    let old = servers.primary().unwrap();
    let [old, new] = [old, 1 - old].map(|node| servers.nodes()[node].port());
    let mut sentinels = Vec::new();
    for sentinel in servers.sentinels() {
        sentinels.push(sentinel.port());
    }
    for sentinel in &sentinels {
        assert_eq!(told(*sentinel, &format!("SENTINEL REMOVE {name}")), "+OK");
    }
    assert_eq!(told(new, "REPLICAOF NO ONE"), "+OK");
    assert_eq!(told(old, &format!("REPLICAOF 127.0.0.1 {new}")), "+OK");
    for sentinel in &sentinels {
        assert_eq!(told(*sentinel, &format!("SENTINEL MONITOR {name} 127.0.0.1 {new} 2")), "+OK");
    }
    assert!(told(old, "SET a b").starts_with("-READONLY"));
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let first = phone.post("/auth/login", body.clone());
    assert!([200, 503].contains(&first.status), "{}", first.text);
    wait_until("it writes to the new primary", PATIENCE, || phone.post("/auth/login", body.clone()).status == 200);
    phone.get("/auth/me", &before.access).expect(200);
}

/// 503 with `Retry-After` while the storage is away, never 401; not ready; and recovery without a restart.
fn away_and_back(settings: &[String], leave: impl FnOnce(), come_back: impl FnOnce()) {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder.path().join("data"), settings);
    let (phone, _) = registered(&server, &server);
    let tokens = phone.login(EMAIL, PASSWORD);
    assert_eq!(phone.send("GET", "/ready", None, None).status, 200);

    leave();
    // What was found a moment ago is told for a second.
    wait_until("it is not ready", Duration::from_secs(15), || phone.send("GET", "/ready", None, None).status == 503);
    let refresh = json!({"refresh_token": tokens.refresh});
    for (method, path, body) in
        [("GET", "/api/v1/auth/me", None), ("POST", "/api/v1/auth/refresh", Some(&refresh)), ("GET", "/ready", None)]
    {
        let begin = Instant::now();
        let answer = phone.send(method, path, body.is_none().then_some(tokens.access.as_str()), body);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text);
        assert!(answer.header("retry-after").is_some(), "{path}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{path}: {:?}", begin.elapsed());
    }
    assert_eq!(phone.send("GET", "/health", None, None).status, 200, "it lives");

    come_back();
    wait_until("it recovers", PATIENCE, || phone.send("GET", "/ready", None, None).status == 200);
    wait_until("it recovers", PATIENCE, || phone.get("/auth/me", &tokens.access).status == 200);
    phone.refresh(&tokens.refresh).expect(200);
}

#[test]
fn while_redis_is_paused() {
    let server = RefCell::new(Redis::start().unwrap());
    let settings = [format!("sessions.url={}", server.borrow().url()), "sessions.storage=redis".to_owned()];
    away_and_back(&settings, || server.borrow_mut().pause().unwrap(), || server.borrow_mut().resume().unwrap());
}

#[test]
fn while_postgres_is_restarted() {
    let server = RefCell::new(Postgres::start().unwrap());
    let settings = [format!("sessions.url={}", server.borrow().fresh_database().unwrap())];
    away_and_back(&settings, || server.borrow_mut().kill().unwrap(), || server.borrow_mut().restart().unwrap());
}

#[test]
fn while_the_accounts_are_paused_or_restarted_on_postgres() {
    let server = RefCell::new(Postgres::start().unwrap());
    let settings = || [format!("database.url={}", server.borrow().fresh_database().unwrap())];
    away_and_back(&settings(), || server.borrow_mut().kill().unwrap(), || server.borrow_mut().restart().unwrap());
    away_and_back(&settings(), || server.borrow_mut().pause().unwrap(), || server.borrow_mut().resume().unwrap());
}

#[test]
fn while_the_accounts_are_paused_or_restarted_on_mariadb() {
    let server = RefCell::new(MariaDb::start().unwrap());
    let settings = || [format!("database.url={}", server.borrow().fresh_database().unwrap())];
    away_and_back(&settings(), || server.borrow_mut().kill().unwrap(), || server.borrow_mut().restart().unwrap());
    away_and_back(&settings(), || server.borrow_mut().pause().unwrap(), || server.borrow_mut().resume().unwrap());
}

#[test]
fn what_is_missing_at_the_start_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut gone = Redis::start().unwrap();
    let url = gone.url();
    gone.stop().unwrap();
    for (settings, code, words) in [
        (vec!["sessions.storage=redis".to_owned()], 2, "`sessions.url`"),
        (vec!["sessions.storage=redis".to_owned(), format!("sessions.url={url}")], 1, "cannot be reached"),
        (vec!["verification.mode=cached".to_owned()], 2, "`verification.mode`"),
        (vec!["sessions.url=redis://127.0.0.1:1".to_owned()], 2, "postgres://"),
        (vec!["backend=opaque".to_owned(), "verification.mode=feed".to_owned()], 2, "`backend` = jwt"),
    ] {
        let mut arguments = Vec::new();
        for setting in &settings {
            arguments.extend(["--set", setting.as_str()]);
        }
        let (status, said) = run_to_exit(&folder.path().join("data"), &arguments);
        assert_eq!(status, Some(code), "{said}");
        assert!(said.contains(words), "{settings:?}: {said}");
    }
}
