//! The sessions that a storage holds while it is measured: of each user five.

use std::{
    future::Future,
    net::IpAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use session_manager_core::{
    Clock, Control, Random as _, Seed, Session, SessionId, SessionKey, SessionRecord, SessionStorage, SystemClock,
    SystemRandom, UserId,
    storage::{Incarnations, Insert, InsertOutcome, OnLimit, SessionLimit},
};

use crate::measure::{Outcome, Turn};

/// Sessions of one user.
pub(crate) const PER_USER: usize = 5;

static RANDOM: LazyLock<Option<SystemRandom>> = LazyLock::new(|| SystemRandom::new().ok());

/// Randomness for ids and seeds.
pub(crate) fn random() -> Outcome<&'static SystemRandom> {
    RANDOM.as_ref().ok_or_else(|| "no randomness".into())
}

/// The sessions of a storage, and how often each has been refreshed.
#[derive(Debug)]
pub(crate) struct Population {
    keys: Vec<SessionKey>,
    generations: Vec<AtomicU64>,
    next_new: AtomicU64,
}

impl Population {
    /// Of sessions that are stored already; the user of each is [`user_of`].
    pub(crate) fn of(keys: Vec<SessionKey>) -> Self {
        let generations = keys.iter().map(|_| AtomicU64::new(1)).collect();
        Self { keys, generations, next_new: AtomicU64::new(0) }
    }

    /// Adds `count` sessions to a storage, one by one as at sign-ins.
    pub(crate) async fn insert(storage: &Arc<dyn SessionStorage>, count: usize, in_flight: usize) -> Outcome<Self> {
        let insert = |index| async move { insert(storage, user_of(index)?).await };
        Ok(Self::of(gather((0..count).map(insert), in_flight).await?))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Any session, and its place.
    pub(crate) fn any(&self, turn: Turn) -> Outcome<(usize, SessionKey)> {
        self.at(turn.pick(self.len()))
    }

    /// Any of the worker's own, so that no two ever advance the same session at once.
    pub(crate) fn own(&self, turn: Turn, in_flight: usize) -> Outcome<(usize, SessionKey)> {
        self.at(turn.worker + in_flight * turn.pick(self.len() / in_flight))
    }

    fn at(&self, index: usize) -> Outcome<(usize, SessionKey)> {
        let key = self.keys.get(index).ok_or("no such session")?;
        Ok((index, *key))
    }

    /// The generation of a session's newest token.
    pub(crate) fn generation(&self, index: usize) -> u64 {
        self.generations.get(index).map_or(1, |generation| generation.load(Ordering::Relaxed))
    }

    pub(crate) fn refreshed(&self, index: usize, generation: u64) {
        if let Some(known) = self.generations.get(index) {
            known.store(generation, Ordering::Relaxed);
        }
    }

    /// A user who has no session yet.
    pub(crate) fn newcomer(&self) -> Outcome<UserId> {
        Ok(UserId::parse(&format!("new-{}", self.next_new.fetch_add(1, Ordering::Relaxed)))?)
    }
}

/// Whose the session at this place is.
pub(crate) fn user_of(index: usize) -> Outcome<UserId> {
    Ok(UserId::parse(&format!("user-{}", index / PER_USER))?)
}

/// Runs so many at once.
pub(crate) async fn gather<T, F: Future<Output = Outcome<T>>>(
    steps: impl IntoIterator<Item = F>,
    in_flight: usize,
) -> Outcome<Vec<T>> {
    stream::iter(steps).buffered(in_flight).try_collect().await
}

/// Signs a user in at the storage.
pub(crate) async fn insert(storage: &Arc<dyn SessionStorage>, user: UserId) -> Outcome<SessionKey> {
    let request = request(user)?;
    match storage.insert(&request).await? {
        InsertOutcome::Inserted { snapshot, .. } => Ok(snapshot.key()),
        other => Err(format!("not inserted: {other:?}").into()),
    }
}

/// A sign-in from a browser.
fn request(user: UserId) -> Outcome<Insert> {
    let (random, now) = (random()?, SystemClock.now());
    let until = now + Duration::from_hours(30 * 24);
    let mut session = Session::new(SessionId::generate(&user, now, random)?, user, now, until);
    session.user_agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0".to_owned());
    session.ip_address = Some(IpAddr::from([203, 0, 113, 7]));
    session.authentication = session.authentication.by(["pwd"]);
    let control = Control::new(Seed::generate(random)?, now, until);
    let mut incarnation = [0; 8];
    random.fill(&mut incarnation)?;
    let incarnations = Incarnations { user: u64::from_be_bytes(incarnation), global: 1 };
    let limit = SessionLimit::new(100, OnLimit::EvictOldest);
    Ok(Insert::new(SessionRecord::new(session, control), limit, incarnations, now))
}
