//! What operators do on the command line, beside the running service.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::{Value, json};
use session_manager_services::{Postgres, Redis};
use session_manager_tests::client::Client;
use session_manager_tests::server::{Server, run_to_end, run_to_exit};

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "Correct-Horse-7";

fn registered(server: &Server) -> Client {
    let client = server.client("Phone/1.0");
    client.post("/auth/register", json!({"email": EMAIL, "password": PASSWORD, "name": "Ann"})).expect(201);
    client.post("/auth/verify-email", json!({"token": server.mailed_token("/verify-email")})).expect(200);
    client
}

/// What a command wrote that went well.
fn said(data: &Path, words: &[&str]) -> String {
    let (status, out, errors) = run_to_end(data, words);
    assert_eq!(status, Some(0), "{words:?}: {out}{errors}");
    out
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn sessions_are_listed_ended_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = registered(&server);
    let (first, second) = (client.login(EMAIL, PASSWORD), client.login(EMAIL, PASSWORD));

    let table = said(&data, &["sessions", "list"]);
    assert!(table.contains("SESSION") && table.contains(&first.session) && table.contains("127.0.0.1"), "{table}");
    let listed = lines(&said(&data, &["sessions", "list", EMAIL, "--json"]));
    assert_eq!(
        listed.iter().map(|one| &one["id"]).collect::<Vec<_>>(),
        [&json!(second.session), &json!(first.session)]
    );

    assert_eq!(said(&data, &["sessions", "revoke", &first.session]), format!("ended: {}\n", first.session));
    client.get("/auth/me", &first.access).expect_problem(401, ":revoked");
    client.get("/auth/me", &second.access).expect(200);
    let (status, text) = run_to_exit(&data, &["sessions", "revoke", &first.session]);
    assert!(status == Some(1) && text.contains("had ended before"), "{text}");
    assert_eq!(lines(&said(&data, &["sessions", "list", EMAIL, "--json"])).len(), 1);
    let exported = lines(&said(&data, &["sessions", "export"]));
    assert_eq!(exported.len(), 2);
    let ended = exported.iter().find(|one| one["id"] == json!(first.session)).unwrap();
    assert_eq!((&ended["state"], &ended["revoked_by"]), (&json!("revoked"), &json!("service:operator")));
    assert!(exported.iter().all(|one| one.get("seed").is_none() && one.get("generation").is_none()));

    assert_eq!(said(&data, &["sessions", "revoke", "--user", EMAIL]), "ended: 1\n");
    client.get("/auth/me", &second.access).expect_problem(401, ":revoked");
    for (words, status, part) in [
        (&["sessions", "revoke", "x"][..], 2, "--help"),
        (&["sessions", "list", "nobody@example.org"], 1, "no such account"),
        (&["sessions", "list", "x"], 2, "--help"),
    ] {
        let (ended, text) = run_to_exit(&data, words);
        assert!(ended == Some(status) && text.contains(part), "{words:?}: {text}");
    }
}

#[test]
fn accounts_are_found_closed_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = registered(&server);
    let tokens = client.login(EMAIL, PASSWORD);
    client.post("/auth/register", json!({"email": "bob@example.org", "password": PASSWORD, "name": "Bob"})).expect(201);

    let table = said(&data, &["users", "list"]);
    assert!(table.lines().count() == 3 && table.contains("unconfirmed") && table.contains("admin"), "{table}");
    let found = lines(&said(&data, &["users", "list", "ANN@", "--json"]));
    assert!(found.len() == 1 && found[0]["email"] == EMAIL && found[0]["state"] == "open", "{found:?}");
    assert!(found[0].get("password_hash").is_none());
    assert_eq!(lines(&said(&data, &["users", "list", "--limit", "1", "--json"])).len(), 1);

    said(&data, &["users", "disable", EMAIL]);
    client.get("/auth/me", &tokens.access).expect(401);
    client.post("/auth/login", json!({"email": EMAIL, "password": PASSWORD})).expect(403);
    said(&data, &["users", "enable", found[0]["id"].as_str().unwrap()]);
    client.login(EMAIL, PASSWORD);
    let (status, text) = run_to_exit(&data, &["users", "disable", "nobody@example.org"]);
    assert!(status == Some(1) && text.contains("no such account"), "{text}");
    // What another process keeps in its memory cannot be ended from here, and that is said.
    let (status, text) = run_to_exit(&data, &["users", "disable", EMAIL, "--set", "sessions.storage=memory"]);
    assert!(status == Some(2) && text.contains("memory"), "{text}");
}

