//! Several nodes over one durable storage, joined by a bus: what each sees, and what happens when it does not hear.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use lab::{Lab, MAX_AGE};
use session_manager_core::storage::{Notice, OnLimit, Phase, RevokeTarget, Subject};
use session_manager_core::{BusEvent, Error, ErrorKind, InvalidationBus, LocalBus, Result, Snapshot, State};
use session_manager_storage_tiered::{TieredConfig, WhenDeaf};
use session_manager_testkit::fault::{Method, PausingStorage};
use session_manager_testkit::{Fixture, ReferenceStorage, user};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;

fn config() -> TieredConfig {
    TieredConfig::new().max_age(MAX_AGE)
}

/// Lets whoever listens hear what was said.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

type Durable = Arc<PausingStorage<ReferenceStorage>>;

/// Two nodes that have been listening for a while.
async fn nodes() -> (Durable, Lab, Lab, [tokio::task::JoinHandle<()>; 2]) {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let bus: Arc<dyn InvalidationBus> = Arc::new(LocalBus::new());
    let (here, there) =
        (Lab::with(&durable, config(), Some(Arc::clone(&bus))), Lab::with(&durable, config(), Some(bus)));
    let listening = [here.listen().await, there.listen().await];
    (here.tick(10_000), there.tick(10_000));
    (durable, here, there, listening)
}

#[tokio::test]
async fn every_kind_of_end_reaches_the_other_node() {
    let (_, here, there, _listening) = nodes().await;
    let alice = user("alice");
    for number in 0..7 {
        let session = here.session(&alice).external(&format!("sid {number}"));
        let one = here.store(session).await;
        settle().await;
        assert_eq!(there.seen(&one).await, State::Live, "{number}");
        let hits = there.tiered.stats().hits;
        assert_eq!(there.seen(&one).await, State::Live);
        assert_eq!(there.tiered.stats().hits, hits + 1, "{number}: remembered");
        match number {
            0 => drop(here.logout(&one).await),
            1 => drop(here.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await),
            2 => drop(here.bump_user(&alice, None).await),
            3 => drop(here.bump_global(0).await),
            4 => drop(here.revoke(RevokeTarget::External(one.session.external.clone().unwrap())).await),
            5 => drop(here.login_within(&alice, 1, OnLimit::EvictOldest).await),
            _ => {
                let filter = session_manager_core::storage::SessionFilter::new();
                drop(here.revoke(RevokeTarget::Matching { user: None, filter }).await);
            }
        }
        settle().await;
        assert!(!there.seen(&one).await.is_live(), "{number}");
        assert!(!here.seen(&one).await.is_live(), "{number}");
    }
}

#[tokio::test]
async fn from_intent_until_done_the_other_node_remembers_nothing() {
    let (durable, here, there, _listening) = nodes().await;
    let one = here.login(&user("alice")).await;
    settle().await;
    there.seen(&one).await;
    let mut slow = durable.pause_next(Method::Revoke);
    let revoking = here.revoking(&one);
    slow.reached().await;
    settle().await;
    let before = there.tiered.stats();
    assert_eq!(there.seen(&one).await, State::Revoked, "the change is made, its end is not announced");
    assert_eq!(there.tiered.stats().bypassed, before.bypassed + 1);
    slow.release();
    revoking.await.unwrap();
    settle().await;
    assert_eq!(there.seen(&one).await, State::Revoked);
    assert_eq!(there.tiered.stats().bypassed, before.bypassed + 1, "what ended may be remembered as such");
}

#[tokio::test]
async fn a_slow_read_on_the_other_node_is_thrown_away() {
    let (durable, here, there, _listening) = nodes().await;
    let one = here.login(&user("alice")).await;
    settle().await;
    let mut slow = durable.pause_next(Method::Read);
    let reader = there.reading(&one);
    slow.reached().await;
    here.logout(&one).await;
    settle().await;
    slow.release();
    assert!(reader.await.unwrap().is_some());
    assert_eq!(there.seen(&one).await, State::Revoked);
    assert_eq!(there.tiered.stats().refused_fills, 1);
}

#[tokio::test]
async fn a_node_that_does_not_listen_passes_the_cache_by_or_bounds_it() {
    for when_deaf in [WhenDeaf::Bypass, WhenDeaf::Bounded(Duration::from_secs(2))] {
        let durable = Arc::new(ReferenceStorage::new());
        let deaf = Lab::with(&durable, config().when_deaf(when_deaf), Some(Arc::new(LocalBus::new())));
        let past = deaf.past(&durable);
        let one = deaf.login(&user("alice")).await;
        deaf.seen(&one).await;
        assert!(!deaf.tiered.stats().hearing && !deaf.storage().check(deaf.now()).await.unwrap().findings.is_empty());
        past.logout(&one).await;
        let bounded = when_deaf != WhenDeaf::Bypass;
        for (tick, stale) in [(0, bounded), (1_999, bounded), (1, false)] {
            deaf.tick(tick);
            assert_eq!(deaf.seen(&one).await == State::Live, stale, "{when_deaf:?} after {tick}");
        }
        assert_eq!(deaf.tiered.stats().hits > 0, bounded);
        // With somebody listening it is a cache again, and stops being one when that ends.
        let listening = deaf.listen().await;
        assert!(deaf.tiered.stats().hearing && deaf.tiered.stats().entries == 0, "nobody knows what was said before");
        let hits = deaf.tiered.stats().hits;
        deaf.seen(&one).await;
        deaf.tick(9_999);
        deaf.seen(&one).await;
        assert_eq!(deaf.tiered.stats().hits, hits + 1);
        listening.abort();
        assert!(listening.await.is_err());
        assert!(!deaf.tiered.stats().hearing);
    }
}

