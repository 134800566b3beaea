//! The layer that counts, before a route's guard, and what a handler counts by itself: for a session, and for everybody.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use session_manager_core::{ErrorKind, SessionId};
use session_manager_middleware_axum::{Refusal, RequestSession, SessionRejection};

use super::{Budget, Limiter, Scope, Standing, Subject};
use crate::problem::Rejection;

/// Counts the requests of one route.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limiter: Arc<Limiter>,
    /// None for a route without a limit, where only credentials that do not verify are counted.
    budget: Option<Budget>,
    unverified: Budget,
}

impl Meter {
    /// A meter for the route with this template.
    pub(crate) fn new(limiter: Arc<Limiter>, template: String, budget: Option<Budget>) -> Self {
        Self(Arc::new(Inner { limiter, budget, unverified: Budget::unverified(template) }))
    }

    pub(crate) fn scope(&self) -> Option<Scope> {
        self.0.budget.as_ref().map(|budget| budget.bound.scope)
    }

    async fn count(&self, subject: &Subject, cost: u32) -> Option<Standing> {
        self.0.limiter.count(self.0.budget.as_ref()?, subject, cost).await
    }

    async fn count_unverified(&self, address: &Subject, cost: u32) -> Option<Standing> {
        self.0.limiter.count(&self.0.unverified, address, cost).await
    }

    fn refusal(&self, standing: Standing) -> Rejection {
        standing.refusal(&self.0.unverified.template)
    }

    /// What a request costs before its handler sees it.
    async fn charge(&self, request: &RequestSession, address: &Subject) -> Option<Standing> {
        let scope = self.scope();
        if scope == Some(Scope::Address) {
            return self.count(address, 1).await;
        }
        if scope == Some(Scope::Session) {
            return self.count_unverified(address, 0).await;
        }
        match (request.current(), scope) {
            (Ok(session), Some(Scope::User)) => self.count(&Subject::User(session.user_id().clone()), 1).await,
            (Ok(_), Some(_)) => self.count(&Subject::Everybody, 0).await,
            (Ok(_), None) => None,
            (Err(refused), _) => self.count_unverified(address, u32::from(is_unverified(&refused))).await,
        }
    }
}

/// Whether a request has no credential that verifies. What another site made a browser send is not the client's doing, and an outage
/// is nobody's.
fn is_unverified(rejection: &SessionRejection) -> bool {
    match rejection.refusal() {
        Refusal::NoCredential | Refusal::Bearer(_) | Refusal::Cookie(_) => true,
        Refusal::Session(error) => matches!(
            error.kind(),
            ErrorKind::InvalidToken(_) | ErrorKind::SessionEnded(_) | ErrorKind::ReplayDetected | ErrorKind::Superseded
        ),
        _ => false,
    }
}

/// The layer around a route and its guard. It stands behind the session layer, which resolved the address and verified the credential.
pub(crate) async fn limited(State(meter): State<Meter>, mut request: Request, next: Next) -> Response {
    let Some(found) = request.extensions().get::<RequestSession>().cloned() else { return next.run(request).await };
    let address = Subject::of_address(found.context().client.ip_address);
    let charged = meter.charge(&found, &address).await;
    if let Some(standing) = charged.filter(|standing| !standing.admitted) {
        return refused(&meter, standing);
    }
    let by_session = SessionMeter::new(&meter);
    request.extensions_mut().insert(by_session.clone());
    let mut response = next.run(request).await;
    let mut standing = by_session.standing().or(charged);
    if meter.scope() == Some(Scope::Session) && by_session.standing().is_none() && is_unproven(response.status()) {
        standing = meter.count_unverified(&address, 1).await;
        if let Some(standing) = standing.filter(|standing| !standing.admitted) {
            return refused(&meter, standing);
        }
    }
    if let Some(standing) = standing {
        standing.tell(&mut response);
    }
    response
}

fn refused(meter: &Meter, standing: Standing) -> Response {
    let mut response = meter.refusal(standing).into_response();
    standing.tell(&mut response);
    response
}

/// Whether a request that its handler refused has shown no token of a session. A 403 is about another site's requests.
fn is_unproven(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::FORBIDDEN
}

/// Counts by session, in the hands of a handler that finds out which session a request is about. Without limits it counts nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionMeter(Option<Spending>);

#[derive(Clone, Debug)]
struct Spending {
    meter: Meter,
    standing: Arc<Mutex<Option<Standing>>>,
}

impl SessionMeter {
    fn new(meter: &Meter) -> Self {
        Self(Some(Spending { meter: meter.clone(), standing: Arc::default() }))
    }

    /// Whether anything is counted at all.
    pub(crate) const fn counts(&self) -> bool {
        self.0.is_some()
    }

    /// Lets the response tell how the session stands. Costs nothing.
    pub(crate) async fn show(&self, session: SessionId) {
        if let Some(spending) = &self.0 {
            self.note(spending.meter.count(&Subject::Session(session), 0).await);
        }
    }

    /// Whether the session has anything left. Costs nothing.
    ///
    /// # Errors
    /// The 429 to answer with, if not.
    pub(crate) async fn look(&self, session: SessionId) -> Result<(), Rejection> {
        let Some(spending) = &self.0 else { return Ok(()) };
        self.show(session).await;
        let standing = self.standing();
        standing
            .filter(|standing| standing.remaining == 0)
            .map_or(Ok(()), |standing| Err(spending.meter.refusal(standing)))
    }

    /// As [`look`](Self::look), for what is limited for everybody together: where there is much to ask before it is done.
    pub(crate) async fn look_for_everybody(&self) -> Result<(), Rejection> {
        let Some(spending) = &self.0 else { return Ok(()) };
        let standing = spending.meter.count(&Subject::Everybody, 0).await;
        let used_up = standing.filter(|standing| standing.remaining == 0);
        used_up.map_or(Ok(()), |standing| Err(spending.meter.refusal(standing)))
    }

    /// Does what is limited for everybody together, wherever it is asked for.
    ///
    /// # Behaviour
    /// It is counted before it is begun, so that of any number that come at once, by whatever way and to whichever server, no more are done than
    /// may be. When it was not done, it is given back. A dropped future counts: whether it was done is not known then.
    ///
    /// # Errors
    /// 429 when there is nothing left, before anything is done; those of the work.
    pub(crate) async fn for_everybody<T>(
        &self,
        work: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Rejection> {
        let meter = self.0.as_ref().map(|spending| &*spending.meter.0);
        let Some((limiter, budget)) = meter.and_then(|meter| Some((&meter.limiter, meter.budget.as_ref()?))) else {
            return work.await;
        };
        let Some(spent) = limiter.spend(budget, &Subject::Everybody, 1).await else { return work.await };
        self.note(Some(spent.standing));
        if !spent.standing.admitted {
            return Err(spent.standing.refusal(&budget.template));
        }
        let done = work.await;
        if done.is_err() {
            self.note(limiter.give_back(budget, &Subject::Everybody, &spent).await);
        }
        done
    }

    /// Counts what was done.
    pub(crate) async fn spend(&self, session: SessionId) {
        if let Some(spending) = &self.0 {
            self.note(spending.meter.count(&Subject::Session(session), 1).await);
        }
    }

    fn note(&self, standing: Option<Standing>) {
        if let Some(spending) = &self.0 {
            *spending.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
        }
    }

    fn standing(&self) -> Option<Standing> {
        self.0.as_ref().and_then(|spending| *spending.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Sync> FromRequestParts<S> for SessionMeter {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
