//! The server as a process: its first line, its end by a signal, and what it says when it cannot start.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the functions between the tests are tests too")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-manager-server"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server that answers, and the address it named.
fn start(data: &Path) -> (Child, String) {
    let mut child = command(data).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| panic!("first line: {line:?}"));
    (child, address.to_owned())
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Posts JSON to the API, which must answer with this status.
fn post(address: &str, path: &str, body: &str, status: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /api/v1/auth/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
}

/// Runs to the end, which must be a failure told in one paragraph.
fn refused(command: &mut Command, status: i32) -> String {
    let Output { status: ended, stdout, stderr } = command.output().unwrap();
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!(ended.code(), Some(status), "{message}");
    assert!(stdout.is_empty(), "nothing was promised");
    let last = message.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("session-manager-server: "), "{message}");
    assert!(!message.contains("panicked") && !message.contains("Error {") && !message.contains("Os {"), "{message}");
    last
}

#[test]
fn it_listens_answers_and_ends_by_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new/data");
    for round in 0..2 {
        let (mut child, address) = start(&data);
        assert!(get(&address, "/ready/").starts_with("HTTP/1.1 200"), "round {round}");
        // A connection that is open and silent must not keep the server alive.
        let idle = TcpStream::connect(&address).unwrap();
        terminate(&child);
        assert_eq!(child.wait().unwrap().code(), Some(0), "round {round}");
        drop(idle);
    }
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

/// What a server with these arguments says on standard error from its start to its end.
fn log_of(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(&folder.path().join("data")).args(arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_start_behind_an_unknown_proxy_is_warned_of() {
    const WARNING: &str = "http.trusted_proxies is empty";
    let public = "public_url=https://accounts.example.org";
    assert!(log_of(&["--set", public]).contains(WARNING));
    assert!(!log_of(&["--set", public, "--set", "http.trusted_proxies=127.0.0.1"]).contains(WARNING));
    assert!(!log_of(&[]).contains(WARNING));
}

const CREDENTIALS: &str = r#""email":"ann@example.org","password":"Correct-Horse-7""#;

/// Makes an account whose address is confirmed.
fn register(address: &str, folder: &Path) {
    post(address, "register", &format!("{{{CREDENTIALS},\"name\":\"Ann\"}}"), "201");
    let mail = fs::read_dir(folder.join("mail")).unwrap().next().unwrap().unwrap().path();
    let mail = fs::read_to_string(mail).unwrap();
    let token = mail.lines().find_map(|line| line.split_once("?token=")).unwrap().1;
    post(address, "verify-email", &format!("{{\"token\":\"{token}\"}}"), "200");
}

/// The service's own tests hash at less cost.
#[test]
fn the_program_hashes_passwords_as_owasp_recommends() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = start(folder.path());
    register(&address, folder.path());
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let mut stored = Vec::new();
    for file in ["session-manager.sqlite3", "session-manager.sqlite3-wal"] {
        stored.extend(fs::read(folder.path().join(file)).unwrap_or_default());
    }
    let stored = String::from_utf8_lossy(&stored);
    let costs: Vec<_> = stored.match_indices("$argon2id$").map(|(at, _)| &stored[at..at + 31]).collect();
    assert!(!costs.is_empty() && costs.iter().all(|cost| *cost == "$argon2id$v=19$m=19456,t=2,p=1$"), "{costs:?}");
}

#[test]
fn an_open_stream_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = start(folder.path());
    register(&address, folder.path());
    let form = "email=ann%40example.org&password=Correct-Horse-7";
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /sign-in HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let cookies = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
    let cookies: Vec<_> = cookies.collect();
    assert_eq!(cookies.len(), 3, "{answer}");

    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "GET /devices/events HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: same-origin\r\nCookie: {}\r\n\r\n",
        cookies.join("; ")
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let told = reader.by_ref().lines().map(Result::unwrap).find(|line| line.starts_with("data: "));
    assert!(told.is_some(), "the stream was not opened");
    let begun = Instant::now();
    terminate(&child);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("over"), "nobody is signed out by it: {rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Requests in flight are given ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = start(folder.path());
    register(&address, folder.path());
    // The server asks for the body as soon as the sign-in waits for it, and from then on it is in flight.
    let body = format!("{{{CREDENTIALS}}}");
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    terminate(&child);
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "connections are still taken after the signal");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.try_wait().unwrap(), None, "it waits");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    let answer = answer.trim_start();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_killed_server_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = start(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut child, address) = start(folder.path());
    assert!(get(&address, "/ready").starts_with("HTTP/1.1 200"));
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_taken_port_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = start(&folder.path().join("a"));
    let mut second = Command::new(env!("CARGO_BIN_EXE_session-manager-server"));
    let message = refused(second.args(["--listen", &address, "--data"]).arg(folder.path().join("b")), 1);
    assert!(message.contains(&format!("cannot listen on {address}: the address is in use")), "{message}");
    assert!(message.contains("--listen"), "{message}");
    assert!(!folder.path().join("b").exists(), "nothing was made");
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_unusable_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    // Folders that nobody can write to, not even root.
    for data in [file.as_path(), Path::new("/proc/session-manager"), Path::new("/sys/session-manager")] {
        let message = refused(&mut command(data), 1);
        assert!(message.contains(&data.display().to_string()) && message.contains("--data"), "{message}");
    }
}

