//! Places for connections: so many there may be, and where all are taken, the one that has waited longest for a request makes room. Where
//! none waits for long, since each asks again at once, those whose answers are given make room.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The places. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    /// What is idle for less than this is not asked to leave: its client may just be about to ask. Whoever has waited for so long is next.
    patience: Duration,
    open: Mutex<Open>,
    /// A place has become free, or idle where none was.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// Counts what happens, so that of two idle places the one that is so for longer is known.
    steps: u64,
    taken: HashMap<u64, Taken>,
    /// Which place has been idle since which step, and when that was. One that was asked to leave is not among them any more.
    idle: BTreeMap<u64, (u64, Instant)>,
    /// How many wait for a place, and how many were asked to leave for them.
    waiting: usize,
    leaving: usize,
    wait: Option<Wait>,
}

/// The wait of those who waited one directly after the other: whoever is next has waited as long as the one before him.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    /// Nothing while somebody waits.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Taken {
    leave: Arc<Notify>,
    idle_since: Option<u64>,
    is_leaving: bool,
}

/// Counts among those who wait until it is dropped.
struct Waiting<'p>(&'p Places);

/// A place that is taken: idle until somebody says otherwise, and free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    leave: Arc<Notify>,
}

impl Places {
    /// So many places, at least one. Whoever is idle for less than the patience keeps his.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self(Arc::new(Inner { most: most.max(1), patience, open: Mutex::default(), changed: Notify::new() }))
    }

    /// Takes a place. Where all are taken, the idlest one is asked to leave; where all are at work, this waits until one is not.
    pub(super) async fn take(&self) -> Place {
        if let Some(place) = self.take_free() {
            self.lock().wait.take_if(|wait| wait.until.is_some());
            return place;
        }
        let waiting = Waiting::of(self);
        loop {
            if let Some(place) = self.take_free() {
                drop(waiting);
                return place;
            }
            let wait = self.lock().ask(self.0.patience);
            match wait {
                // Nobody can be asked before then.
                Some(wait) => drop(tokio::time::timeout(wait, self.0.changed.notified()).await),
                None => self.0.changed.notified().await,
            }
        }
    }

    fn take_free(&self) -> Option<Place> {
        let mut open = self.lock();
        if open.taken.len() >= self.0.most {
            return None;
        }
        let number = open.step();
        let leave = Arc::new(Notify::new());
        open.taken.insert(number, Taken { leave: Arc::clone(&leave), idle_since: None, is_leaving: false });
        open.set_idle(number, true);
        if open.waiting > 0 {
            // There is somebody to ask again.
            self.0.changed.notify_one();
        }
        Some(Place { places: self.clone(), number, leave })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic cannot leave it half-written.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What is at work is not asked to leave.
    pub(super) fn work(&self) {
        let mut open = self.places.lock();
        open.set_idle(self.number, false);
        // It was asked a moment too late, and will not leave soon.
        if open.stays(self.number) {
            self.places.0.changed.notify_one();
        }
    }

    /// It will not leave soon although it was asked: somebody else has to.
    pub(super) fn stay(&self) {
        let was_leaving = self.places.lock().stays(self.number);
        if was_leaving {
            self.places.0.changed.notify_one();
        }
    }

    /// Asks it to leave, whatever it does. It is not counted among those that leave.
    pub(super) fn ask(&self) {
        self.leave.notify_one();
    }

    /// Lets somebody else have the place before this is dropped.
    pub(super) fn free(&self) {
        let mut open = self.places.lock();
        open.set_idle(self.number, false);
        open.stays(self.number);
        let was_taken = open.taken.remove(&self.number).is_some();
        drop(open);
        if was_taken {
            self.places.0.changed.notify_one();
        }
    }

    /// Whether somebody has waited for so long that this is to be the last that it does.
    pub(super) fn is_overdue(&self) -> bool {
        let patience = self.places.0.patience;
        let wait = self.places.lock().wait;
        wait.is_some_and(|wait| wait.until.is_none() && wait.since.elapsed() >= patience)
    }

    /// It waits for its client, from now on.
    pub(super) fn rest(&self) {
        let mut open = self.places.lock();
        open.set_idle(self.number, true);
        if open.waiting > 0 {
            self.places.0.changed.notify_one();
        }
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }
}

impl Open {
    fn step(&mut self) -> u64 {
        self.steps = self.steps.wrapping_add(1);
        self.steps
    }

    /// Asks the idlest to leave, unless as many are leaving as wait. Returns how long the idlest is to be left alone.
    fn ask(&mut self, patience: Duration) -> Option<Duration> {
        if self.leaving >= self.waiting {
            return None;
        }
        let (_, (number, since)) = self.idle.first_key_value()?;
        let (number, idle_for) = (*number, since.elapsed());
        if idle_for < patience {
            return Some(patience.saturating_sub(idle_for));
        }
        self.idle.pop_first();
        if let Some(taken) = self.taken.get_mut(&number) {
            taken.idle_since = None;
            taken.is_leaving = true;
            self.leaving = self.leaving.saturating_add(1);
            taken.leave.notify_one();
        }
        None
    }

    /// It does not count among those that leave any more. Returns whether it did.
    fn stays(&mut self, number: u64) -> bool {
        let was_leaving = self.taken.get_mut(&number).is_some_and(|taken| std::mem::take(&mut taken.is_leaving));
        if was_leaving {
            self.leaving = self.leaving.saturating_sub(1);
        }
        was_leaving
    }

