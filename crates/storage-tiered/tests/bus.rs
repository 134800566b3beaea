//! Several nodes over one durable storage, joined by a bus: what each sees, and what happens when it does not hear.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
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
    here.tick(10_000);
    there.tick(10_000);
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
struct Wire {
    events: Arc<Mutex<UnboundedReceiver<Option<BusEvent>>>>,
    subscriptions: Arc<AtomicU32>,
    working: Arc<AtomicBool>,
}

struct Far {
    events: UnboundedSender<Option<BusEvent>>,
    subscriptions: Arc<AtomicU32>,
    working: Arc<AtomicBool>,
}

fn wire() -> (Wire, Far) {
    let (sender, receiver) = unbounded_channel();
    let (subscriptions, working) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
    let events = Arc::new(Mutex::new(receiver));
    let wire = Wire { events, subscriptions: Arc::clone(&subscriptions), working: Arc::clone(&working) };
    (wire, Far { events: sender, subscriptions, working })
}

impl Far {
    async fn say(&self, event: Option<BusEvent>) {
        self.events.send(event).unwrap();
        settle().await;
    }

    fn subscriptions(&self) -> u32 {
        self.subscriptions.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl InvalidationBus for Wire {
    async fn publish(&self, _: &Notice) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "publish"))
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let wire = Arc::clone(&self.events);
        // `None` ends the stream.
        stream::unfold(wire, |wire| async move {
            let event = wire.lock().await.recv().await.flatten()?;
            Some((event, wire))
        })
        .boxed()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        let working = async {
            self.working.store(true, Ordering::Relaxed);
            pending::<()>().await;
        };
        Some(working.boxed())
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
    let target = RevokeTarget::One { key: one.key(), owner: None };
    assert_eq!(lab.revoke(target).await.binds_by, Some(lab.now() + MAX_AGE), "by then no node remembers anything else");
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
async fn an_ended_stream_makes_it_deaf_until_the_next_one_speaks() {
    let (lab, past, one, far, _listening) = wired(config()).await;
    assert_eq!(lab.seen(&one).await, State::Live);
    far.say(None).await;
    assert!(!lab.tiered.stats().hearing && !lab.storage().check(lab.now()).await.unwrap().findings.is_empty());
    past.logout(&one).await;
    assert_eq!(lab.seen(&one).await, State::Revoked);
    lab.tick(1_000);
    settle().await;
    assert_eq!((far.subscriptions(), lab.tiered.stats().hearing), (2, false), "it may still be connecting");
    let (two, bypassed) = (past.login(&user("bob")).await, lab.tiered.stats().bypassed);
    assert_eq!(lab.seen(&two).await, State::Live);
    past.logout(&two).await;
    assert_eq!(lab.seen(&two).await, State::Revoked, "nothing is answered from memory");
    assert_eq!(lab.tiered.stats().bypassed, bypassed + 2);
    let notice = Notice::new(Subject::Session(one.session.id), Phase::Done, lab.now());
    let flushes = lab.tiered.stats().flushes;
    far.say(Some(BusEvent::Notice(notice))).await;
    assert_eq!((lab.tiered.stats().notices, lab.tiered.stats().flushes), (1, flushes + 1));
    assert!(lab.tiered.stats().hearing);
}

#[tokio::test]
async fn a_bus_that_stays_broken_is_asked_less_and_less_often() {
    let (lab, _, _, far, _listening) = wired(config()).await;
    let mut subscriptions = 1;
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        far.say(None).await;
        lab.tick(wait * 1_000 - 1);
        settle().await;
        assert_eq!(far.subscriptions(), subscriptions, "not before {wait} s");
        lab.tick(1);
        settle().await;
        subscriptions += 1;
        assert_eq!(far.subscriptions(), subscriptions, "after {wait} s");
        assert!(!lab.tiered.stats().hearing);
    }
    // A stream that said something, or was good for a while, was a good one.
    for speaks in [true, false] {
        if speaks {
            far.say(Some(BusEvent::Heartbeat)).await;
        } else {
            lab.tick(30_000);
        }
        far.say(None).await;
        lab.tick(1_000);
        settle().await;
        subscriptions += 1;
        assert_eq!(far.subscriptions(), subscriptions, "{speaks}");
    }
}

#[tokio::test]
async fn the_work_of_the_bus_is_done_beside_listening() {
    let (lab, _, _, far, _listening) = wired(config()).await;
    assert!(far.working.load(Ordering::Relaxed) && lab.tiered.stats().hearing);
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
async fn only_a_heartbeat_says_that_the_bus_is_up() {
    let (lab, past, one, far, _listening) = wired(config().heartbeat(Some(Duration::from_secs(3)))).await;
    far.say(Some(BusEvent::Heartbeat)).await;
    assert!(lab.tiered.stats().hearing);
    // What this node says itself it hears in any case.
    lab.tick(3_001);
    far.say(Some(BusEvent::Notice(Notice::new(Subject::Session(one.session.id), Phase::Done, lab.now())))).await;
    assert!(!lab.tiered.stats().hearing);
    far.say(Some(BusEvent::Heartbeat)).await;
    assert_eq!(lab.seen(&one).await, State::Live);
    far.say(Some(BusEvent::Lost)).await;
    assert!(!lab.tiered.stats().hearing, "it has broken, and may still be broken");
    lab.seen(&one).await;
    past.logout(&one).await;
    assert_eq!(lab.seen(&one).await, State::Revoked);
    let flushes = lab.tiered.stats().flushes;
    far.say(Some(BusEvent::Heartbeat)).await;
    assert_eq!((lab.tiered.stats().hearing, lab.tiered.stats().flushes), (true, flushes + 1));
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
