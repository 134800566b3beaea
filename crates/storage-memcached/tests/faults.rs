//! What the network and the cache do to a step: lost requests and replies, needless conflicts, evictions, and old items.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    AdvanceOutcome, Bump, BumpTarget, InsertOutcome, OnLimit, Purge, PurgeScope, Query, Revoke, RevokeTarget,
    SessionLimit, SessionPatch, Touch, Update, UpdateOutcome,
};
use session_manager_core::{Actor, ErrorKind, Result, RevocationReason, SessionKey, Snapshot, State};
use session_manager_storage_memcached::MemcachedStorage;
use session_manager_testkit::{Fixture, GRACE, user};
use support::fake::{Command, FakeCache, Fault, block_on};

/// A storage on a fake cache, with two sessions of alice: one live, one ended.
struct Scene {
    cache: FakeCache,
    lab: Fixture,
    live: Snapshot,
    ended: Snapshot,
}

impl Scene {
    async fn new() -> Self {
        let cache = FakeCache::default();
        let lab = Fixture::new(Arc::new(MemcachedStorage::new(cache.clone(), support::config()).unwrap()));
        let ended = lab.login(&user("alice")).await;
        lab.logout(&ended).await;
        lab.tick(1);
        let live = lab.login(&user("alice")).await;
        Self { cache, lab, live, ended }
    }

    /// Neither a read nor a write accepts the session, by token or by id, with the token it had.
    async fn assert_dead(&self, ended: &Snapshot, at: &str) {
        for key in [ended.key(), SessionKey::by_id(ended.session.id)] {
            let found = self.lab.find(key).await;
            assert!(found.is_none_or(|one| !one.state(self.lab.now(), self.lab.live()).is_live()), "{at}: read");
        }
        let outcome = self.lab.advance(ended, ended.control.generation).await;
        assert!(matches!(outcome, AdvanceOutcome::Ended(..) | AdvanceOutcome::Missing), "{at}: {outcome:?}");
        let outcome = self.lab.update(ended, SessionPatch::new()).await;
        assert!(matches!(outcome, UpdateOutcome::Ended(..) | UpdateOutcome::Missing), "{at}: {outcome:?}");
        assert_eq!(self.lab.touch(ended).await.touched, 0, "{at}: touch");
        let listed = self.lab.live_ids(&ended.session.user_id).await;
        assert!(!listed.contains(&ended.session.id), "{at}: list");
    }
}

/// An operation that can be repeated as it is.
type Operation = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Every operation that writes, on the live session of a scene, by name.
fn operations(scene: &Scene) -> Vec<(&'static str, Operation)> {
    let (lab, live) = (scene.lab.clone(), scene.live.clone());
    let alice = user("alice");
    let login = {
        let mut insert = lab.insert_of(lab.session(&alice).record());
        insert.limit = SessionLimit::new(1, OnLimit::EvictOldest);
        insert
    };
    let first = lab.insert_of(lab.session(&user("bob")).record());
    let bump = |target| Bump::new(target, lab.incarnations(), lab.now()).expecting(1);
    let bump_user = bump(BumpTarget::User { user: alice.clone(), keep: Some(live.session.id) });
    let bump_global = bump(BumpTarget::Global { grace: std::time::Duration::ZERO });
    let revoke = |target| Revoke::new(target, RevocationReason::LOGOUT, Actor::System, lab.now());
    let revoke_one = revoke(RevokeTarget::One { key: SessionKey::by_id(live.session.id), owner: None });
    let revoke_all = revoke(RevokeTarget::User { user: alice, except: None });
    let update = Update::new(live.key(), live.control.version, SessionPatch::new(), lab.now());
    let purge = Purge::new(PurgeScope::One(live.key()), 1, lab.now());
    let later = lab.now() + chrono::TimeDelta::milliseconds(1);
    let touch = Touch::new(live.key(), later, later);
    macro_rules! operation {
        ($name:literal, $storage:ident => $call:expr, $request:ident) => {{
            let (lab, request) = (lab.clone(), $request);
            let run: Operation = Arc::new(move || {
                let (lab, $request) = (lab.clone(), request.clone());
                async move {
                    let $storage = lab.storage();
                    $call.await.map(drop)
                }
                .boxed()
            });
            ($name, run)
        }};
    }
    vec![
        operation!("insert", storage => storage.insert(&login), login),
        operation!("first insert", storage => storage.insert(&first), first),
        operation!("update", storage => storage.update(&update), update),
        operation!("touch", storage => storage.touch(&[touch], touch.last_activity), touch),
        operation!("revoke one", storage => storage.revoke(&revoke_one), revoke_one),
        operation!("revoke all", storage => storage.revoke(&revoke_all), revoke_all),
        operation!("bump user", storage => storage.bump(&bump_user), bump_user),
        operation!("bump global", storage => storage.bump(&bump_global), bump_global),
        operation!("purge", storage => storage.purge(&purge), purge),
    ]
}

