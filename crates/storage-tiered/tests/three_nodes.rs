//! Three nodes that change and read one session at once: whose beginning and whose end a notice is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use lab::{Lab, MAX_AGE};
use session_manager_core::storage::{Notice, Phase, SessionPatch, Subject};
use session_manager_core::{BusEvent, Error, ErrorKind, InvalidationBus, LocalBus, Result, Snapshot, State};
use session_manager_storage_tiered::TieredConfig;
use session_manager_testkit::fault::{Hook, Hooked, Method, PausingStorage};
use session_manager_testkit::{ReferenceStorage, user};
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::task::yield_now;

/// Holds the next revocation before it has done anything.
#[derive(Debug, Default)]
struct Brink(Mutex<Option<(Sender<()>, Receiver<()>)>>);

#[async_trait]
impl Hook for Brink {
    async fn before(&self, method: Method) -> Result<()> {
        let held = if method == Method::Revoke { self.0.lock().unwrap().take() } else { None };
        if let Some((reached, go_on)) = held {
            reached.send(()).unwrap();
            go_on.await.unwrap();
        }
        Ok(())
    }
}

impl Brink {
    fn hold_next(&self) -> (Receiver<()>, Sender<()>) {
        let ((reached, was_reached), (go_on, goes_on)) = (channel(), channel());
        *self.0.lock().unwrap() = Some((reached, goes_on));
        (was_reached, go_on)
    }
}

type Durable = Arc<PausingStorage<Hooked<ReferenceStorage, Brink>>>;

async fn settle() {
    for _ in 0..12 {
        yield_now().await;
    }
}

/// Three nodes that have been listening for a while.
async fn nodes(durable: &Durable, bus: &Arc<dyn InvalidationBus>) -> ([Lab; 3], Vec<tokio::task::JoinHandle<()>>) {
    let config = || TieredConfig::new().max_age(MAX_AGE);
    let nodes = [(); 3].map(|()| Lab::with(durable, config(), Some(Arc::clone(bus))));
    let mut listening = Vec::new();
    for node in &nodes {
        listening.push(node.listen().await);
        node.tick(10_000);
    }
    (nodes, listening)
}

/// What a node that only looks after the change of another does: it must not end the wait for a third one's.
async fn change_beside(node: &Lab, one: &Snapshot, number: usize) {
    match number {
        0 => drop(node.advance(one, 1).await),
        1 => {
            let mut patch = SessionPatch::new();
            patch.device_name = Some(Some("tablet".into()));
            node.update(one, patch).await;
        }
        _ => {
            let mut patch = SessionPatch::new();
            patch.raise_floor = true;
            node.update(one, patch).await;
        }
    }
}

#[tokio::test]
async fn a_change_beside_a_revocation_does_not_end_the_wait_for_it() {
    for number in 0..3 {
        let durable: Durable =
            Arc::new(PausingStorage::new(Hooked::with_hook(ReferenceStorage::new(), Brink::default())));
        let bus: Arc<dyn InvalidationBus> = Arc::new(LocalBus::new());
        let ([revoker, changer, reader], _listening) = nodes(&durable, &bus).await;
        let one = revoker.login(&user("alice")).await;
        settle().await;
        assert_eq!(reader.seen(&one).await, State::Live);
        let hits = reader.tiered.stats().hits;
        assert_eq!(reader.seen(&one).await, State::Live);
        assert_eq!(reader.tiered.stats().hits, hits + 1, "remembered");

        // One node has announced that it ends the session, and is about to. Another changes it meanwhile.
        let (reached, go_on) = durable.inner().hook().hold_next();
        let revoking = revoker.revoking(&one);
        reached.await.unwrap();
        settle().await;
        change_beside(&changer, &one, number).await;
        settle().await;
        let before = reader.tiered.stats();
        assert_eq!(reader.seen(&one).await, State::Live, "it is not over yet");
        let after = reader.tiered.stats();
        assert_eq!((after.bypassed - before.bypassed, after.hits), (1, before.hits), "{number}: and is not remembered");

        // It ends, and the node dies before it can say so.
        let mut held = durable.pause_next(Method::Revoke);
        go_on.send(()).unwrap();
        held.reached().await;
        revoking.abort();
        assert!(revoking.await.unwrap_err().is_cancelled());
        assert_eq!(reader.seen(&one).await, State::Revoked, "{number}");
        assert_eq!(changer.seen(&one).await, State::Revoked, "{number}");
        assert_eq!(reader.tiered.stats().hits, before.hits);
    }
}