#[test]
fn epochs_are_raised_and_the_trail_shows_who_did_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sinks = ["--set", "audit.sinks=log,db"];
    let server = Server::start(&data, &sinks);
    let client = registered(&server);
    let audited = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(sinks);
        said(&data, &all)
    };

    let tokens = client.login(EMAIL, PASSWORD);
    audited(&["tokens", "rotate", "--user", EMAIL, "--reason", "lost laptop"]);
    client.get("/auth/me", &tokens.access).expect(401);
    let tokens = client.login(EMAIL, PASSWORD);
    let text = audited(&["tokens", "rotate", "--everybody", "--reason", "drill", "--grace", "1h"]);
    assert!(text.contains("live on until"), "{text}");
    client.get("/auth/me", &tokens.access).expect(200);
    audited(&["tokens", "rotate", "--everybody", "--reason", "drill"]);
    client.get("/auth/me", &tokens.access).expect(401);
    assert_eq!(run_to_exit(&data, &["tokens", "rotate", "--reason", "x"]).0, Some(2), "nobody is named");

    // The service writes in the background, and all of it before it ends.
    assert_eq!(server.stop(), Some(0));
    let events = lines(&audited(&["audit", "search", "--kind", "rotated", "--json"]));
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event["actor"] == "service:operator"), "{events:?}");
    assert_eq!(events[2]["reason"], "lost laptop");
    let table = audited(&["audit", "search", "--user", EMAIL, "--kind", "created"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    let exported = lines(&audited(&["audit", "export"]));
    assert!(exported.len() >= 5 && exported[0]["kind"] == "created", "{exported:?}");

    let verified = audited(&["audit", "verify"]);
    let head = verified.lines().find_map(|line| line.strip_prefix("head: ")).unwrap().to_owned();
    audited(&["audit", "verify", "--head", &head]);
    assert_eq!(audited(&["audit", "purge", "--older-than", "1d"]), "removed: 0\n");
    assert_eq!(audited(&["audit", "purge", "--older-than", "0s"]), format!("removed: {}\n", exported.len()));
    audited(&["audit", "verify"]);
    let (status, text) = run_to_exit(&data, &["audit", "verify"]);
    assert!(status == Some(2) && text.contains("`audit.sinks`"), "{text}");
}

#[test]
fn sessions_move_to_another_storage() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (database, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let server = Server::start(&data, &[]);
    let client = registered(&server);
    let (ended, kept) = (client.login(EMAIL, PASSWORD), client.login(EMAIL, PASSWORD));
    client.call("DELETE", &format!("/auth/sessions/{}", ended.session), &kept.access).expect(200);
    assert_eq!(server.stop(), Some(0));

    let postgres = format!("sqlx={}", database.fresh_database().unwrap());
    let redis_place = format!("redis={}", redis.url());
    for (from, to) in [("sqlx", postgres.as_str()), (postgres.as_str(), redis_place.as_str())] {
        let text = said(&data, &["migrate", "storage", "--from", from, "--to", to]);
        assert!(text.contains("2 read, 2 written"), "{text}");
        let text = said(&data, &["migrate", "storage", "--from", from, "--to", to]);
        assert!(text.contains("2 read, 0 written"), "{text}");
        assert!(!data.join("migration.json").exists());
    }
    let url = format!("sessions.url={}", redis.url());
    let server = Server::start(&data, &["--set", "sessions.storage=redis", "--set", &url]);
    let client = server.client("Phone/1.0");
    client.get("/auth/me", &kept.access).expect(200);
    client.get("/auth/me", &ended.access).expect_problem(401, ":revoked");
    client.refresh(&kept.refresh).expect(200);
    let (status, text) = run_to_exit(&data, &["migrate", "storage", "--from", "sqlx", "--to", "memcached=a:1"]);
    assert!(status == Some(2) && text.contains("--to"), "{text}");
}

/// An interrupted copy goes on at its place, and then looks once more at what it had copied before.
#[test]
fn a_copy_that_goes_on_sees_what_changed_before_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let redis = Redis::start().unwrap();
    let server = Server::start(&data, &[]);
    let client = registered(&server);
    let (early, late) = (client.login(EMAIL, PASSWORD), client.login(EMAIL, PASSWORD));
    let to = format!("redis={}", redis.url());
    let migrate = ["migrate", "storage", "--from", "sqlx", "--to", to.as_str()];
    assert!(said(&data, &migrate).contains("2 read, 2 written"));
    // The place is behind both, and the first of them ends.
    client.call("DELETE", &format!("/auth/sessions/{}", early.session), &late.access).expect(200);
    let place = json!({"from": "sqlx=", "to": to, "cursor": late.session});
    std::fs::write(data.join("migration.json"), place.to_string()).unwrap();
    assert_eq!(server.stop(), Some(0));
    let text = said(&data, &migrate);
    assert!(text.contains("going on where the last copy was interrupted") && text.contains("2 read"), "{text}");
    assert!(!data.join("migration.json").exists());

    let url = format!("sessions.url={}", redis.url());
    let server = Server::start(&data, &["--set", "sessions.storage=redis", "--set", &url]);
    let client = server.client("Phone/1.0");
    client.get("/auth/me", &early.access).expect_problem(401, ":revoked");
    client.get("/auth/me", &late.access).expect(200);
}

