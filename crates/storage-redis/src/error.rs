//! What can go wrong in the adapter, and what core's error it becomes. No key, value or argument is in it.

use redis::{RedisError, ServerErrorKind};
use session_manager_core::{Error, ErrorKind};

/// What went wrong in an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server could not be reached, did not answer in time, or cannot serve now.
    #[error("the server is unavailable: {0}")]
    Unavailable(Cause),
    /// The server refuses what it was asked: a missing permission, a command it does not know, a cluster reached as a single server.
    #[error("the server refuses: {0}")]
    Refused(Cause),
    /// A key holds what it cannot hold.
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
    /// A script answered what no script of ours answers.
    #[error("an answer has an unknown form: {0}")]
    Answer(&'static str),
    /// It is core's error already.
    #[error(transparent)]
    Core(#[from] Error),
}

/// What of a driver's error is safe: messages of servers may repeat keys and arguments.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{category} ({code})")]
pub(crate) struct Cause {
    category: String,
    code: String,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// Names the operation that met it.
    pub(crate) fn during(self, operation: &'static str) -> Error {
        match self {
            Self::Core(error) => error,
            Self::Unavailable(_) => Error::unavailable(operation, self),
            Self::Refused(_) => Error::new(ErrorKind::Misconfigured, operation)
                .because("the redis server refuses a command; check tells what is missing")
                .with_source(self),
            Self::Damaged(what) => {
                Error::new(ErrorKind::Internal, operation).because(format!("{what} is damaged")).with_source(self)
            }
            Self::Answer(_) => Error::new(ErrorKind::Internal, operation).with_source(self),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let code = error.code().unwrap_or("-").to_owned();
        let cause = Cause { category: error.category().to_owned(), code };
        match error.kind() {
            redis::ErrorKind::AuthenticationFailed
            | redis::ErrorKind::InvalidClientConfig
            | redis::ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::CrossSlot) => Self::Refused(cause),
            _ if cause.code == "WRONGTYPE" => Self::Damaged("a key of another type"),
            redis::ErrorKind::Server(ServerErrorKind::ResponseError) => match error.detail() {
                Some(detail) if detail.contains("unknown command") => Self::Refused(cause),
                // A slot is on its way to another node, and with it a session that the index names.
                Some(detail) if detail.contains("non local key") => Self::Unavailable(cause),
                Some(detail) if detail.contains("user_script") => Self::Answer("a script failed"),
                _ => Self::Unavailable(cause),
            },
            redis::ErrorKind::UnexpectedReturnType => Self::Answer("unexpected type"),
            // Everything else says nothing about any session: outage, timeout, LOADING, READONLY, CLUSTERDOWN, TRYAGAIN, MISCONF, OOM, …
            _ => Self::Unavailable(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ServerErrorKind, detail: &str) -> Error {
        let error = RedisError::from((redis::ErrorKind::Server(kind), "server", detail.to_owned()));
        Failure::from(error).during("read")
    }

    #[test]
    fn outages_are_unavailable_and_name_nothing() {
        for kind in [
            ServerErrorKind::ClusterDown,
            ServerErrorKind::BusyLoading,
            ServerErrorKind::ReadOnly,
            ServerErrorKind::MasterDown,
            ServerErrorKind::TryAgain,
            ServerErrorKind::ResponseError,
        ] {
            let error = of(kind, "sm:{0a1}:s:secret");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{kind:?}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        let io = Failure::from(RedisError::from(std::io::Error::other("x"))).during("read");
        assert_eq!(io.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn refusals_are_misconfigured_and_damage_is_internal() {
        assert_eq!(of(ServerErrorKind::NoPerm, "x").kind(), ErrorKind::Misconfigured);
        let unknown =
            of(ServerErrorKind::ResponseError, "unknown command 'EVALSHA', with args beginning with: 'secret'");
        assert_eq!(unknown.kind(), ErrorKind::Misconfigured);
        let moving = "Script attempted to access a non local key in a cluster node script: secret, on @user_script:14.";
        assert_eq!(of(ServerErrorKind::ResponseError, moving).kind(), ErrorKind::Unavailable);
        let defect = of(ServerErrorKind::ResponseError, "user_script:14: attempt to index a nil value script: secret");
        assert_eq!(defect.kind(), ErrorKind::Internal);
        assert!(!format!("{unknown} {unknown:?}").contains("secret"));
        let damaged = Failure::Damaged("a session's header").during("read");
        assert_eq!(
            (damaged.kind(), damaged.to_string().as_str()),
            (ErrorKind::Internal, "read: a session's header is damaged")
        );
    }
}
