//! What reaches the audit trail when sinks fail, when changes are unconfirmed, and when garbage comes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{OnLimit, Phase, SessionFilter, SessionLimit};
use session_manager_core::{
    Actor, AuditKind, BackendCapabilities, Control, Error, ErrorKind, IssueContext, NewSession, PolicyOverrides,
    Presented, Rejection, Result, RevocationReason, Rotation, SessionBackend, SessionChange, SessionStorage, Snapshot,
    State, TokenKind, TokenPair, Verified,
};
use session_manager_services::Redis;
use session_manager_storage_redis::{Acknowledge, RedisStorage, RedisStorageConfig};
use session_manager_tests::bed::{Bed, backend, firefox, memory, phone, user};

/// Whatever a required sink could not take is owed to it, in order, and told before anything else.
#[tokio::test]
async fn a_required_sink_is_owed_what_it_missed() {
    let bed = Bed::in_memory();
    let (one, two) = (bed.sign_in("alice").await, bed.sign_in("alice").await);
    bed.sink.clear();
    bed.sink.fail(true);
    let error = bed.manager.revoke_all(&user("alice"), RevocationReason::ALL, &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(bed.manager.flush().await.is_err());
    bed.sink.fail(false);
    // Repeating finds nothing to end, and the trail is whole before it is acknowledged.
    assert_eq!(bed.manager.revoke_all(&user("alice"), RevocationReason::ALL, &firefox()).await.unwrap(), []);
    bed.manager.flush().await.unwrap();
    let told: Vec<_> = bed.sink.events().iter().map(|event| (event.kind, event.session_id)).collect();
    let mut expected = [one, two].map(|created| (AuditKind::Revoked, Some(created.snapshot.session.id)));
    expected.sort_by_key(|(_, id)| told.iter().position(|(_, told)| told == id));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_replay_is_told_whole_once_the_sink_is_back() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let token = created.tokens.refresh.expose();
    bed.manager.refresh(token, &firefox()).await.unwrap();
    bed.pass(Duration::from_mins(1));
    bed.sink.clear();
    bed.sink.fail(true);
    assert_eq!(bed.manager.refresh(token, &phone()).await.unwrap_err().kind(), ErrorKind::ReplayDetected);
    bed.sink.fail(false);
    bed.manager.flush().await.unwrap();
    assert_eq!(bed.sink.kinds(), [AuditKind::Revoked, AuditKind::Suspicious]);
    assert_eq!(bed.sink.last().reason.as_deref(), Some("refresh_replay_after_grace"));
}

#[tokio::test]
async fn a_clean_up_that_could_not_be_recorded_is_recorded_later() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    bed.pass(Duration::from_hours(24 * 40));
    bed.sink.clear();
    bed.sink.fail(true);
    assert_eq!(bed.manager.delete_expired(10).await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    bed.sink.fail(false);
    assert_eq!(bed.manager.delete_expired(10).await.unwrap().sessions.len(), 0);
    bed.manager.flush().await.unwrap();
    let event = bed.sink.last();
    assert_eq!((event.kind, event.session_id), (AuditKind::Expired, Some(created.snapshot.session.id)));
}

/// A rotation with the version that it was decided on may be repeated: it ends no grace.
#[tokio::test]
async fn a_repeated_rotation_raises_nothing_twice() {
    let bed = Bed::in_memory();
    let old = bed.sign_in("alice").await;
    let version = bed.manager.epochs(None).await.unwrap().global.unwrap().epoch.version;
    let rotation = Rotation::new("leak").grace(Duration::from_mins(15)).expecting(version);
    bed.sink.fail(true);
    assert_eq!(bed.manager.rotate_all(&rotation, &firefox()).await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    bed.sink.fail(false);
    let repeated = bed.manager.rotate_all(&rotation, &firefox()).await.unwrap();
    assert_eq!((repeated.old_version, repeated.new_version), (Some(version), version + 1));
    assert_eq!(bed.access(&old.tokens.access).await, Ok(()), "still within the grace");
    let other = Rotation::new("leak").expecting(version + 7);
    assert_eq!(bed.manager.rotate_all(&other, &firefox()).await.unwrap_err().kind(), ErrorKind::Conflict);

    // A kept session gets its tokens by the repetition.
    let keep = bed.sign_in("bob").await.snapshot.session.id;
    let version = bed.manager.epochs(Some(&user("bob"))).await.unwrap().user.unwrap().version;
    let rotation = Rotation::new("password").keeping(keep).expecting(version);
    bed.sink.fail(true);
    assert!(bed.manager.rotate_user(&user("bob"), &rotation, &firefox()).await.is_err());
    bed.sink.fail(false);
    let kept = bed.manager.rotate_user(&user("bob"), &rotation, &firefox()).await.unwrap().kept.unwrap();
    assert_eq!(bed.access(&kept.tokens.access).await, Ok(()));
}

/// What too few replicas have acknowledged is done: it is announced and recorded, and the caller is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unconfirmed_is_announced_and_recorded() {
    let server = Redis::start().unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let config = RedisStorageConfig::new().acknowledge(Acknowledge::new(1, Duration::from_millis(20)));
    let storage = Arc::new(RedisStorage::new(connection, config).unwrap());
    let bed = Bed::on(Arc::<RedisStorage>::clone(&storage));
    let created = bed.sign_in("alice").await;
    let id = created.snapshot.session.id;
    let told = async || {
        let batch = storage.feed().unwrap().since(None, 100, bed.clock_now()).await.unwrap();
        batch.notices.iter().filter(|notice| notice.phase == Phase::Done).count()
    };
    let before = told().await;
    let error = bed.manager.revoke(None, id, RevocationReason::LOGOUT, &firefox()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unconfirmed, true));
    assert_eq!((bed.sink.count(AuditKind::Revoked), told().await), (1, before + 1));
    assert_eq!(bed.access(&created.tokens.access).await, Err(ErrorKind::SessionEnded(State::Revoked)));
    let error = bed.manager.revoke(None, id, RevocationReason::LOGOUT, &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "until replicas have it");
    let error = bed.manager.rotate_all(&Rotation::new("test"), &firefox()).await.unwrap_err();
    assert_eq!((error.kind(), bed.sink.count(AuditKind::Rotated)), (ErrorKind::Unconfirmed, 1));
}