#[test]
fn the_doctor_sees_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let all_well = said(&data, &["doctor"]);
    assert!(all_well.contains("sessions") && !all_well.contains("ERROR"), "{all_well}");
    let checks = lines(&said(&data, &["doctor", "--json", "--set", "audit.sinks=db"]));
    assert!(checks.iter().all(|check| check["verdict"] == "ok"), "{checks:?}");
    assert!(checks.iter().any(|check| check["what"] == "audit trail"));

    let gone = {
        let mut server = Redis::start().unwrap();
        server.stop().unwrap();
        server.url()
    };
    let away = format!("sessions.url={gone}");
    let (status, out, _) = run_to_end(&data, &["doctor", "--set", "sessions.storage=redis", "--set", &away]);
    assert!(status == Some(1) && out.contains("cannot be reached"), "{out}");
    let (status, out, _) = run_to_end(&data, &["doctor", "--set", "geoip.city=/nonexistent.mmdb"]);
    assert!(status == Some(1) && out.contains("places"), "{out}");
}

#[test]
fn a_restored_backup_is_told_until_all_sessions_were_ended() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = registered(&server);
    let (stolen, kept) = (client.login(EMAIL, PASSWORD), client.login(EMAIL, PASSWORD));
    assert_eq!(server.stop(), Some(0));
    let (database, backup) = (data.join("session-manager.sqlite3"), folder.path().join("backup"));
    std::fs::copy(&database, &backup).unwrap();

    let server = Server::start(&data, &[]);
    let client = server.client("Phone/1.0");
    client.call("DELETE", &format!("/auth/sessions/{}", stolen.session), &kept.access).expect(200);
    client.get("/auth/me", &stolen.access).expect(401);
    assert_eq!(server.stop(), Some(0));

    std::fs::copy(&backup, &database).unwrap();
    let server = Server::start(&data, &[]);
    let client = server.client("Phone/1.0");
    client.get("/auth/me", &stolen.access).expect(200);
    assert!(server.log().contains("restored from a backup"), "{}", server.log());
    let (status, out, _) = run_to_end(&data, &["doctor"]);
    assert!(status == Some(1) && out.contains("restored") && out.contains("tokens rotate --everybody"), "{out}");

    said(&data, &["tokens", "rotate", "--everybody", "--reason", "backup restored", "--grace", "1h"]);
    let (status, out, _) = run_to_end(&data, &["doctor"]);
    assert!(status == Some(1) && out.contains("restored"), "they live on for a while: {out}");
    said(&data, &["tokens", "rotate", "--everybody", "--reason", "backup restored"]);
    client.get("/auth/me", &stolen.access).expect(401);
    let well = said(&data, &["doctor"]);
    assert!(well.contains("all sessions were ended since"), "{well}");
}

#[test]
fn shells_complete_the_words() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")] {
        assert!(said(&data, &["completions", shell]).contains(part), "{shell}");
    }
    assert!(!data.exists(), "nothing was made");
}
