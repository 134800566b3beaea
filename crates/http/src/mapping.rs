//! What each error of the session operations is answered.

use std::time::Duration;

use session_manager_core::{Error, ErrorKind, Rejection, State};

use crate::{
    bearer::BearerError,
    challenge::{Challenge, ChallengeError},
    csrf::CrossSiteError,
    problem::Problem,
    problem_type::ProblemType,
};

/// How long a client is asked to wait when the storage is unavailable.
pub const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(2);

/// The answer to a failed session operation.
///
/// # Behaviour
///
/// - An outage is a 503 with `Retry-After` and never a 401: clients throw their tokens away at a 401.
/// - Why a token was refused is told no finer than expired, revoked, reuse detected, rotated out, invalid.
/// - A 5xx, and every kind this version does not know, says nothing of the inside.
///
/// ```
/// use session_manager_core::{Error, ErrorKind};
/// use session_manager_http::problem_for;
///
/// let problem = problem_for(&Error::from(ErrorKind::ReplayDetected));
/// assert_eq!(problem.status(), 401);
/// assert_eq!(problem.type_uri(), "urn:session-manager:problem:reuse-detected");
/// ```
pub fn problem_for(error: &Error) -> Problem {
    let problem_type = problem_type(error.kind());
    let problem = Problem::of(problem_type);
    match error.kind() {
        ErrorKind::InvalidToken(Rejection::ProofMissing | Rejection::BadProof | Rejection::ProofReplayed) => {
            return problem.with_challenge(Challenge::dpop().error(ChallengeError::InvalidDpopProof));
        }
        ErrorKind::InvalidToken(Rejection::WrongPossessor) => {
            return problem.with_challenge(Challenge::dpop().error(ChallengeError::InvalidToken));
        }
        _ => {}
    }
    match problem_type {
        ProblemType::InvalidToken
        | ProblemType::Expired
        | ProblemType::Revoked
        | ProblemType::ReuseDetected
        | ProblemType::Rotated => problem.with_challenge(Challenge::bearer().error(ChallengeError::InvalidToken)),
        ProblemType::StepUpRequired => {
            problem.with_challenge(Challenge::bearer().error(ChallengeError::InsufficientUserAuthentication))
        }
        // Core promises that the text is safe to show; here it names the rule that was broken.
        ProblemType::InvalidInput => problem.with_detail(error.to_string()),
        ProblemType::Unavailable => problem.with_retry_after(RETRY_AFTER_OUTAGE),
        _ => problem,
    }
}

fn problem_type(kind: ErrorKind) -> ProblemType {
    match kind {
        ErrorKind::InvalidToken(Rejection::Expired) | ErrorKind::SessionEnded(State::Idle | State::Expired) => {
            ProblemType::Expired
        }
        ErrorKind::SessionEnded(State::Revoked) => ProblemType::Revoked,
        ErrorKind::SessionEnded(State::RotatedOut) | ErrorKind::Superseded => ProblemType::Rotated,
        ErrorKind::ReplayDetected => ProblemType::ReuseDetected,
        ErrorKind::InvalidToken(_) | ErrorKind::SessionEnded(_) => ProblemType::InvalidToken,
        ErrorKind::LimitReached => ProblemType::SessionLimit,
        ErrorKind::NotFound => ProblemType::NotFound,
        ErrorKind::AlreadyEnded => ProblemType::AlreadyEnded,
        ErrorKind::StepUpRequired => ProblemType::StepUpRequired,
        ErrorKind::Conflict => ProblemType::Conflict,
        ErrorKind::InvalidInput => ProblemType::InvalidInput,
        ErrorKind::InvalidCursor => ProblemType::InvalidCursor,
        ErrorKind::Unavailable | ErrorKind::Unconfirmed => ProblemType::Unavailable,
        ErrorKind::Unsupported => ProblemType::NotSupported,
        // `Misconfigured`, `Internal` and whatever a later core adds: closed, and silent about the inside.
        _ => ProblemType::Internal,
    }
}