/// Runs every operation on a scene of its own, once for each command it makes; `each` gets the number of the command.
async fn at_every_command(each: impl AsyncFn(&Scene, &str, Operation, usize)) {
    let count = operations(&Scene::new().await).len();
    for which in 0..count {
        let scene = Scene::new().await;
        let (_, operation) = operations(&scene).swap_remove(which);
        scene.cache.script(|_, _, _| Fault::None);
        operation().await.unwrap();
        let commands = scene.cache.behave();
        assert!(commands > 1);
        for command in 0..commands {
            let scene = Scene::new().await;
            let (name, operation) = operations(&scene).swap_remove(which);
            each(&scene, name, operation, command).await;
        }
    }
}

#[tokio::test]
async fn a_lost_request_or_reply_is_unavailable_or_made_good_and_repeating_it_is_safe() {
    let unknown = AtomicUsize::new(0);
    for fault in [Fault::Unsent, Fault::LostReply] {
        at_every_command(async |scene, name, operation, command| {
            scene.cache.script(move |at, _, _| if at == command { fault } else { Fault::None });
            let outcome = operation().await;
            scene.cache.behave();
            if let Err(error) = outcome {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{name}");
                unknown.fetch_add(1, Ordering::Relaxed);
                operation().await.unwrap_or_else(|error| panic!("{name} again: {error:?}"));
            }
            let (lab, live, at) = (&scene.lab, &scene.live, format!("{name}, {fault:?} at {command}"));
            scene.assert_dead(&scene.ended, &at).await;
            let alices = lab.live_ids(&user("alice")).await;
            match name {
                "insert" => {
                    assert_eq!(alices.len(), 1, "{at}: the limit holds");
                    scene.assert_dead(live, &at).await;
                }
                "first insert" => assert_eq!(lab.live_ids(&user("bob")).await.len(), 1, "{at}"),
                "update" => assert_eq!(lab.reread(live).await.control.version, live.control.version + 1, "{at}"),
                "touch" => assert!(lab.reread(live).await.control.last_activity > live.control.last_activity, "{at}"),
                "bump user" => {
                    assert_eq!(
                        lab.storage().epochs(Some(&user("alice"))).await.unwrap().user.unwrap().version,
                        2,
                        "{at}"
                    );
                    assert_eq!((alices.len(), lab.reread(live).await.control.floor), (1, 3), "{at}");
                }
                "bump global" => {
                    let epochs = lab.storage().epochs(None).await.unwrap();
                    assert_eq!(epochs.global.unwrap().epoch.version, 2, "{at}");
                    scene.assert_dead(live, &at).await;
                }
                _ => scene.assert_dead(live, &at).await,
            }
        })
        .await;
    }
    assert!(unknown.into_inner() > 10, "some of it was not made good");
}