#[tokio::test]
async fn garbage_is_counted_and_rarely_recorded() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    bed.sink.clear();
    for number in 0..1000 {
        assert!(bed.manager.authenticate(&format!("garbage {number}"), &phone()).await.is_err());
    }
    let counts: Vec<_> = bed.sink.events().iter().map(|event| event.details["count"].clone()).collect();
    assert_eq!(counts, [1, 10, 100, 1000]);
    let address = phone().client.ip_address.unwrap();
    assert_eq!((bed.manager.rejections(address), bed.manager.rejections([192, 0, 2, 1].into())), (1000, 0));

    // An access token past its time is every client's daily business.
    bed.sink.clear();
    bed.pass(Duration::from_mins(6));
    assert_eq!(bed.access(&created.tokens.access).await, Err(ErrorKind::InvalidToken(Rejection::Expired)));
    assert_eq!(bed.sink.kinds(), []);
}

/// One event with one id, whoever meets the end first and however often.
#[tokio::test]
async fn an_end_by_time_is_told_once() {
    let bed = Bed::with_policy(|policy| policy.idle_timeout = Some(Duration::from_mins(5)));
    let created = bed.sign_in("alice").await;
    bed.pass(Duration::from_mins(5));
    bed.sink.clear();
    for _ in 0..3 {
        let error = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SessionEnded(State::Idle));
    }
    assert_eq!(bed.sink.kinds(), [AuditKind::Expired]);
    bed.pass(Duration::from_hours(25));
    assert_eq!(bed.manager.delete_expired(10).await.unwrap().sessions.len(), 1);
    let ids: Vec<_> = bed.sink.events().iter().map(|event| (event.kind, event.id)).collect();
    assert_eq!(ids[0], ids[1], "a sink keeps one of them");
}

