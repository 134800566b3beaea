//! What really reaches a log: `tracing-subscriber` writing text and JSON into a buffer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use serde_json::{Value, json};
use session_manager_audit_log::{LogAudit, TARGET, level};
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    Actor, AuditBackend, AuditEvent, AuditKind, ClientInfo, Control, Seed, Session, SessionId, TokenKind, UserId,
};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Buffer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What the events become, as text or JSON. Without colour, so that every escape byte in it is an injected one.
fn written(events: &[AuditEvent], as_json: bool, max: Level) -> String {
    let buffer = Buffer::default();
    let builder = tracing_subscriber::fmt().with_max_level(max).with_writer(buffer.clone());
    let record = || LogAudit::new().record(events).now_or_never().unwrap().unwrap();
    if as_json {
        tracing::subscriber::with_default(builder.json().finish(), record);
    } else {
        tracing::subscriber::with_default(builder.with_ansi(false).finish(), record);
    }
    LogAudit::new().flush().now_or_never().unwrap().unwrap();
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

fn lines(events: &[AuditEvent]) -> Vec<Value> {
    written(events, true, Level::TRACE).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn full(kind: AuditKind) -> AuditEvent {
    let at = chrono::DateTime::from_timestamp_millis(1_767_225_600_123).unwrap();
    let mut event = AuditEvent::new(Uuid::from_u128(1), kind, at, Actor::Service("billing".into()));
    event.session_id = Some(SessionId::from(Uuid::from_u128(2)));
    event.user_id = Some(UserId::parse("alice").unwrap());
    event.client =
        ClientInfo::new().ip("2001:db8::1".parse().unwrap()).agent("Firefox").named("laptop").application("web");
    event.client.hints.insert("sec-ch-ua-mobile".into(), "?0".into());
    event.reason = Some("logout".into());
    event.request_id = Some("req-1".into());
    event.details.insert("count".into(), json!(3));
    event
}

#[test]
fn every_kind_is_one_event_with_every_datum_in_its_field() {
    for kind in AuditKind::ALL {
        let lines = lines(&[full(kind)]);
        assert_eq!(lines.len(), 1, "{kind:?}");
        assert_eq!(lines[0]["target"], TARGET);
        assert_eq!(lines[0]["level"], level(kind).as_str());
        let expected = json!({
            "message": "session audit event",
            "event_id": "00000000-0000-0000-0000-000000000001",
            "kind": kind.as_str(),
            "at": "2026-01-01T00:00:00.123Z",
            "session_id": "00000000-0000-0000-0000-000000000002",
            "user_id": "alice",
            "actor": "service:billing",
            "ip_address": "2001:db8::1",
            "user_agent": "Firefox",
            "device_name": "laptop",
            "application": "web",
            "hints": "{\"sec-ch-ua-mobile\":\"?0\"}",
            "reason": "logout",
            "request_id": "req-1",
            "details": "{\"count\":3}",
        });
        assert_eq!(lines[0]["fields"], expected, "{kind:?}");
    }
}

#[test]
fn levels_are_as_documented() {
    let names = |wanted| {
        AuditKind::ALL.into_iter().filter(|kind| level(*kind) == wanted).map(AuditKind::as_str).collect::<Vec<_>>()
    };
    assert_eq!(names(Level::ERROR), ["suspicious"]);
    assert_eq!(names(Level::WARN), ["revoked", "evicted", "rejected", "rotated"]);
    assert_eq!(names(Level::INFO), ["created", "refreshed", "expired", "reauthenticated", "updated", "deleted"]);
    assert_eq!(names(Level::DEBUG), ["accessed"]);
    let all: Vec<_> = AuditKind::ALL.into_iter().map(full).collect();
    assert_eq!(written(&all, false, Level::INFO).lines().count(), 11);
    assert_eq!(written(&all, false, Level::WARN).lines().count(), 5);
}

#[test]
fn what_is_not_known_is_left_out() {
    let at = chrono::DateTime::UNIX_EPOCH;
    let lines = lines(&[AuditEvent::new(Uuid::from_u128(1), AuditKind::Rotated, at, Actor::System)]);
    let mut names: Vec<_> = lines[0]["fields"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["actor", "at", "event_id", "kind", "message"]);
}

/// Places where text from outside can be.
fn poisoned(text: &str) -> Vec<AuditEvent> {
    let blank =
        || AuditEvent::new(Uuid::from_u128(1), AuditKind::Rejected, chrono::DateTime::UNIX_EPOCH, Actor::System);
    let set: [fn(&mut AuditEvent, String); 9] = [
        |event, text| event.client.user_agent = Some(text),
        |event, text| event.client.device_name = Some(text),
        |event, text| event.client.application = Some(text),
        |event, text| event.reason = Some(text),
        |event, text| event.request_id = Some(text),
        |event, text| event.actor = Actor::Service(text),
        |event, text| drop(event.client.hints.insert("sec-ch-ua".into(), text)),
        |event, text| drop(event.details.insert("note".into(), json!({ "deep": [text] }))),
        |event, text| drop(event.details.insert(text, json!(1))),
    ];
    set.iter()
        .map(|set| {
            let mut event = blank();
            set(&mut event, text.to_owned());
            event
        })
        .collect()
}

#[test]
fn no_text_splits_recolours_or_forges_a_line() {
    let evil = "x\"\r\n2026-01-01T00:00:00Z ERROR session_manager::audit: kind=\"created\" \u{1b}[2K\u{1b}[31m\u{9b}1m\u{2028}\u{202e}\u{85}\0";
    for event in poisoned(evil) {
        let text = written(std::slice::from_ref(&event), false, Level::TRACE);
        let body = text.strip_suffix('\n').unwrap();
        assert!(!body.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')), "{text:?}");
        // The forged field is inside quotes: each of its own quotes is escaped.
        assert_eq!(body.matches("kind=\"").count(), 1, "{body}");
        let json = written(std::slice::from_ref(&event), true, Level::TRACE);
        assert_eq!(json.lines().count(), 1);
        let line: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line["fields"]["kind"], "rejected");
        for (name, value) in line["fields"].as_object().unwrap() {
            assert!(!value.as_str().unwrap().contains(char::is_control), "{name}");
        }
    }
}

/// A refresh token as clients have it, and a JWT: that of RFC 8037, appendix A.4.
fn tokens() -> [String; 2] {
    let at = chrono::DateTime::UNIX_EPOCH;
    let ring = KeyRing::new(TokenKey::from_secret(b"thirty-two bytes or a few more of secret").unwrap());
    let session = Session::new(SessionId::from(Uuid::from_u128(2)), UserId::parse("alice").unwrap(), at, at);
    let control = Control::new(Seed::from_bytes([7; 32]), at, at);
    let refresh = ReferenceTokens::new(Arc::new(ring)).mint(TokenKind::Refresh, &session, &control);
    let jwt = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
               hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    [refresh.expose().to_owned(), jwt.to_owned()]
}

#[test]
fn a_token_is_never_shown() {
    for token in tokens() {
        // Whatever comes from outside, the user agent first; actors are the application's own.
        for event in poisoned(&format!("curl Bearer {token};")).iter().filter(|event| event.actor == Actor::System) {
            for as_json in [false, true] {
                let log = written(std::slice::from_ref(event), as_json, Level::TRACE);
                assert!(!log.contains(&token[8..72]) && log.contains("Bearer [redacted]"), "{log}");
            }
        }
    }
}

#[test]
fn who_did_it_to_whom_is_shown_whole() {
    // As long as ids may be: a SHA-512 in hexadecimal.
    let id = "0123456789abcdef".repeat(8);
    let user = UserId::parse(&id).unwrap();
    assert_eq!(user.as_str().len(), UserId::MAX_BYTES);
    for (actor, shown) in
        [(Actor::User(user.clone()), format!("user:{id}")), (Actor::Service(id.clone()), format!("service:{id}"))]
    {
        let mut event = AuditEvent::new(Uuid::nil(), AuditKind::Revoked, chrono::DateTime::UNIX_EPOCH, actor);
        event.user_id = Some(user.clone());
        event.client.user_agent = Some(id.clone());
        let fields = lines(&[event])[0]["fields"].clone();
        assert_eq!((&fields["user_id"], &fields["actor"]), (&json!(id), &json!(shown)));
        assert_eq!(fields["user_agent"], "[redacted]", "nobody knows that it is none");
    }
}

#[test]
fn an_id_cannot_reorder_a_line_either() {
    let mut event = full(AuditKind::Created);
    event.user_id = Some(UserId::parse("alice\u{202e}\u{2028}").unwrap());
    assert_eq!(lines(&[event])[0]["fields"]["user_id"], "alice\\u202e\\u2028");
}

#[test]
fn it_has_a_name_and_no_background_work() {
    let audit: &dyn AuditBackend = &LogAudit::new();
    assert_eq!(audit.name(), "log");
    assert!(audit.maintenance().is_none());
}

#[test]
fn events_keep_their_order() {
    let kinds: Vec<_> = lines(&AuditKind::ALL.map(full)).iter().map(|line| line["fields"]["kind"].clone()).collect();
    assert_eq!(kinds, AuditKind::ALL.map(AuditKind::as_str));
}