#[tokio::test]
async fn a_lost_reply_to_a_refresh_converges() {
    for fault in [Fault::Unsent, Fault::LostReply] {
        let scene = Scene::new().await;
        scene.cache.script(move |_, command, _| if command == Command::Swap { fault } else { Fault::None });
        let advance = session_manager_core::storage::Advance::new(scene.live.key(), 1, GRACE, scene.lab.now());
        let error = scene.lab.storage().advance(&advance).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        scene.cache.behave();
        let outcome = scene.lab.advance(&scene.live, 1).await;
        let (AdvanceOutcome::Advanced(now) | AdvanceOutcome::Converge(now)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(now.control.generation, 2, "{fault:?}");
    }
}

#[tokio::test]
async fn needless_conflicts_are_repeated_and_bounded() {
    let scene = Scene::new().await;
    scene.cache.script(
        |at, command, _| {
            if command == Command::Swap && at < 12 { Fault::Spurious } else { Fault::None }
        },
    );
    assert!(matches!(scene.lab.advance(&scene.live, 1).await, AdvanceOutcome::Advanced(_)));
    assert!(scene.cache.behave() >= 12);

    let config = support::config().max_attempts(3);
    let storage = MemcachedStorage::new(scene.cache.clone(), config).unwrap();
    let lab = Fixture::new(Arc::new(storage));
    let live = lab.login(&user("alice")).await;
    scene.cache.script(|_, command, _| if command == Command::Swap { Fault::Spurious } else { Fault::None });
    let revoke = Revoke::new(
        RevokeTarget::One { key: live.key(), owner: None },
        RevocationReason::LOGOUT,
        Actor::System,
        lab.now(),
    );
    let error = lab.storage().revoke(&revoke).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(scene.cache.behave(), 9, "three attempts of three commands");
    assert_eq!(lab.reread(&live).await, live, "nothing was changed");
}

/// The heart of it: whatever is evicted before whichever command, nothing that ended is accepted again.
#[tokio::test]
async fn eviction_at_any_step_never_signs_in() {
    for part in ["-u:", "-p:", "-g", "-"] {
        at_every_command(async |scene, name, operation, command| {
            scene.cache.script(move |at, _, cache| {
                if at == command {
                    cache.evict(part);
                }
                Fault::None
            });
            operation().await.unwrap();
            scene.cache.behave();
            let at = format!("{name}, {part} evicted before {command}");
            scene.assert_dead(&scene.ended, &at).await;
            if matches!(name, "revoke one" | "revoke all" | "bump global" | "purge") {
                // A pointer that is lost may hide a session from its id; it must then be said that nothing was ended.
                let hidden = name == "revoke one" && part == "-p:";
                let lives = scene
                    .lab
                    .find(scene.live.key())
                    .await
                    .is_some_and(|one| one.state(scene.lab.now(), scene.lab.live()).is_live());
                assert!(hidden || !lives, "{at}");
            }
            let again = scene.lab.login(&user("alice")).await;
            assert_eq!(scene.lab.state(&again).await, State::Live, "{at}: signing in again works");
            scene.assert_dead(&scene.ended, &at).await;
        })
        .await;
    }
}

/// Each kind of item is lost at rest, after each way to end a session.
#[tokio::test]
async fn what_ended_stays_dead_whatever_item_is_lost() {
    for part in ["-u:", "-p:", "-g", "-"] {
        for way in 0..5 {
            let scene = Scene::new().await;
            let (lab, live) = (&scene.lab, &scene.live);
            let alice = user("alice");
            match way {
                0 => drop(lab.logout(live).await),
                1 => drop(lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await),
                2 => drop(lab.bump_user(&alice, None).await),
                3 => drop(lab.bump_global(0).await),
                _ => drop(lab.login_within(&alice, 1, OnLimit::EvictOldest).await),
            }
            assert!(scene.cache.evict(part) > 0);
            scene.assert_dead(live, part).await;
            for other in ["alice", "bob"] {
                let new = lab.login(&user(other)).await;
                assert_eq!(lab.state(&new).await, State::Live);
                scene.assert_dead(live, part).await;
                scene.assert_dead(&scene.ended, part).await;
            }
        }
    }
}

/// A writer that read before an eviction, and writes after somebody signed in anew, writes nothing.
#[tokio::test]
async fn a_slow_writer_never_brings_an_old_item_back() {
    let names: Vec<_> = operations(&Scene::new().await).into_iter().map(|(name, _)| name).collect();
    let slowed = Arc::new(AtomicUsize::new(0));
    for (which, name) in names.into_iter().enumerate() {
        // The user is forgotten, or everything and they sign in anew, or all that by a restart, after which the tokens are counted from the
        // beginning; before the first write or the second.
        for (way, slow) in (0..3).flat_map(|way| [(way, 0), (way, 1)]) {
            let scene = Scene::new().await;
            let (_, operation) = operations(&scene).swap_remove(which);
            let (lab, before) = (scene.lab.clone(), slowed.load(Ordering::Relaxed));
            let (mut writes, counter) = (0, Arc::clone(&slowed));
            scene.cache.script(move |_, command, cache| {
                if !matches!(command, Command::Swap | Command::Add) {
                    return Fault::None;
                }
                writes += 1;
                if writes != slow + 1 {
                    return Fault::None;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                match way {
                    0 => drop(cache.evict("-u:")),
                    1 => drop(cache.evict("-")),
                    _ => cache.restart(),
                }
                // As many writes as before, so that tokens meet again.
                for _ in 0..if way == 0 { 0 } else { 3 } {
                    block_on(lab.login(&user("alice")));
                }
                Fault::None
            });
            let outcome = operation().await;
            scene.cache.behave();
            if slowed.load(Ordering::Relaxed) == before {
                continue;
            }
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}");
            }
            scene.assert_dead(&scene.ended, name).await;
            scene.assert_dead(&scene.live, name).await;
        }
    }
    assert!(slowed.load(Ordering::Relaxed) >= 20, "{slowed:?}");
}