/// A bus whose streams are what the test sends, and to which nothing can be published.
#[derive(Debug)]
struct Wire(Arc<Mutex<UnboundedReceiver<Option<BusEvent>>>>);

struct Far(UnboundedSender<Option<BusEvent>>);

fn wire() -> (Wire, Far) {
    let (sender, receiver) = unbounded_channel();
    (Wire(Arc::new(Mutex::new(receiver))), Far(sender))
}

impl Far {
    async fn say(&self, event: Option<BusEvent>) {
        self.0.send(event).unwrap();
        settle().await;
    }
}

#[async_trait]
impl InvalidationBus for Wire {
    async fn publish(&self, _: &Notice) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "publish"))
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        let wire = Arc::clone(&self.0);
        // `None` ends the stream.
        stream::unfold(wire, |wire| async move {
            let event = wire.lock().await.recv().await.flatten()?;
            Some((event, wire))
        })
        .boxed()
    }
}

async fn wired(config: TieredConfig) -> (Lab, Fixture, Snapshot, Far, tokio::task::JoinHandle<()>) {
    let (wire, far) = wire();
    let durable = Arc::new(ReferenceStorage::new());
    let lab = Lab::with(&durable, config, Some(Arc::new(wire)));
    let listening = lab.listen().await;
    let one = lab.login(&user("alice")).await;
    let past = lab.past(&durable);
    (lab, past, one, far, listening)
}

#[tokio::test]
async fn what_cannot_be_published_is_done_and_counted() {
    let (lab, _, one, _far, _listening) = wired(config()).await;
    lab.logout(&one).await;
    assert_eq!(lab.seen(&one).await, State::Revoked);
    assert_eq!(lab.tiered.stats().unannounced, 4, "before and after the sign-in and the revocation");
}

#[tokio::test]
async fn lost_notices_empty_the_cache() {
    let (lab, past, one, far, _listening) = wired(config()).await;
    assert_eq!(lab.seen(&one).await, State::Live);
    past.logout(&one).await;
    assert_eq!(lab.seen(&one).await, State::Live, "not known yet");
    far.say(Some(BusEvent::Heartbeat)).await;
    assert_eq!(lab.seen(&one).await, State::Live, "a heartbeat says nothing");
    far.say(Some(BusEvent::Lost)).await;
    assert_eq!(lab.seen(&one).await, State::Revoked);
}

#[tokio::test]
async fn an_ended_stream_makes_it_deaf_until_it_listens_again() {
    let (lab, past, one, far, _listening) = wired(config()).await;
    assert_eq!(lab.seen(&one).await, State::Live);
    far.say(None).await;
    assert!(!lab.tiered.stats().hearing);
    past.logout(&one).await;
    assert_eq!(lab.seen(&one).await, State::Revoked);
    lab.tick(1_000);
    settle().await;
    assert!(lab.tiered.stats().hearing, "a second later it has subscribed again");
    let notice = Notice::new(Subject::Session(one.session.id), Phase::Done, lab.now());
    far.say(Some(BusEvent::Notice(notice))).await;
    assert_eq!(lab.tiered.stats().notices, 1);
}

#[tokio::test]
async fn a_late_heartbeat_makes_it_deaf_and_empties_it() {
    let silence = Duration::from_secs(3);
    let (lab, past, one, far, _listening) = wired(config().heartbeat(Some(silence))).await;
    assert!(!lab.tiered.stats().hearing, "nothing was heard yet");
    far.say(Some(BusEvent::Heartbeat)).await;
    assert!(lab.tiered.stats().hearing);
    lab.seen(&one).await;
    past.logout(&one).await;
    lab.tick(3_000);
    assert_eq!(lab.seen(&one).await, State::Live, "in time, and not known yet");
    lab.tick(1);
    assert!(!lab.tiered.stats().hearing);
    assert_eq!(lab.seen(&one).await, State::Revoked, "too late: past the cache");
    far.say(Some(BusEvent::Heartbeat)).await;
    assert!(lab.tiered.stats().hearing);
    assert_eq!(lab.tiered.stats().entries, 0, "what was remembered before the silence is forgotten");
    assert_eq!(lab.seen(&one).await, State::Revoked);
}

#[tokio::test]
async fn the_feed_and_the_import_invalidate_too() {
    let durable = Arc::new(ReferenceStorage::new());
    let lab = Lab::new(&durable);
    let (one, other) = (lab.login(&user("alice")).await, lab.login(&user("alice")).await);
    let past = lab.past(&durable);
    lab.seen(&one).await;
    past.logout(&one).await;
    assert_eq!(lab.seen(&one).await, State::Live);
    let notice = |phase| Notice::new(Subject::Session(one.session.id), phase, lab.now());
    let feed = lab.storage().feed().unwrap();
    feed.announce(&[notice(Phase::Intent), notice(Phase::Done)]).await.unwrap();
    assert_eq!(lab.seen(&one).await, State::Revoked);

    let mut newer = lab.find(other.key()).await.unwrap();
    newer.control.version += 1;
    newer.control.generation += 1;
    newer.epochs.user = newer.epochs.user.map(session_manager_core::Epoch::next);
    lab.storage().scan().unwrap().put(&newer).await.unwrap();
    assert_eq!(lab.eventual(&other).await, Some(newer));
    assert_eq!(lab.seen(&other).await, State::RotatedOut, "the put raised the user's epoch");
}
