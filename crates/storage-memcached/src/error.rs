//! What can go wrong, and which of core's errors it becomes. No key and no value is in it.

use session_manager_core::{Error, ErrorKind};

use crate::cache::CacheError;

/// Everything an operation can fail with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("the item was changed by others at every attempt")]
    Contended,
    #[error("the user's live sessions do not fit into {max_item_bytes} bytes")]
    NoRoom { max_item_bytes: usize },
    #[error("an item under this prefix was not written by this storage, or by a newer version of it")]
    Foreign,
    #[error("another user's sessions stand where this user's belong: their ids have the same locator")]
    Collision,
    #[error("a session could not be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    const fn kind(&self) -> ErrorKind {
        match self {
            Self::Cache(CacheError::TooLarge) | Self::Foreign => ErrorKind::Misconfigured,
            Self::Cache(_) | Self::Contended => ErrorKind::Unavailable,
            Self::NoRoom { .. } => ErrorKind::InvalidInput,
            Self::Collision | Self::Encode(_) => ErrorKind::Internal,
        }
    }

    /// Core's error, naming the operation.
    pub(crate) fn during(self, operation: &'static str) -> Error {
        let error = Error::new(self.kind(), operation);
        match self {
            Self::Cache(CacheError::TooLarge) => error
                .because("the cache server's item size limit (-I) is lower than max_item_bytes")
                .with_source(CacheError::TooLarge),
            Self::Cache(source) => error.with_source(source),
            other => error.because(other.to_string()).with_source(other),
        }
    }
}
