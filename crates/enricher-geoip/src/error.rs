//! Why a database is not used.

use std::path::PathBuf;

use session_manager_core::{Error, ErrorKind};

/// Why a file is not used as a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no database, or a damaged one.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a sound database of something else.
    #[error("{} is of type {found:?}, which tells no country, city or autonomous system", path.display())]
    OtherType {
        /// Which file.
        path: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// It was built before the one in use.
    #[error("{} was built {} seconds before the database in use", path.display(), seconds)]
    Older {
        /// Which file.
        path: PathBuf,
        /// By how much.
        seconds: u64,
    },
    /// It is of another kind than the one in use.
    #[error("{} is of another kind than the database in use", path.display())]
    OtherKind {
        /// Which file.
        path: PathBuf,
    },
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        let message = error.to_string();
        Self::new(ErrorKind::Misconfigured, "geoip").because(message).with_source(error)
    }
}
