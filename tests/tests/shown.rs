//! Every command that a newcomer is shown is run as it stands, against the real server: only its address is another one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::{Value, json};
use session_manager_tests::server::Server;
use session_manager_tests::shown::{self, Block};

/// Where a server listens that was told nothing else.
const SHOWN: &str = "http://127.0.0.1:8080";
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

#[test]
fn no_page_of_the_api_flows_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api-flows");
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["login-list-revoke-logout.md"], "a page that is not run above");
}
