//! What *Your devices* is told while it is open: which sessions there still are, as server-sent events.
//!
//! `sessions` holds the ids of all that are live, at the beginning and whenever they have changed. `over` is the last event: the session of
//! the request has ended, and the page is to be asked for again. A line that says nothing comes in between. When a key is revoked all streams
//! end without a word, and whoever has a token that is still accepted opens his again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Extension, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{FutureExt as _, StreamExt as _};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, header};
use session_manager_core::storage::{Phase, SessionFilter, Subject};
use session_manager_core::{BusEvent, Error, SessionId, UserId};
use session_manager_middleware_axum::{CurrentSession, RequestSession};

use crate::app::App;
use crate::flows::MAX_PAGE;
use crate::keys::Revocations;
use crate::problem::Rejection;
use crate::streams::Place;

pub(super) const PATH: &str = "/devices/events";

/// How often a line is written at least: proxies close what is silent for a minute, and that a client is gone shows only in writing to it.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Keeps a proxy from collecting events until its buffer is full.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Whether a request opens a stream: a program does, and by itself, so that it keeps no session alive.
pub(super) fn is_stream(request: &Parts) -> bool {
    is_of_stream(&request.extensions)
}

fn is_of_stream(extensions: &Extensions) -> bool {
    extensions.get::<MatchedPath>().map(MatchedPath::as_str) == Some(PATH)
}

/// The layer around the one that checks tokens: a key that is revoked after it was found good is not missed.
pub(crate) async fn hear_of_revocations(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if is_of_stream(request.extensions()) {
        request.extensions_mut().insert(app.keys().revocations());
    }
    next.run(request).await
}

/// Whether a stream may renew its session on the way: one that our own page opens again after its access token has expired.
pub(super) fn is_renewed(request: &Parts) -> bool {
    let site = request.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    is_stream(request) && site == Some(b"same-origin")
}

/// Tells a page of its user's sessions until its own has ended.
///
/// # Behaviour
/// - A session that is over at the beginning is told like one that ends later: an `EventSource` learns nothing of a status.
/// - The storage is read at the beginning, when the bus tells of the user's sessions, and otherwise at most once in the policy's interval
///   for activity: what another server of the data folder ends is seen by then. [`CurrentSession::ended`] watches the own session.
/// - It ends when a key is revoked: it outlives its request, and the token of that may be one of the key.
/// - Of a user with more sessions than the page shows only the end of the own one is told.
///
/// # Errors
/// 403 unless our own page asks; 429 and 503 where there are as many streams as there may be; 503 in an outage, and while the service ends.
pub(super) async fn events(
    State(app): State<App>,
    request: RequestSession,
    Extension(revocations): Extension<Revocations>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    // It changes nothing, but goes on to tell of the user: no other site has any business with it.
    request.require_first_party(&Method::POST, &headers)?;
    let Some(session) = request.optional()? else {
        return Ok(answer(stream::iter([over()])));
    };
    let place = app.streams().open(session.user_id())?;
    let live = Live::new(app, session, (place, revocations));
    Ok(answer(stream::unfold(live, |mut live| async move { live.next().await.map(|event| (event, live)) })))
}

/// A stream that is open.
struct Live {
    app: App,
    session: CurrentSession,
    place: Place,
    revocations: Revocations,
    bus: BoxStream<'static, BusEvent>,
    ended: BoxFuture<'static, ()>,
    heartbeat: BoxFuture<'static, ()>,
    /// The sessions that were told last.
    told: Vec<SessionId>,
    looked_at: DateTime<Utc>,
    /// Whether something may have changed since.
    stale: bool,
    over: bool,
}

impl Live {
    fn new(app: App, session: CurrentSession, (place, revocations): (Place, Revocations)) -> Self {
        Self {
            // Before anything is read: what happens in between is heard.
            bus: app.sessions().bus().subscribe().fuse().boxed(),
            ended: session.ended().boxed(),
            heartbeat: app.clock().sleep(HEARTBEAT),
            looked_at: app.now(),
            app,
            session,
            place,
            revocations,
            told: Vec::new(),
            stale: true,
            over: false,
        }
    }

    /// What is to be told next. Nothing at the end.
    async fn next(&mut self) -> Option<Event> {
        while !self.over && !self.revocations.is_told() {
            if self.stale
                && let Some(event) = self.look().await
            {
                return Some(event);
            }
            tokio::select! {
                biased;
                () = self.place.service_ends() => return None,
                () = self.revocations.next() => return None,
                () = &mut self.ended => return Some(self.end()),
                event = self.bus.next() => self.hear(event),
                () = &mut self.heartbeat => {
                    self.heartbeat = self.app.clock().sleep(HEARTBEAT);
                    self.stale |= self.is_due();
                    return Some(Event::default().comment(""));
                }
            }
        }
        None
    }

    fn hear(&mut self, event: Option<BusEvent>) {
        match event {
            Some(BusEvent::Notice(notice)) => {
                // An intent has changed nothing yet.
                self.stale |= notice.phase == Phase::Done && self.concerns(notice.subject);
            }
            Some(BusEvent::Lost) => self.stale = true,
            Some(_) => {}
            None => {
                tracing::warn!("the bus broke: a live list is read from time to time only");
                self.bus = stream::pending().boxed();
            }
        }
    }

    fn concerns(&self, subject: Subject) -> bool {
        match subject {
            Subject::Session(id) => self.told.contains(&id),
            Subject::User(user) | Subject::UserEpoch(user) => user == self.session.user_id().locator(),
            // Everybody's.
            _ => true,
        }
    }

    fn is_due(&self) -> bool {
        let policy = self.app.sessions().manager().policy();
        let interval = policy.touch_interval_for(policy.idle_timeout);
        (self.app.now() - self.looked_at).to_std().is_ok_and(|age| age >= interval)
    }

    /// Reads the list, and says what there is to tell of it.
    async fn look(&mut self) -> Option<Event> {
        // What was told before the list is read is in it. Many sessions that end together are told one by one.
        while let Some(Some(_)) = self.bus.next().now_or_never() {}
        (self.looked_at, self.stale) = (self.app.now(), false);
        match sessions(&self.app, self.session.user_id()).await {
            Ok(Some(live)) if !live.contains(&self.session.session_id()) => Some(self.end()),
            Ok(Some(live)) if live != self.told => {
                let ids: Vec<_> = live.iter().map(ToString::to_string).collect();
                self.told = live;
                Some(Event::default().event("sessions").data(ids.join(" ")))
            }
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "a live list could not be read and will be tried again");
                None
            }
        }
    }

    fn end(&mut self) -> Event {
        self.over = true;
        over()
    }
}

/// The user's live sessions; nothing where they are more than the page shows.
async fn sessions(app: &App, user: &UserId) -> Result<Option<Vec<SessionId>>, Error> {
    let page = app.sessions().manager().list(user, SessionFilter::new(), None, MAX_PAGE).await?;
    let ids = page.sessions.iter().map(|view| view.snapshot.session.id);
    Ok(page.next.is_none().then(|| ids.collect()))
}

/// The session is over. The data is there because an event without any is not delivered.
fn over() -> Event {
    Event::default().event("over").data("session")
}

fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut response = ([UNBUFFERED], Sse::new(events.map(Ok::<_, Infallible>))).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