#[test]
fn damaged_files_are_told_and_left_alone() {
    for (name, damage) in [("session-manager.sqlite3", "is damaged"), ("keys/session-manager.keys", "is damaged")] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, _) = start(folder.path());
        terminate(&child);
        child.wait().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, "garbage ".repeat(1000)).unwrap();
        let message = refused(&mut command(folder.path()), 1);
        assert!(message.contains(damage) && message.contains(name) && message.contains("backup"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "garbage ".repeat(1000));
    }
}

#[test]
fn keys_that_others_may_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = start(folder.path());
    terminate(&child);
    child.wait().unwrap();
    let path = folder.path().join("keys/session-manager.keys");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let message = refused(&mut command(folder.path()), 1);
    assert!(message.contains(&format!("chmod 600 '{}'", path.display())), "{message}");
}

#[test]
fn keys_of_providers_are_added_while_a_server_runs_and_used_after_its_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = start(folder.path());
    let count = || {
        let text = fs::read_to_string(folder.path().join("keys/session-manager.keys")).unwrap();
        text.lines().find(|line| line.starts_with("provider_keys")).unwrap().matches('"').count() / 2
    };
    for keys in 2..4 {
        let output = command(folder.path()).args(["keys", "rotate", "--providers"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.starts_with(&format!("the key file has {keys} keys")), "{said}");
        assert_eq!(count(), keys);
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let (mut child, address) = start(folder.path());
    assert!(get(&address, "/ready").starts_with("HTTP/1.1 200"));
    assert_eq!(count(), 3);
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_others_may_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = start(folder.path());
    terminate(&child);
    child.wait().unwrap();
    let database = folder.path().join("session-manager.sqlite3");
    for (path, mode, closed) in [(folder.path(), 0o755, 0o700), (&database, 0o644, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let message = refused(&mut command(folder.path()), 1);
        assert!(message.contains(&format!("chmod {closed:o} '{}'", path.display())), "{message}");
        fs::set_permissions(path, fs::Permissions::from_mode(closed)).unwrap();
    }
}

#[test]
fn the_configuration_can_be_checked_and_printed_without_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (arguments, expected) in [
        (vec!["--set", "policy.max_session=1"], "unknown config key: `policy.max_session`"),
        (vec!["--set", "policy.max_sessions=x"], "bad value for config key `policy.max_sessions`"),
        (vec!["--set", "sessions.storage=redis"], "`sessions.url` must say where this storage is"),
        (vec!["--set", "mail.transport=smtp"], "`mail.url` must say where the mail server is"),
        (vec!["--set", "public_url=http://accounts.example.org"], "`public_url` must be https"),
        (vec!["--set", "http.trusted_proxies=0.0.0.0/0"], "`http.trusted_proxies` cannot be trusted"),
        (vec!["--set", "database.url=sqlite::memory:"], "`database.url` must name a file"),
        (vec!["--set", "database.url=sqlite:x?key=hunter2"], "`database.url` has a parameter"),
    ] {
        for words in [&["config", "check"][..], &["serve"], &[]] {
            let message = refused(command(&data).args(words).args(&arguments), 2);
            assert!(message.contains(expected), "{message}");
        }
    }
    let output = command(&data).args(["config", "check"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = command(&data)
        .args(["config", "print", "--set", "database.url=sqlite:x?mode=rwc"])
        .env("SESSION_MANAGER__POLICY__REFRESH_GRACE", "2s")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("policy.refresh_grace = \"2s\"\n") && printed.contains("\"sqlite:x?***\"\n"), "{printed}");
    assert!(!data.exists(), "nothing was made");
}
