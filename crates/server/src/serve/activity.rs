//! What is going on on one connection: requests under way, and answers that their client does not take.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::places::Place;

/// The requests of a connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: u64,
    at_work: usize,
    idle_since: Instant,
    /// The answers of which a part was handed on, with the time; it was not asked for another one yet.
    handed_on: HashMap<u64, Instant>,
}

/// A request under way, until its answer has been handed on as a whole, or dropped.
#[derive(Debug)]
pub(super) struct Work {
    activity: Activity,
    number: u64,
}

impl Activity {
    /// Of a connection that has this place.
    pub(super) fn new(place: Place) -> Self {
        let state = State { requests: 0, at_work: 0, idle_since: Instant::now(), handed_on: HashMap::new() };
        Self(Arc::new(Inner { place, state: Mutex::new(state) }))
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Work {
        let mut state = self.lock();
        state.requests = state.requests.wrapping_add(1);
        state.at_work = state.at_work.saturating_add(1);
        if state.at_work == 1 {
            self.0.place.work();
        }
        Work { activity: self.clone(), number: state.requests }
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().at_work == 0
    }

    /// Whether for so long no request was under way, or an answer's next part was not asked for although the one before was handed on: the
    /// client has opened no window for it. An answer that waits for what it is to say is neither.
    pub(super) fn is_over(&self, limit: Duration) -> bool {
        let state = self.lock();
        let is_idle = state.at_work == 0 && state.idle_since.elapsed() >= limit;
        is_idle || state.handed_on.values().any(|since| since.elapsed() >= limit)
    }

    /// Waits until somebody else needs the connection's place.
    pub(super) async fn is_needed(&self) {
        self.0.place.is_needed().await;
    }

    /// Asks it to leave when all that is under way has been answered.
    pub(super) fn ask(&self) {
        self.0.place.ask();
    }

    /// Whether others have waited for so long that an answer which is given now is to be the last one.
    pub(super) fn is_overdue(&self) -> bool {
        self.0.place.is_overdue()
    }

    /// It was asked to leave, and cannot yet.
    pub(super) fn stay(&self) {
        self.0.place.stay();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave it half-written.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn handed_on(&self) {
        self.activity.lock().handed_on.insert(self.number, Instant::now());
    }

    fn asked(&self) {
        self.activity.lock().handed_on.remove(&self.number);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.handed_on.remove(&self.number);
        state.at_work = state.at_work.saturating_sub(1);
        if state.at_work == 0 {
            state.idle_since = Instant::now();
            self.activity.0.place.rest();
        }
    }
}

/// The body of an answer, which says when it is asked for more.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    work: Work,
}

impl Watched {
    /// The body of the answer to this request.
    pub(super) fn new(body: Body, work: Work) -> Self {
        // The head is handed on with it.
        work.handed_on();
        Self { body, work }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.work.asked();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_some() {
            self.work.handed_on();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use futures_util::{FutureExt as _, StreamExt as _, stream};

    use super::super::places::Places;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn activity() -> (Places, Activity) {
        let places = Places::new(1, Duration::ZERO);
        let place = places.take().now_or_never().unwrap();
        (places, Activity::new(place))
    }

    async fn pass(share: f32) {
        tokio::time::advance(LIMIT.mul_f32(share)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_answer() {
        let (_places, activity) = activity();
        pass(0.9).await;
        let (one, other) = (activity.begin(), activity.begin());
        pass(2.0).await;
        assert!(!activity.is_idle() && !activity.is_over(LIMIT));
        drop(one);
        assert!(!activity.is_idle());
        to_bytes(Body::new(Watched::new(Body::from("text"), other)), 9).await.unwrap();
        assert!(activity.is_idle() && !activity.is_over(LIMIT));
        pass(0.9).await;
        assert!(!activity.is_over(LIMIT));
        pass(0.2).await;
        assert!(activity.is_over(LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_told_from_one_that_has_nothing_to_say() {
        let (_places, activity) = activity();
        let events = stream::iter([Ok::<_, axum::Error>("first")]).chain(stream::pending());
        let mut body = Watched::new(Body::from_stream(events), activity.begin());
        pass(1.1).await;
        assert!(activity.is_over(LIMIT), "not even the first part is asked for");
        let mut next = || std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never();
        assert!(matches!(next(), Some(Some(Ok(_)))));
        pass(0.9).await;
        assert!(!activity.is_over(LIMIT));
        pass(0.2).await;
        assert!(activity.is_over(LIMIT), "the second is not asked for");
        assert!(next().is_none());
        pass(9.0).await;
        assert!(!activity.is_over(LIMIT), "it was asked for, and does not come");
    }
}