/// After everything was forgotten, no single old item that turns up again is good for anything.
#[tokio::test]
async fn an_old_copy_of_any_item_is_refused() {
    let scene = Scene::new().await;
    let old = scene.cache.copy();
    scene.lab.logout(&scene.live).await;
    for (key, value) in &old {
        scene.cache.evict("-");
        let new = scene.lab.login(&user("carol")).await;
        scene.cache.force(key, value);
        scene.assert_dead(&scene.live, "the global epoch is another").await;
        scene.assert_dead(&scene.ended, "the global epoch is another").await;
        // The new one may be signed out by that, and nothing more.
        drop(scene.lab.find(new.key()).await);
    }
}

#[tokio::test]
async fn a_lost_pointer_is_put_back_by_the_next_read() {
    let scene = Scene::new().await;
    let by_id = SessionKey::by_id(scene.live.session.id);
    assert_eq!(scene.cache.evict("-p:"), 2);
    assert!(scene.lab.find(by_id).await.is_none());
    let revoked = scene.lab.revoke(RevokeTarget::One { key: by_id, owner: None }).await;
    assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 0), "it is said that nothing was ended");
    assert_eq!(scene.lab.reread(&scene.live).await, scene.live);
    assert_eq!(scene.lab.find(by_id).await, Some(scene.live.clone()));
    assert_eq!(scene.cache.evict("-p:"), 1, "only that of the session that was read");
    let owner = Some(user("alice"));
    let revoked = scene.lab.revoke(RevokeTarget::One { key: by_id, owner }).await;
    assert_eq!(revoked.sessions.len(), 1, "with an owner no pointer is needed");
}

#[tokio::test]
async fn items_of_others_are_refused_aloud() {
    let scene = Scene::new().await;
    let (key, _) = scene.cache.copy().into_iter().find(|(key, _)| key.contains("-u:")).unwrap();
    scene.cache.force(&key, b"somebody else's");
    let error = scene.lab.storage().count(&Query::of(user("alice"), scene.lab.now())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let insert = scene.lab.insert_of(scene.lab.session(&user("alice")).record());
    assert_eq!(scene.lab.storage().insert(&insert).await.unwrap_err().kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_user_is_ended_even_when_the_item_is_full() {
    let cache = FakeCache::default();
    let storage = MemcachedStorage::new(cache.clone(), support::config().max_item_bytes(8192)).unwrap();
    let lab = Fixture::new(Arc::new(storage));
    let alice = user("alice");
    let mut stored = Vec::new();
    loop {
        let insert = lab.insert_of(lab.session(&alice).record());
        match lab.storage().insert(&insert).await {
            Ok(InsertOutcome::Inserted { snapshot, .. }) => stored.push(snapshot),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::InvalidInput, false));
                assert!(error.to_string().contains("8192 bytes"), "{error}");
                break;
            }
        }
    }
    assert!(stored.len() > 12, "{}", stored.len());
    assert_eq!(lab.live_ids(&alice).await.len(), stored.len(), "a refused sign-in changes nothing");
    let reason = RevocationReason::parse(&"r".repeat(200)).unwrap();
    let by = Actor::Service("s".repeat(128));
    let revoke = Revoke::new(RevokeTarget::User { user: alice.clone(), except: None }, reason, by, lab.now());
    assert_eq!(lab.storage().revoke(&revoke).await.unwrap().sessions.len(), stored.len());
    assert!(lab.live_ids(&alice).await.is_empty());
    lab.login(&alice).await;
    for (key, value) in cache.copy() {
        assert!(value.len() <= 8192, "{key}: the ended made room");
    }
}