/// A token backend that issues nothing.
#[derive(Debug)]
struct Mute(Arc<dyn SessionBackend>);

#[async_trait]
impl SessionBackend for Mute {
    fn capabilities(&self) -> BackendCapabilities {
        self.0.capabilities()
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        self.0.parse(kind, token)
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        self.0.verify(presented, control, now)
    }

    async fn issue(&self, _: &Snapshot, _: &IssueContext) -> Result<TokenPair> {
        Err(Error::new(ErrorKind::Unavailable, "issue"))
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[tokio::test]
async fn a_sign_in_without_tokens_tells_whom_it_evicted_and_that_it_ended() {
    let storage = memory();
    let good = Bed::on(Arc::clone(&storage));
    let first = good.sign_in("alice").await;
    let bed = Bed::with(storage, |builder| builder.backend(Arc::new(Mute(backend()))));
    bed.pass(Duration::from_secs(1));
    let one = PolicyOverrides::new().limit(SessionLimit::new(1, OnLimit::EvictOldest));
    let error = bed.manager.create(NewSession::of(user("alice")).overriding(one), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(bed.sink.kinds(), [AuditKind::Evicted, AuditKind::Revoked]);
    assert_eq!(bed.sink.events()[0].session_id, Some(first.snapshot.session.id));
    assert_eq!(bed.sink.last().reason.as_deref(), Some("issue_failed"));
    assert_eq!(good.manager.count(Some(&user("alice")), SessionFilter::new()).await.unwrap().value, 0);
}

#[tokio::test]
async fn the_trail_names_who_acted() {
    let bed = Bed::in_memory();
    let support = Actor::Service("support".into());
    let created =
        bed.manager.create(NewSession::of(user("alice")).impersonated_by(support.clone()), &firefox()).await.unwrap();
    bed.access(&created.tokens.access).await.unwrap();
    assert_eq!(bed.sink.last().actor, support, "in the user's name, not by the user");

    let own = bed.sign_in("alice").await.snapshot.session.id;
    bed.manager.revoke(Some(&user("alice")), own, RevocationReason::LOGOUT, &firefox()).await.unwrap();
    let admin = firefox().by(Actor::User(user("root")));
    bed.manager.delete(None, own, &admin).await.unwrap();
    assert_eq!((bed.sink.last().kind, bed.sink.last().actor), (AuditKind::Deleted, Actor::User(user("root"))));
    bed.sink.clear();
    bed.manager.delete(None, created.snapshot.session.id, &admin).await.unwrap();
    assert_eq!(bed.sink.kinds(), [AuditKind::Revoked, AuditKind::Deleted]);
    assert_eq!(bed.sink.events()[0].reason.as_deref(), Some("revoked_by_admin"));
    assert_eq!(bed.manager.delete(None, own, &admin).await.unwrap_err().kind(), ErrorKind::NotFound);

    for name in [String::new(), "x".repeat(129), "a\nb".into()] {
        let nobody = firefox().by(Actor::Service(name.clone()));
        let error = bed.manager.revoke_all(&user("alice"), RevocationReason::ALL, &nobody).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
        let new = NewSession::of(user("alice")).impersonated_by(Actor::Service(name));
        assert_eq!(bed.manager.create(new, &firefox()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_change_of_privileges_ends_older_tokens_and_is_told() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let change = SessionChange::new().privileges_changed().attribute("role", "admin");
    bed.manager.update(None, created.snapshot.session.id, &change, &firefox()).await.unwrap();
    assert_eq!(bed.sink.last().reason.as_deref(), Some("privileges_changed"));
    assert_eq!(bed.access(&created.tokens.access).await, Err(ErrorKind::Superseded));
    let refused = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Superseded);
}
