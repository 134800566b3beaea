//! SIGKILL in the middle of sign-ins and revocations: nothing that was acknowledged is lost.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use session_manager_tests::client::{Answer, Client, Tokens};
use session_manager_tests::server::Server;

const PASSWORD: &str = "Correct-Horse-7";
const THREADS: usize = 4;
const ROUNDS: usize = 4;
/// So many acknowledged steps of each kind happen before the end.
const STEPS: usize = 12;

/// What a client was told before the server was killed.
#[derive(Default)]
struct Acknowledged {
    live: Vec<Tokens>,
    revoked: Vec<Tokens>,
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // It signs in more often than one client may.
    let settings = ["--set", "policy.max_sessions=1000", "--set", "rate_limits.enabled=false"];
    let mut server = Server::start(&data, &settings);
    for user in 0..THREADS {
        let client = server.client("crash/1");
        let registration = json!({"email": email(user), "password": PASSWORD, "name": "Ann"});
        client.post("/auth/register", registration).expect(201);
        client.post("/auth/verify-email", json!({"token": server.mailed_token("/verify-email")})).expect(200);
    }
    let mut told: Vec<Acknowledged> = (0..THREADS).map(|_| Acknowledged::default()).collect();
    for round in 0..ROUNDS {
        let steps = AtomicUsize::new(0);
        let address = server.address().to_owned();
        thread::scope(|scope| {
            for (user, told) in told.iter_mut().enumerate() {
                let client = Client::new(&address, "crash/1");
                let steps = &steps;
                scope.spawn(move || work(&client, user, told, steps));
            }
            let end = Instant::now() + Duration::from_mins(1);
            while steps.load(Ordering::SeqCst) < STEPS {
                assert!(Instant::now() < end, "nothing happens");
                thread::sleep(Duration::from_millis(1));
            }
            // All clients are in the middle of a request.
            server.kill();
        });
        server = Server::start(&data, &settings);
        let client = server.client("crash/1");
        let (live, revoked) = (
            told.iter().map(|told| told.live.len()).sum::<usize>(),
            told.iter().map(|told| told.revoked.len()).sum::<usize>(),
        );
        assert!(live > 0 && revoked > 0, "round {round}: {live} live, {revoked} revoked");
        for told in &mut told {
            for tokens in &told.revoked {
                client.get("/auth/me", &tokens.access).expect_problem(401, ":revoked");
                client.refresh(&tokens.refresh).expect_problem(401, ":revoked");
            }
            for tokens in &mut told.live {
                client.get("/auth/me", &tokens.access).expect(200);
                *tokens = client.refresh(&tokens.refresh).expect(200).tokens();
            }
        }
    }
    assert_eq!(server.stop(), Some(0));
}

/// Signs in and revokes until the server is gone.
fn work(client: &Client, user: usize, told: &mut Acknowledged, steps: &AtomicUsize) {
    loop {
        let Some(keep) = login(client, user) else { return };
        told.live.push(keep.clone());
        let Some(end) = login(client, user) else { return };
        // Not acknowledged as live or as revoked from here on: the answer may be lost.
        let path = format!("/api/v1/auth/sessions/{}", end.session);
        let bearer = format!("Bearer {}", keep.access);
        let Some(answer) = answer(client, "DELETE", &path, &[("authorization", &bearer)], b"") else { return };
        answer.expect(200);
        told.revoked.push(end);
        steps.fetch_add(1, Ordering::SeqCst);
    }
}

fn login(client: &Client, user: usize) -> Option<Tokens> {
    let body = json!({"email": email(user), "password": PASSWORD}).to_string();
    let fields = [("content-type", "application/json")];
    Some(answer(client, "POST", "/api/v1/auth/login", &fields, body.as_bytes())?.expect(200).tokens())
}

/// Nothing when the server is gone.
fn answer(client: &Client, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
    client.try_raw(method, path, fields, body).ok()
}

fn email(user: usize) -> String {
    format!("user{user}@example.org")
}
