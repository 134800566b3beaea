//! Every command that a newcomer is shown is run as it stands, against the real server: only its address is another one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use session_manager_tests::server::Server;
use session_manager_tests::shown::{self, Block};

/// Where a server listens that was told nothing else.
const SHOWN: &str = "http://127.0.0.1:8080";
/// Where the pages say that the service is, and the provider of one of them.
const PUBLIC: &str = "https://accounts.example.org";
const PROVIDER: &str = "https://acme.example";
const PASSWORD: &str = "Correct-Horse-7-Battery";
const RUN: &str = "cargo run -p session-manager-server\n";

struct Scene {
    server: Server,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A server whose data folder is `data` in the folder in which the commands run, as it is for a newcomer.
    fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"), arguments);
        Self { server, folder }
    }

    fn address(&self, text: &str) -> String {
        text.replace(SHOWN, &format!("http://{}", self.server.address()))
    }

    fn run(&self, blocks: &[String]) -> Vec<String> {
        shown::run(self.folder.path(), blocks)
    }
}

fn read(page: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page)).unwrap()
}

#[track_caller]
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(parsed).collect()
}

#[track_caller]
fn assert_problem(answer: &Value, status: u16, kind: &str) {
    assert_eq!(answer["status"], status, "{answer}");
    assert!(answer["type"].as_str().unwrap().ends_with(kind), "{answer}");
}

#[test]
fn the_printed_quick_start() {
    let scene = Scene::new(&[]);
    let printed = scene.server.quick_start();
    let script = printed.trim_end().split_once("\n# 1.").and_then(|(_, rest)| rest.rsplit_once("\n\n")).unwrap().0;
    assert!(printed.contains(&format!("Open http://{}/", scene.server.address())));
    let said = scene.run(&[format!("# 1.{script}")]);
    let answers = lines(&said[0]);
    let [registered, verified, sessions, ended, refused, left] = answers.as_slice() else { panic!("{answers:?}") };
    for answer in [registered, verified, left] {
        assert!(answer["message"].is_string(), "{answer}");
    }
    assert_eq!(sessions["total_count"], 2);
    let devices: Vec<_> = sessions["sessions"].as_array().unwrap().iter().map(|one| &one["device_info"]).collect();
    assert_eq!(devices, [&json!("phone"), &json!("laptop")]);
    assert_eq!(ended["revoked_count"], 1);
    assert_problem(refused, 401, ":revoked");
}

#[test]
fn the_readmes_first_steps() {
    let scene = Scene::new(&[]);
    let blocks = shown::blocks(&read("README.md"));
    let texts: Vec<_> = blocks.iter().map(|block| block.text.as_str()).collect();
    let [run, check, steps] = texts.as_slice() else { panic!("{blocks:?}") };
    // The first is what the scene has done, and the second is what runs this test.
    assert_eq!((*run, *check), (RUN, "cargo xtask ci\n"));
    assert!(steps.contains(SHOWN));
    let said = scene.run(&[scene.address(steps)]);
    let answers = lines(&said[0]);
    let [registered, verified, sessions] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(registered["message"].is_string() && verified["message"].is_string());
    assert_eq!((&sessions["total_count"], &sessions["sessions"][0]["is_current"]), (&json!(1), &json!(true)));
    assert_eq!(sessions["sessions"][0]["device_info"], "laptop");
}

#[test]
fn the_api_flow_of_sessions() {
    // The one thing that is waited for: the page waits for the grace to pass.
    let scene = Scene::new(&["--set", "policy.refresh_grace=3s"]);
    let page = read("docs/api-flows/login-list-revoke-logout.md");
    assert!(page.contains(SHOWN) && page.contains("\nsleep 11\n"));
    let mut blocks = shown::blocks(&scene.address(&page.replace("\nsleep 11\n", "\nsleep 4\n")));
    assert_eq!(blocks.remove(0), Block { heading: "Start".to_owned(), text: RUN.to_owned() });
    let texts: Vec<_> = blocks.iter().map(|block| block.text.clone()).collect();
    let said = scene.run(&texts);
    let of = |heading: &str| -> Vec<&str> {
        let pairs = blocks.iter().zip(&said).filter(|(block, _)| block.heading == heading);
        pairs.map(|(_, said)| said.as_str()).collect()
    };
    assert_eq!((of("Start"), of("Sign in, twice")), (vec![""], vec![""]));
    assert!(parsed(of("Register")[0])["message"].is_string());
    assert!(parsed(of("Verify the address")[0])["message"].is_string());

    let listed = parsed(of("List the sessions")[0]);
    let seen: Vec<_> =
        listed["sessions"].as_array().unwrap().iter().map(|one| (&one["device_info"], &one["is_current"])).collect();
    assert_eq!(seen, [(&json!("Phone"), &json!(false)), (&json!("Laptop"), &json!(true))]);

    let [revoked, refused] = of("Revoke the other one")[..] else { panic!("{said:?}") };
    assert_eq!(parsed(revoked)["revoked_session_id"], listed["sessions"][0]["id"]);
    let (status, problem) = refused.split_once('\n').unwrap();
    assert_eq!(status, "401");
    assert_problem(&parsed(problem), 401, ":revoked");

    let [renewed, again, replayed] = of("Refresh")[..] else { panic!("{said:?}") };
    assert_eq!((renewed, again), ("", "the same successor\n"));
    let (problem, status) = replayed.trim_end().rsplit_once('}').unwrap();
    assert_problem(&parsed(&format!("{problem}}}")), 401, ":reuse-detected");
    assert_eq!(status, "401");

    let (left, status) = of("Sign out")[0].trim_end().rsplit_once('}').unwrap();
    assert!(parsed(&format!("{left}}}"))["message"].is_string());
    assert_eq!(status, "401");
}

