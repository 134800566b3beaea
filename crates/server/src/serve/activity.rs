//! What is going on on one connection: requests under way, those whose rest their client does not send, and answers that it does not take.

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
    /// The requests under way.
    begun: usize,
    /// Those of them that wait for the rest of what their client sends.
    awaited: usize,
    /// Since when there is none but those.
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
        let state = State { requests: 0, begun: 0, awaited: 0, idle_since: Instant::now(), handed_on: HashMap::new() };
        Self(Arc::new(Inner { place, state: Mutex::new(state) }))
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Work {
        let number = self.change(|state| {
            state.requests = state.requests.wrapping_add(1);
            state.begun = state.begun.saturating_add(1);
            state.requests
        });
        Work { activity: self.clone(), number }
    }

    /// Whether no request is under way, or none but those that have waited for their client for so long.
    pub(super) fn is_idle(&self, patience: Duration) -> bool {
        let state = self.lock();
        state.begun == 0 || (!state.is_at_work() && state.idle_since.elapsed() >= patience)
    }

    /// Whether for so long no request was under way, or an answer's next part was not asked for although the one before was handed on: the
    /// client has opened no window for it. An answer that waits for what it is to say is neither.
    pub(super) fn is_over(&self, limit: Duration) -> bool {
        let state = self.lock();
        let is_idle = state.begun == 0 && state.idle_since.elapsed() >= limit;
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

    /// It is leaving: others may have its place.
    pub(super) fn free(&self) {
        self.0.place.free();
    }

    /// It was asked to leave, and cannot yet.
    pub(super) fn stay(&self) {
        self.0.place.stay();
    }

    /// Tells the place when it comes to work, or to rest.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.is_at_work();
        let changed = change(&mut state);
        match (before, state.is_at_work()) {
            (false, true) => self.0.place.work(),
            (true, false) => {
                state.idle_since = Instant::now();
                self.0.place.rest();
            }
            _ => {}
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave it half-written.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn is_at_work(&self) -> bool {
        self.begun > self.awaited
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
        self.activity.change(|state| {
            state.handed_on.remove(&self.number);
            state.begun = state.begun.saturating_sub(1);
            if state.begun == 0 {
                state.idle_since = Instant::now();
            }
        });
    }
}

/// The body of a request, which says when it is waited for: it keeps no place while its client does not send it.
///
/// # Behaviour
/// Once it is waited for, it is so until all of it has come: a byte now and then makes no difference.
#[derive(Debug)]
pub(super) struct Awaited<B> {
    body: B,
    activity: Activity,
    is_late: bool,
}

impl<B> Awaited<B> {
    /// The body of a request of this connection.
    pub(super) const fn new(body: B, activity: Activity) -> Self {
        Self { body, activity, is_late: false }
    }

    fn set_late(&mut self, is_late: bool) {
        if std::mem::replace(&mut self.is_late, is_late) == is_late {
            return;
        }
        self.activity.change(|state| {
            state.awaited = if is_late { state.awaited.saturating_add(1) } else { state.awaited.saturating_sub(1) };
        });
    }
}

impl<B> Drop for Awaited<B> {
    fn drop(&mut self) {
        self.set_late(false);
    }
}

impl<B: HttpBody + Unpin> HttpBody for Awaited<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => self.set_late(true),
            Poll::Ready(Some(Ok(_))) if !self.body.is_end_stream() => {}
            Poll::Ready(_) => self.set_late(false),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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

    /// Whether it can make room at once.
    fn is_idle(activity: &Activity) -> bool {
        activity.is_idle(LIMIT / 2)
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
        assert!(!is_idle(&activity) && !activity.is_over(LIMIT));
        drop(one);
        assert!(!is_idle(&activity));
        to_bytes(Body::new(Watched::new(Body::from("text"), other)), 9).await.unwrap();
        assert!(is_idle(&activity) && !activity.is_over(LIMIT));
        pass(0.9).await;
        assert!(!activity.is_over(LIMIT));
        pass(0.2).await;
        assert!(activity.is_over(LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_its_client_keeps_no_place() {
        let (places, activity) = activity();
        let (sender, mut parts) = tokio::sync::mpsc::unbounded_channel::<Result<&str, axum::Error>>();
        let parts = stream::poll_fn(move |cx| parts.poll_recv(cx));
        let mut body = Awaited::new(Body::from_stream(parts), activity.clone());
        let mut next = || std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never().is_some();
        let work = activity.begin();
        pass(1.0).await;
        assert!(!is_idle(&activity), "nobody has asked for the body");
        let mut waiting = Box::pin(places.take());
        assert!(waiting.as_mut().now_or_never().is_none() && activity.is_needed().now_or_never().is_none());
        assert!(!next());
        assert!(!is_idle(&activity), "it may just be coming");
        assert!(waiting.as_mut().now_or_never().is_none() && activity.is_needed().now_or_never().is_some());
        pass(0.4).await;
        sender.send(Ok("a part")).unwrap();
        assert!(next() && !next());
        pass(0.1).await;
        assert!(is_idle(&activity), "a part now and then changes nothing");
        assert!(!activity.is_over(LIMIT), "the service says when it has waited for long enough");
        drop(sender);
        assert!(next() && !is_idle(&activity), "all of it has come");
        drop(work);
        assert!(is_idle(&activity));
        // A body that is thrown away is not waited for.
        let mut body =
            Awaited::new(Body::from_stream(stream::pending::<Result<&str, axum::Error>>()), activity.clone());
        let _work = activity.begin();
        assert!(std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never().is_none());
        pass(1.0).await;
        assert!(is_idle(&activity));
        drop(body);
        assert!(!is_idle(&activity));
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
