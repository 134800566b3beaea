//! The one error of the library: opaque, with a kind to match on and a text that is safe to show.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::snapshot::State;

/// The result of a session operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The token was refused before any session was looked at, or names no session. HTTP 401.
    InvalidToken(Rejection),
    /// The token is genuine and its session has ended. HTTP 401.
    SessionEnded(State),
    /// A refresh token was used a second time outside its grace window; the session is revoked. HTTP 401.
    ReplayDetected,
    /// The token was replaced by a re-authentication or privilege change; the session lives on. HTTP 401.
    Superseded,
    /// The user has as many live sessions as the policy allows, and the policy rejects more. HTTP 409.
    LimitReached,
    /// There is no such session, or it is another user's. HTTP 404.
    NotFound,
    /// The session had ended before. HTTP 409.
    AlreadyEnded,
    /// The operation needs a fresher authentication. HTTP 403 with a challenge (RFC 9470).
    StepUpRequired,
    /// A concurrent change won; read again and repeat. HTTP 409.
    Conflict,
    /// The caller's input breaks a rule that the message names. HTTP 422.
    InvalidInput,
    /// A list cursor that was not made by this list. HTTP 400.
    InvalidCursor,
    /// The storage could not be reached or did not answer: nothing is known about the session. HTTP 503, never 401.
    Unavailable,
    /// The change was applied, but not yet acknowledged by enough replicas, or a required audit sink failed after it. Repeating is safe.
    /// HTTP 503.
    Unconfirmed,
    /// This storage or backend cannot do that.
    Unsupported,
    /// Parts that do not fit together, or a schema that does not hold what is needed; the message names it.
    Misconfigured,
    /// A defect or a broken environment; details are in the source.
    Internal,
}

/// Why a token was refused, one value for each reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// Not of the form of a token.
    Malformed,
    /// Longer than any token we issue.
    TooLong,
    /// Made with a key that is not, or no longer, in the key ring.
    UnknownKey,
    /// Names another algorithm than the one its key is pinned to.
    WrongAlgorithm,
    /// The signature or MAC does not match.
    BadSignature,
    /// A token of one kind used as another.
    WrongKind,
    /// Issued by somebody else.
    WrongIssuer,
    /// Issued for another audience.
    WrongAudience,
    /// A required claim is missing or has the wrong type.
    MissingClaim,
    /// Not valid yet.
    NotYetValid,
    /// Past its expiry.
    Expired,
    /// Genuine in form, but its session is not known (any more).
    UnknownSession,
    /// Bound to a key of which the request shows no possession.
    ProofMissing,
    /// The proof of possession that came with it is not one, or was made for another request, token or time.
    BadProof,
    /// The proof of possession was used before.
    ProofReplayed,
    /// Bound to another key, or certificate, than the request shows.
    WrongPossessor,
}

impl Rejection {
    /// A stable name for logs, audit and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::BadSignature => "bad_signature",
            Self::WrongKind => "wrong_kind",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::MissingClaim => "missing_claim",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::UnknownSession => "unknown_session",
            Self::ProofMissing => "proof_missing",
            Self::BadProof => "bad_proof",
            Self::ProofReplayed => "proof_replayed",
            Self::WrongPossessor => "wrong_possessor",
        }
    }
}

impl ErrorKind {
    /// A stable name for logs, audit and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken(rejection) => rejection.as_str(),
            Self::SessionEnded(state) => state.as_str(),
            Self::ReplayDetected => "replay_detected",
            Self::Superseded => "superseded",
            Self::LimitReached => "limit_reached",
            Self::NotFound => "not_found",
            Self::AlreadyEnded => "already_ended",
            Self::StepUpRequired => "step_up_required",
            Self::Conflict => "conflict",
            Self::InvalidInput => "invalid_input",
            Self::InvalidCursor => "invalid_cursor",
            Self::Unavailable => "unavailable",
            Self::Unconfirmed => "unconfirmed",
            Self::Unsupported => "unsupported",
            Self::Misconfigured => "misconfigured",
            Self::Internal => "internal",
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::InvalidToken(_) => "the token is not valid",
            Self::SessionEnded(_) => "the session has ended",
            Self::ReplayDetected => "a refresh token was used twice; its session was ended",
            Self::Superseded => "the token was replaced by a newer one",
            Self::LimitReached => "the user has too many sessions",
            Self::NotFound => "there is no such session",
            Self::AlreadyEnded => "the session had already ended",
            Self::StepUpRequired => "a fresher authentication is required",
            Self::Conflict => "a concurrent change was faster",
            Self::InvalidInput => "the input is not valid",
            Self::InvalidCursor => "the cursor does not belong to this list",
            Self::Unavailable => "the session storage is unavailable",
            Self::Unconfirmed => "the change was made but is not confirmed",
            Self::Unsupported => "this is not supported",
            Self::Misconfigured => "the configuration does not fit",
            Self::Internal => "an internal error occurred",
        }
    }
}

/// An error of a session operation.
///
/// `Display` is safe to show to anybody; what only operators may see is in [`StdError::source`]. No error holds a token, a secret or a
/// session id.
///
/// ```
/// use session_manager_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::InvalidInput, "create").because("a device name has at most 100 characters");
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.to_string(), "create: a device name has at most 100 characters");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: Option<String>,
    retryable: Option<bool>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind, met in this operation.
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner { kind, operation, message: None, retryable: None, source: None }))
    }

    /// The storage could not be reached: the usual error of adapters.
    pub fn unavailable(operation: &'static str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(ErrorKind::Unavailable, operation).with_source(source)
    }

    /// Says why, in a text that is safe to show: lower-case, without a full stop.
    pub fn because(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Adds what operators may see.
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Says whether repeating may help, where the kind alone does not.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = Some(retryable);
        self
    }

    /// What went wrong, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was said beside the kind, if anything; safe to show.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The operation that met it.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Whether repeating the same call may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0
            .retryable
            .unwrap_or(matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Unconfirmed | ErrorKind::Conflict))
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, "session")
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::new(ErrorKind::InvalidToken(rejection), "token")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message.as_deref().unwrap_or(self.0.kind.describe()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("operation", &self.0.operation);
        if let Some(message) = &self.0.message {
            out.field("message", message);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source: &(dyn StdError + 'static) = &**self.0.source.as_ref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_safe_and_details_are_in_the_source() {
        let error = Error::unavailable("read", std::io::Error::other("password=hunter2 refused"));
        assert_eq!(error.to_string(), "read: the session storage is unavailable");
        assert!(error.is_retryable());
        assert!(error.source().is_some_and(|source| source.to_string().contains("hunter2")));
        assert!(!Error::from(Rejection::Expired).is_retryable());
        assert!(Error::from(ErrorKind::Internal).retryable(true).is_retryable());
    }
}
