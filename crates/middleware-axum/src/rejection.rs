//! Why a request has no session, and what it is answered.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use session_manager_core::{Error, ErrorKind};
use session_manager_http::{
    BearerError, Challenge, ChallengeError, CookieError, CrossSiteError, Problem, ProblemType, problem_for,
};

/// Why a request has no session, or not one that is good enough.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It carries no credential.
    NoCredential,
    /// Its `Authorization` header is malformed.
    Bearer(BearerError),
    /// Its session cookie is malformed, or there are several.
    Cookie(CookieError),
    /// Another site made the browser send it.
    CrossSite(CrossSiteError),
    /// The manager refused its token, or could not be asked.
    Session(Error),
    /// Its authentication is older than this.
    StepUp(Duration),
    /// No [`SessionLayer`](crate::SessionLayer) saw it, or one without what is asked for: a defect of the application.
    NotConfigured,
}

/// The answer to a request that is refused: `application/problem+json` (RFC 9457) with the challenge that belongs to it.
///
/// # Behaviour
/// An outage is a 503 and never a 401; the member `request_id` names the request where it has an id.
#[derive(Clone, Debug)]
pub struct SessionRejection(Box<Rejected>);

#[derive(Clone, Debug)]
struct Rejected {
    refusal: Refusal,
    request_id: Option<String>,
}

impl SessionRejection {
    pub(crate) fn new(refusal: Refusal, request_id: Option<&str>) -> Self {
        Self(Box::new(Rejected { refusal, request_id: request_id.map(str::to_owned) }))
    }

    /// Why.
    pub const fn refusal(&self) -> &Refusal {
        &self.0.refusal
    }

    /// The answer's content, to be shown in another form.
    pub fn problem(&self) -> Problem {
        let problem = problem_of(&self.0.refusal);
        match &self.0.request_id {
            Some(id) => problem.with_extension("request_id", id.as_str()),
            None => problem,
        }
    }
}

impl fmt::Display for SessionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.refusal {
            Refusal::NoCredential => f.write_str("the request carries no credential"),
            Refusal::Bearer(error) => error.fmt(f),
            Refusal::Cookie(error) => error.fmt(f),
            Refusal::CrossSite(error) => error.fmt(f),
            Refusal::Session(error) => error.fmt(f),
            Refusal::StepUp(_) => f.write_str("a fresher authentication is required"),
            Refusal::NotConfigured => f.write_str("the session layer is missing or incomplete"),
        }
    }
}

impl std::error::Error for SessionRejection {}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        self.problem().to_response().map(Body::from)
    }
}

/// Whether the manager's answer is that the token is worth nothing, now and later.
pub(crate) const fn is_definitive(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidToken(_) | ErrorKind::SessionEnded(_) | ErrorKind::ReplayDetected | ErrorKind::Superseded
    )
}

fn problem_of(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::NoCredential => Problem::of(ProblemType::Unauthenticated),
        Refusal::Bearer(error) => Problem::from(*error),
        Refusal::Cookie(CookieError::Ambiguous) => Problem::of(ProblemType::AmbiguousCredentials),
        Refusal::Cookie(_) => Problem::of(ProblemType::InvalidToken)
            .with_challenge(Challenge::bearer().error(ChallengeError::InvalidToken)),
        Refusal::CrossSite(error) => Problem::from(*error),
        Refusal::Session(error) => problem_for(error),
        Refusal::StepUp(max_age) => Problem::of(ProblemType::StepUpRequired).with_challenge(
            Challenge::bearer().error(ChallengeError::InsufficientUserAuthentication).max_age(*max_age),
        ),
        Refusal::NotConfigured => Problem::of(ProblemType::Internal),
    }
}