/// A server with Alice, who is the administrator, and another account where there is a name for it, which is signed in.
fn with_accounts(arguments: &[&str], others: &[&str]) -> Scene {
    let scene = Scene::new(arguments);
    for (name, agent) in [("Alice", "Phone/1.0")].into_iter().chain(others.iter().map(|name| (*name, "Phone/1.0"))) {
        let (client, email) = (scene.server.client(agent), format!("{}@example.com", name.to_lowercase()));
        let body = json!({"email": email, "password": PASSWORD, "name": name});
        client.post("/auth/register", body).expect(201);
        client.post("/auth/verify-email", json!({"token": scene.server.mailed_token("/verify-email")})).expect(200);
        if name != "Alice" {
            let body = json!({"email": email, "password": PASSWORD, "device_name": "Phone"});
            client.post("/auth/login", body).expect(200);
        }
    }
    scene
}

/// Runs a page and compares what its commands wrote with what it shows. `changes` are what is another text than shown.
fn as_shown(scene: &Scene, page: &str, changes: &[(&str, &str)]) {
    let here = format!("http://{}", scene.server.address());
    let mut text = read(&format!("docs/api-flows/{page}"));
    assert!(text.contains(PUBLIC));
    for (shown, instead) in [(PUBLIC, here.as_str())].iter().chain(changes) {
        assert!(text.contains(shown), "{shown}");
        text = text.replace(shown, instead);
    }
    let steps = shown::steps(&text);
    let blocks: Vec<_> = steps.iter().map(|step| step.block.text.clone()).collect();
    let said = scene.run(&blocks);
    assert!(steps.iter().any(|step| step.answer.is_some()));
    for (step, said) in steps.iter().zip(&said) {
        let difference = shown::difference(step.answer.as_deref().unwrap_or_default(), said);
        assert_eq!(difference, None, "{page}, {}:\n{}", step.block.heading, step.block.text);
    }
}

#[test]
fn the_api_flow_of_a_refresh() {
    let scene = with_accounts(&["--set", "policy.refresh_grace=3s"], &[]);
    as_shown(&scene, "refresh.md", &[("\nsleep 11\n", "\nsleep 4\n")]);
}

#[test]
fn the_api_flow_of_new_passwords() {
    as_shown(&with_accounts(&[], &[]), "passwords.md", &[]);
}

#[test]
fn the_api_flow_of_managing_sessions() {
    as_shown(&with_accounts(&[], &[]), "session-management.md", &[]);
}

#[test]
fn the_api_flow_of_token_rotation() {
    as_shown(&with_accounts(&[], &[]), "token-rotation.md", &[]);
}

#[test]
fn the_api_flow_of_administration() {
    as_shown(&with_accounts(&["--set", "audit.sinks=db"], &["Bob"]), "administration.md", &[]);
}

/// A provider that takes any code and any refresh token. It ends with the test's process.
fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut form = vec![0; length];
            reader.read_exact(&mut form).unwrap();
            let tokens =
                r#"{"access_token":"a","refresh_token":"r","token_type":"Bearer","expires_in":3600,"scope":"read"}"#;
            let body = if first.starts_with("POST /token ") { tokens } else { "" };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    };
    std::thread::spawn(serve);
    address
}

#[test]
fn the_api_flow_of_providers() {
    let provider = provider();
    let page = read("docs/api-flows/providers.md");
    let config = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    std::fs::write(&file, config.replace(PROVIDER, &provider)).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let scene = with_accounts(&["--config", file.to_str().unwrap()], &[]);
    as_shown(&scene, "providers.md", &[(PROVIDER, &provider)]);
}

#[test]
fn no_page_of_the_api_flows_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api-flows");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    let run = [
        "administration.md",
        // A table, which names the tests of its lines.
        "compatibility.md",
        "login-list-revoke-logout.md",
        "passwords.md",
        "providers.md",
        "refresh.md",
        "session-management.md",
        "token-rotation.md",
    ];
    assert_eq!(names, run, "a page that is not run above");
}