#[tokio::test]
async fn after_its_end_a_change_beside_leaves_nothing_open() {
    let durable: Durable = Arc::new(PausingStorage::new(Hooked::with_hook(ReferenceStorage::new(), Brink::default())));
    let bus: Arc<dyn InvalidationBus> = Arc::new(LocalBus::new());
    let ([_, changer, reader], _listening) = nodes(&durable, &bus).await;
    let mut one = changer.login(&user("alice")).await;
    for number in 0..3 {
        change_beside(&changer, &one, number).await;
        one = changer.reread(&one).await;
        settle().await;
        let bypassed = reader.tiered.stats().bypassed;
        for _ in 0..2 {
            assert_eq!(reader.eventual(&one).await, Some(one.clone()), "{number}");
        }
        assert_eq!(reader.tiered.stats().bypassed, bypassed, "{number}: remembered again");
    }
}

/// A bus that takes no beginnings.
#[derive(Debug, Default)]
struct Endings(LocalBus);

#[async_trait]
impl InvalidationBus for Endings {
    async fn publish(&self, notice: &Notice) -> Result<()> {
        if notice.phase == Phase::Intent {
            return Err(Error::new(ErrorKind::Unavailable, "publish"));
        }
        self.0.publish(notice).await
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        self.0.subscribe()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[tokio::test]
async fn an_end_is_never_told_without_its_beginning() {
    let durable = Arc::new(ReferenceStorage::new());
    let bus = Arc::new(Endings::default());
    let mut events = bus.subscribe();
    let lab = Lab::with(&durable, TieredConfig::new().max_age(MAX_AGE), Some(bus));
    let one = lab.login(&user("alice")).await;
    lab.advance(&one, 1).await;
    lab.logout(&one).await;
    assert_eq!(events.next().now_or_never(), None, "it would be taken for the end of somebody else's change");
    assert_eq!(lab.tiered.stats().unannounced, 5, "before and after the sign-in and the logout, and after the refresh");
}

#[tokio::test]
async fn an_end_whose_beginning_may_have_been_lost_ends_nothing() {
    let durable: Durable = Arc::new(PausingStorage::new(Hooked::with_hook(ReferenceStorage::new(), Brink::default())));
    let bus: Arc<dyn InvalidationBus> = Arc::new(LocalBus::new());
    let ([revoker, _, reader], mut listening) = nodes(&durable, &bus).await;
    let one = revoker.login(&user("alice")).await;
    let say =
        async |phase| bus.publish(&Notice::new(Subject::Session(one.session.id), phase, revoker.now())).await.unwrap();
    // The reader listens anew between the beginning and the end of one change, and hears the beginning of another.
    let last = listening.pop().unwrap();
    last.abort();
    assert!(last.await.is_err());
    say(Phase::Intent).await;
    listening.push(reader.listen().await);
    say(Phase::Intent).await;
    say(Phase::Done).await;
    settle().await;
    let bypassed = reader.tiered.stats().bypassed;
    assert_eq!(reader.seen(&one).await, State::Live);
    assert_eq!(reader.tiered.stats().bypassed, bypassed + 1, "the other change is still under way");
    reader.tick(10_000);
    reader.seen(&one).await;
    assert_eq!(reader.tiered.stats().bypassed, bypassed + 1, "nobody waits longer than an entry lives");
    for phase in [Phase::Done, Phase::Intent, Phase::Done] {
        say(phase).await;
    }
    settle().await;
    reader.seen(&one).await;
    assert_eq!(reader.tiered.stats().bypassed, bypassed + 1, "from then on it hears both");
}