impl From<BearerError> for Problem {
    /// A repeated header is a 400, a malformed token a 401, each with the RFC 6750 challenge.
    fn from(error: BearerError) -> Self {
        let problem_type = match error {
            BearerError::Repeated => ProblemType::AmbiguousCredentials,
            BearerError::TooLong | BearerError::Malformed => ProblemType::InvalidToken,
        };
        Self::of(problem_type).with_challenge(Challenge::bearer().error(error.challenge_error()))
    }
}

impl From<CrossSiteError> for Problem {
    /// A 403 that says why.
    fn from(error: CrossSiteError) -> Self {
        Self::of(ProblemType::CrossSite).with_detail(error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_kind() {
        for (kind, status, slug) in [
            (ErrorKind::InvalidToken(Rejection::Malformed), 401, "invalid-token"),
            (ErrorKind::InvalidToken(Rejection::BadSignature), 401, "invalid-token"),
            (ErrorKind::InvalidToken(Rejection::UnknownSession), 401, "invalid-token"),
            (ErrorKind::InvalidToken(Rejection::Expired), 401, "expired"),
            (ErrorKind::SessionEnded(State::Expired), 401, "expired"),
            (ErrorKind::SessionEnded(State::Idle), 401, "expired"),
            (ErrorKind::SessionEnded(State::Revoked), 401, "revoked"),
            (ErrorKind::SessionEnded(State::RotatedOut), 401, "rotated"),
            (ErrorKind::SessionEnded(State::EpochLost), 401, "invalid-token"),
            (ErrorKind::Superseded, 401, "rotated"),
            (ErrorKind::ReplayDetected, 401, "reuse-detected"),
            (ErrorKind::StepUpRequired, 403, "step-up-required"),
            (ErrorKind::NotFound, 404, "not-found"),
            (ErrorKind::AlreadyEnded, 409, "already-ended"),
            (ErrorKind::LimitReached, 409, "session-limit"),
            (ErrorKind::Conflict, 409, "conflict"),
            (ErrorKind::InvalidInput, 422, "invalid-input"),
            (ErrorKind::InvalidCursor, 400, "invalid-cursor"),
            (ErrorKind::Unavailable, 503, "unavailable"),
            (ErrorKind::Unconfirmed, 503, "unavailable"),
            (ErrorKind::Unsupported, 501, "not-supported"),
            (ErrorKind::Misconfigured, 500, "internal"),
            (ErrorKind::Internal, 500, "internal"),
        ] {
            let source = std::io::Error::other("password=hunter2");
            let error = Error::new(kind, "read").because("the reason").with_source(source);
            let problem = problem_for(&error);
            assert_eq!(problem.status().as_u16(), status, "{kind:?}");
            assert_eq!(problem.type_uri().rsplit(':').next(), Some(slug), "{kind:?}");
            let response = problem.to_response();
            let has = |name: &str| response.headers().contains_key(name);
            assert!(!response.body().contains("hunter2"), "{kind:?}");
            assert_eq!(has("www-authenticate"), status == 401 || status == 403, "{kind:?}");
            assert_eq!(has("retry-after"), status == 503, "{kind:?}");
            assert_eq!(response.body().contains("the reason"), status == 422, "{kind:?}");
        }
    }

    #[test]
    fn step_up_names_its_error() {
        let response = problem_for(&Error::from(ErrorKind::StepUpRequired)).to_response();
        let challenge = response.headers().get("www-authenticate").unwrap();
        assert_eq!(challenge, "Bearer error=\"insufficient_user_authentication\"");
    }

    #[test]
    fn refused_credentials() {
        for (problem, status, challenge) in [
            (Problem::from(BearerError::Repeated), 400, Some("Bearer error=\"invalid_request\"")),
            (Problem::from(BearerError::Malformed), 401, Some("Bearer error=\"invalid_token\"")),
            (Problem::from(BearerError::TooLong), 401, Some("Bearer error=\"invalid_token\"")),
            (Problem::from(CrossSiteError::Unknown), 403, None),
        ] {
            let response = problem.to_response();
            assert_eq!(response.status().as_u16(), status);
            let header = response.headers().get("www-authenticate");
            assert_eq!(header.map(|value| value.to_str().unwrap()), challenge);
        }
    }
}
