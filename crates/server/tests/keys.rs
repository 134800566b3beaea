//! Keys of tokens are rotated and revoked by the command line, while servers run.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the functions between the tests are tests too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const PASSWORD: &str = "Correct-Horse-7";

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-manager-server"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to its end. Returns whether it went well, and what was said.
fn keys(data: &Path, arguments: &[&str]) -> (bool, String) {
    let output = command(data).arg("keys").args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said)
}

fn done(data: &Path, arguments: &[&str]) -> String {
    let (is_done, said) = keys(data, arguments);
    assert!(is_done, "{arguments:?}: {said}");
    said
}

/// The names of the keys in this state.
fn named(data: &Path, kind: &str, state: &str) -> Vec<String> {
    let lines = done(data, &["list", "--json"]);
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows = rows.filter(|row| row["kind"] == kind && row["state"] == state);
    rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn key_file(data: &Path) -> PathBuf {
    data.join("keys/session-manager.keys")
}

/// A server, killed when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(data: &Path, settings: &[&str]) -> Self {
        let mut command = command(data);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
        Self { address: address.to_owned(), child }
    }

    fn call(&self, method: &str, path: &str, bearer: Option<&str>, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = bearer.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", &format!("/api/v1/auth/{path}"), None, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    fn register(&self, data: &Path) {
        self.post("register", &json!({"email": "ann@example.org", "password": PASSWORD, "name": "Ann"}));
        let mail = fs::read_dir(data.join("mail")).unwrap().next().unwrap().unwrap().path();
        let mail = fs::read_to_string(mail).unwrap();
        let token = mail.lines().find_map(|line| line.split_once("?token=")).unwrap().1;
        self.post("verify-email", &json!({"token": token}));
    }

    fn sign_in(&self) -> Tokens {
        Tokens::of(&self.post("login", &json!({"email": "ann@example.org", "password": PASSWORD})))
    }

    fn refresh(&self, tokens: &Tokens) -> (u16, Value) {
        self.call("POST", "/api/v1/auth/refresh", None, &json!({"refresh_token": tokens.refresh}))
    }

    /// The status of a request with this access token.
    fn me(&self, tokens: &Tokens) -> u16 {
        self.call("GET", "/api/v1/auth/me", Some(&tokens.access), &Value::Null).0
    }

    fn published(&self) -> Vec<String> {
        let (_, set) = self.call("GET", "/.well-known/jwks.json", None, &Value::Null);
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Has the key file read again, and waits until it was.
    fn reread(&self, is_done: impl Fn(&Self) -> bool) {
        assert!(Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_done(self) {
            assert!(Instant::now() < deadline, "the key file is not read again");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }

    fn kid(&self) -> String {
        let header = URL_SAFE_NO_PAD.decode(self.access.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_access_key_is_succeeded_and_its_tokens_are_good_until_they_expire() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &[]);
    server.register(data);
    let before = server.sign_in();
    assert_eq!(named(data, "access", "current"), [before.kid()]);
    let said = done(data, &["rotate", "--access", "--lead", "0s"]);
    assert!(said.contains("SIGHUP"), "{said}");
    let [new] = named(data, "access", "current").try_into().unwrap();
    assert_eq!(named(data, "access", "succeeded"), [before.kid()]);
    server.reread(|server| server.published().contains(&new));
    assert_eq!(server.published(), [before.kid(), new.clone()]);
    let after = server.sign_in();
    assert_eq!(after.kid(), new);
    assert_eq!((server.me(&before), server.me(&after)), (200, 200));
    let refreshed = Tokens::of(&server.refresh(&before).1);
    assert_eq!(refreshed.kid(), new);
    // A server that starts has both keys too.
    drop(server);
    let server = Server::start(data, &[]);
    assert_eq!((server.me(&refreshed), server.me(&after)), (200, 200));
}

#[test]
fn during_the_lead_no_server_refuses_what_another_has_signed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (first, second) = (Server::start(data, &[]), Server::start(data, &[]));
    first.register(data);
    let old = first.sign_in().kid();
    let begun = Instant::now();
    done(data, &["rotate", "--access", "--refresh", "--lead", "6s"]);
    let [announced] = named(data, "access", "announced").try_into().unwrap();
    // The first server knows the next key, and the second has not read the file again.
    first.reread(|server| server.published().contains(&announced));
    assert_eq!(second.published(), std::slice::from_ref(&old));
    let tokens = first.sign_in();
    assert_eq!((tokens.kid(), second.me(&tokens), first.me(&tokens)), (old.clone(), 200, 200));
    let renewed = Tokens::of(&second.refresh(&tokens).1);
    assert_eq!((renewed.kid(), first.me(&renewed)), (old.clone(), 200));
    second.reread(|server| server.published().contains(&announced));
    std::thread::sleep(Duration::from_secs(7).saturating_sub(begun.elapsed()));
    let next = first.sign_in();
    assert_eq!(next.kid(), announced, "nothing had to be told for it");
    assert_eq!((second.me(&next), second.me(&renewed)), (200, 200));
    assert_eq!(second.refresh(&next).0, 200);
    assert_eq!(first.refresh(&renewed).0, 200, "a refresh token of before");
}

#[test]
fn a_revoked_access_key_ends_its_tokens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &[]);
    server.register(data);
    let stolen = server.sign_in();
    assert_eq!(server.me(&stolen), 200);
    let said = done(data, &["revoke", &stolen.kid()]);
    assert!(said.contains("its tokens are refused") && said.contains("SIGHUP"), "{said}");
    server.reread(|server| !server.published().contains(&stolen.kid()));
    assert_eq!(server.me(&stolen), 401);
    let renewed = Tokens::of(&server.refresh(&stolen).1);
    assert_eq!((server.me(&renewed), server.published()), (200, vec![renewed.kid()]));
    let (is_done, said) = keys(data, &["revoke", &stolen.kid()]);
    assert!(!is_done && said.contains("there is no key"), "{said}");
}

