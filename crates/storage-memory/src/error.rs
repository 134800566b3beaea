//! What can go wrong, and which of core's errors it becomes.

use std::io;

use session_manager_core::{Error, ErrorKind};

/// Everything this crate can fail with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("the memory storage is full: max_sessions live sessions are stored")]
    Full,
    #[error("the memory storage remembers max_remembered values already")]
    RememberedFull,
    #[error("the feed dropped notices that this reader has not seen: feed_capacity is too small")]
    FeedLost,
    #[error("the feed cursor was not made by this storage")]
    FeedCursor,
    #[error("the scan cursor was not made by this storage")]
    ScanCursor,
    #[error("the snapshot file cannot be read or written")]
    Io(#[from] io::Error),
    #[error("the file is not a snapshot of session-manager")]
    Foreign,
    #[error("the snapshot was written in a format that this version does not know")]
    UnknownFormat,
    #[error("the snapshot is incomplete: it ends before its last line")]
    Truncated,
    #[error("the snapshot is damaged at line {line}")]
    Damaged { line: u64 },
    #[error("the snapshot is damaged: its checksum does not match")]
    Checksum,
    #[error("the snapshot holds more than the configured bounds allow")]
    TooLarge,
}

impl MemoryError {
    const fn kind(&self) -> ErrorKind {
        match self {
            Self::Full | Self::RememberedFull | Self::FeedLost => ErrorKind::Unavailable,
            Self::FeedCursor | Self::ScanCursor => ErrorKind::InvalidCursor,
            Self::Io(_) => ErrorKind::Internal,
            Self::Foreign
            | Self::UnknownFormat
            | Self::Truncated
            | Self::Damaged { .. }
            | Self::Checksum
            | Self::TooLarge => ErrorKind::Misconfigured,
        }
    }

    /// Core's error, naming the operation.
    pub(crate) fn during(self, operation: &'static str) -> Error {
        let missing = matches!(&self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound);
        let kind = if missing { ErrorKind::NotFound } else { self.kind() };
        let error = Error::new(kind, operation).because(self.to_string());
        if let Self::Io(source) = self { error.with_source(source) } else { error }
    }
}