    fn set_idle(&mut self, number: u64, is_idle: bool) {
        let step = is_idle.then(|| self.step());
        let Some(taken) = self.taken.get_mut(&number) else { return };
        let before = std::mem::replace(&mut taken.idle_since, step);
        if let Some(before) = before {
            self.idle.remove(&before);
        }
        if let Some(step) = step {
            self.idle.insert(step, (number, Instant::now()));
        }
    }
}

impl<'p> Waiting<'p> {
    fn of(places: &'p Places) -> Self {
        let mut open = places.lock();
        open.waiting = open.waiting.saturating_add(1);
        let before = open.wait.filter(|wait| wait.until.is_none_or(|until| until.elapsed() < places.0.patience));
        let since = before.map_or_else(Instant::now, |wait| wait.since);
        open.wait = Some(Wait { since, until: None });
        Self(places)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.waiting = open.waiting.saturating_sub(1);
        if open.waiting == 0
            && let Some(wait) = &mut open.wait
        {
            wait.until = Some(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn taken(places: &Places) -> Place {
        places.take().now_or_never().unwrap()
    }

    fn is_asked(place: &Place) -> bool {
        place.is_needed().now_or_never().is_some()
    }

    #[test]
    fn the_idlest_makes_room() {
        let places = Places::new(3, Duration::ZERO);
        let (first, second, third) = (taken(&places), taken(&places), taken(&places));
        first.work();
        first.rest();
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert_eq!([is_asked(&first), is_asked(&second), is_asked(&third)], [false, true, false]);
        drop(second);
        next.now_or_never().unwrap();
    }

    #[test]
    fn one_that_stays_is_not_waited_for() {
        let places = Places::new(2, Duration::ZERO);
        let (first, second) = (taken(&places), taken(&places));
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert_eq!([is_asked(&first), is_asked(&second)], [true, false]);
        // Its client takes the answer slowly.
        first.stay();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(is_asked(&second));
        drop(second);
        next.now_or_never().unwrap();
    }

    #[test]
    fn a_place_is_free_once_however_often_that_is_said() {
        let places = Places::new(1, Duration::ZERO);
        let first = taken(&places);
        first.free();
        let second = taken(&places);
        first.work();
        first.rest();
        drop(first);
        assert!(places.take().now_or_never().is_none());
        drop(second);
        drop(taken(&places));
    }

    #[test]
    fn what_is_at_work_is_waited_for() {
        let places = Places::new(1, Duration::ZERO);
        let first = taken(&places);
        first.work();
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!is_asked(&first));
        first.rest();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(is_asked(&first), "it is idle, and somebody waits");
        drop(first);
        next.now_or_never().unwrap();
    }

    #[test]
    fn one_that_begins_to_work_when_it_is_asked_is_not_waited_for() {
        let places = Places::new(2, Duration::ZERO);
        let (first, second) = (taken(&places), taken(&places));
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        first.work();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(is_asked(&second));
        drop(second);
        next.now_or_never().unwrap();
        assert_eq!(places.lock().leaving, 0);
    }

    #[test]
    fn as_many_leave_as_wait() {
        let places = Places::new(4, Duration::ZERO);
        let held: Vec<_> = (0..4).map(|_| taken(&places)).collect();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(places.take())).collect();
        for _ in 0..5 {
            assert!(waiting.iter_mut().all(|next| next.as_mut().now_or_never().is_none()));
        }
        assert_eq!(held.iter().map(is_asked).collect::<Vec<_>>(), [true, true, true, false]);
        drop(waiting);
        assert_eq!(places.lock().waiting, 0);
        drop(held);
        let open = places.lock();
        assert_eq!((open.leaving, open.taken.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_only_just_come_is_left_alone() {
        let patience = Duration::from_millis(500);
        let places = Places::new(1, patience);
        let first = taken(&places);
        let begun = Instant::now();
        let next = places.take();
        let leaving = async {
            first.is_needed().await;
            assert_eq!(begun.elapsed(), patience);
            drop(first);
        };
        futures_util::future::join(next, leaving).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_those_before_need() {
        let patience = Duration::from_millis(100);
        let places = Places::new(8, patience);
        let silent = |places: Places| async move {
            let place = places.take().await;
            place.is_needed().await;
        };
        for _ in 0..32 {
            tokio::spawn(silent(places.clone()));
        }
        tokio::task::yield_now().await;
        let begun = Instant::now();
        drop(tokio::time::timeout(Duration::from_mins(1), places.take()).await.unwrap());
        assert_eq!(begun.elapsed().as_millis() / 100, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_waited_for_long_is_next_and_those_behind_him_too() {
        let patience = Duration::from_millis(500);
        let places = Places::new(1, patience);
        let first = taken(&places);
        first.work();
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        tokio::time::advance(patience / 2).await;
        assert!(!first.is_overdue());
        tokio::time::advance(patience / 2).await;
        assert!(first.is_overdue());
        drop(first);
        let second = next.now_or_never().unwrap();
        assert!(!second.is_overdue(), "nobody waits");
        second.work();
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(second.is_overdue(), "this one stood behind the other");
        drop(next);
        tokio::time::advance(patience).await;
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!second.is_overdue(), "this one has only just come");
        tokio::time::advance(patience).await;
        drop(second);
        drop(next.now_or_never().unwrap());
        let third = taken(&places);
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!third.is_overdue(), "a place was free meanwhile");
    }

    #[test]
    fn nothing_is_remembered_of_those_that_left() {
        let places = Places::new(2, Duration::ZERO);
        for _ in 0..10 {
            let place = taken(&places);
            place.work();
            place.rest();
        }
        let open = places.lock();
        assert!(open.taken.is_empty() && open.idle.is_empty());
    }
}