#[test]
fn an_open_stream_ends_when_the_key_of_its_token_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &[]);
    server.register(data);
    let stolen = server.sign_in();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "GET /devices/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n\
         Authorization: Bearer {}\r\n\r\n",
        stolen.access
    )
    .unwrap();
    let mut told = String::new();
    while !told.contains("event: sessions") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).unwrap();
        assert_ne!(read, 0, "{told}");
        told.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    done(data, &["revoke", &stolen.kid()]);
    server.reread(|server| !server.published().contains(&stolen.kid()));
    // Lines that say nothing would come every fifteen seconds.
    stream.read_to_string(&mut told).expect("it ends before anything else is said");
    assert!(told.ends_with("\r\n0\r\n\r\n"), "{told}");
    assert_eq!(server.me(&stolen), 401);
}

#[test]
fn refresh_secrets_are_succeeded_and_revoked() {
    for backend in ["backend=jwt", "backend=opaque"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let server = Server::start(data, &[backend]);
        server.register(data);
        let tokens = [server.sign_in(), server.sign_in()];
        let [old] = named(data, "refresh", "current").try_into().unwrap();
        done(data, &["rotate", "--access", "--refresh", "--lead", "0s"]);
        let [new] = named(data, "access", "current").try_into().unwrap();
        if backend == "backend=jwt" {
            server.reread(|server| server.published().contains(&new));
        } else {
            // It publishes nothing that would tell.
            server.reread(|_| true);
            std::thread::sleep(Duration::from_millis(500));
        }
        let (status, renewed) = server.refresh(&tokens[0]);
        assert_eq!(status, 200, "{backend}: a token of before");
        let renewed = Tokens::of(&renewed);
        done(data, &["revoke", &old]);
        server.reread(|server| server.refresh(&tokens[1]).0 == 401);
        assert_eq!(server.me(&renewed), 200, "{backend}");
        assert_eq!(server.refresh(&renewed).0, 200, "{backend}: it was made with the new secret");
    }
}

#[test]
fn a_damaged_file_changes_nothing_and_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &[]);
    server.register(data);
    let tokens = server.sign_in();
    let whole = fs::read(key_file(data)).unwrap();
    let other = tempfile::tempdir().unwrap();
    drop(Server::start(other.path(), &[]));
    let foreign = fs::read(key_file(other.path())).unwrap();
    for damage in [&whole[..whole.len() / 2], b"", b"garbage", &foreign] {
        fs::write(key_file(data), damage).unwrap();
        server.reread(|_| true);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!((server.me(&tokens), server.published()), (200, vec![tokens.kid()]));
        if damage == foreign {
            break;
        }
        for arguments in [&["rotate", "--access"][..], &["revoke", &tokens.kid()], &["list"]] {
            let (is_done, said) = keys(data, arguments);
            assert!(!is_done && said.contains("is damaged"), "{arguments:?}: {said}");
        }
        assert_eq!(fs::read(key_file(data)).unwrap(), damage, "it is left alone");
    }
    fs::write(key_file(data), &whole).unwrap();
    done(data, &["rotate", "--access", "--lead", "0s"]);
    let [new] = named(data, "access", "current").try_into().unwrap();
    server.reread(|server| server.published().contains(&new));
    assert_eq!(fs::metadata(key_file(data)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(data.join("keys")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_lead_in_which_other_servers_do_not_read_the_file_is_warned_of() {
    for (kind, lead, is_warned) in [
        ("--access", "0s", true),
        ("--refresh", "0s", true),
        ("--access", "29s", true),
        ("--access", "1m", false),
        ("--providers", "0s", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let said = done(folder.path(), &["rotate", kind, "--lead", lead]);
        assert_eq!(said.contains("refuses its tokens until then"), is_warned, "{kind} {lead}: {said}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    done(data, &["rotate", "--access"]);
    let before = fs::read(key_file(data)).unwrap();
    for (arguments, expected) in [
        (&["rotate"][..], "--access"),
        (&["rotate", "--access"], "is announced already"),
        (&["rotate", "--refresh", "--access"], "is announced already"),
        (&["rotate", "--refresh", "--lead", "31d"], "0s to 30d"),
        (&["revoke", "nothing"], "there is no key nothing"),
    ] {
        let (is_done, said) = keys(data, arguments);
        assert!(!is_done && said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(fs::read(key_file(data)).unwrap(), before, "{arguments:?}");
    }
}
