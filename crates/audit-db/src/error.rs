//! What can go wrong in the adapter, and what core's error it becomes. No value of any row is in it.

use session_manager_core::{Error, ErrorKind};

/// What went wrong in an operation.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "named by sealed traits only")]
pub enum Failure {
    /// The database could not be reached, or the connection broke.
    #[error("the connection failed: {0}")]
    Connection(#[source] sqlx::Error),
    /// The database answered that it is busy, locked or cannot write now.
    #[error("the database is busy or cannot be written (code {code})")]
    Busy { code: String },
    /// Somebody else held a lock for longer than the database, or the application's setting, lets one wait.
    #[error("a lock was waited for too long (code {code})")]
    Waited { code: String },
    /// The application's transaction reads an older state than it would have to change.
    #[error("the transaction has been overtaken by another (code {code}); roll it back and repeat it")]
    Overtaken { code: String },
    /// The database cannot hold a value that it was given.
    #[error("the database cannot hold a value (code {code})")]
    Unfit { code: String },
    /// A unique constraint: the application's table has one of its own, or two writers met without a chain's lock.
    #[error("a unique constraint was violated")]
    Duplicate,
    /// The statement does not fit the schema, or a constraint of the application's was violated.
    #[error("the database refused the statement (code {code}): {message}")]
    Refused { code: String, message: String },
    /// A column holds what it cannot hold.
    #[error("column {column} does not hold {expected}")]
    Decode { column: String, expected: &'static str },
    /// The driver failed in a way that is no fault of the database.
    #[error("the driver failed: {0}")]
    Driver(&'static str),
    /// The chain's own table says something that only who has no key would say.
    #[error("the chain is broken: {0}")]
    Chain(String),
    /// It is core's error already.
    #[error(transparent)]
    Core(#[from] Error),
}

impl Failure {
    /// A column that does not hold what was expected.
    pub(crate) fn decode(column: &str, expected: &'static str) -> Self {
        Self::Decode { column: column.to_owned(), expected }
    }

    /// Whether it is a value's fault, so that repeating helps nobody.
    pub(crate) fn is_about_values(&self) -> bool {
        match self {
            Self::Unfit { .. } => true,
            Self::Core(error) => error.kind() == ErrorKind::InvalidInput,
            _ => false,
        }
    }

    /// Names the operation that met it.
    pub(crate) fn during(self, operation: &'static str) -> Failed {
        Failed { operation, cause: self }
    }
}

/// A failure together with the operation that met it: what becomes core's error.
pub(crate) struct Failed {
    operation: &'static str,
    cause: Failure,
}

impl From<Failed> for Error {
    fn from(Failed { operation, cause }: Failed) -> Self {
        let kind = match &cause {
            Failure::Connection(_) | Failure::Busy { .. } | Failure::Waited { .. } => ErrorKind::Unavailable,
            Failure::Overtaken { .. } | Failure::Duplicate => ErrorKind::Conflict,
            Failure::Refused { .. } => ErrorKind::Misconfigured,
            Failure::Unfit { .. } => ErrorKind::InvalidInput,
            Failure::Decode { .. } | Failure::Driver(_) | Failure::Chain(_) | Failure::Core(_) => ErrorKind::Internal,
        };
        match cause {
            Failure::Core(error) => error,
            Failure::Duplicate => {
                Self::new(kind, operation).retryable(false).because("a unique constraint of the table was violated")
            }
            Failure::Unfit { .. } => Self::new(kind, operation)
                .because(
                    "the database cannot hold a text: it has a character or a length that the column does not take",
                )
                .with_source(cause),
            Failure::Refused { .. } => Self::new(kind, operation)
                .because("the database refused a statement; check_schema tells what is missing")
                .with_source(cause),
            Failure::Decode { ref column, expected } => {
                let message = format!("column {column} does not hold {expected}");
                Self::new(kind, operation).because(message).with_source(cause)
            }
            Failure::Chain(why) => Self::new(kind, operation).because(format!("the audit chain is broken: {why}")),
            other => Self::new(kind, operation).with_source(other),
        }
    }
}

/// What a database's own error means; each dialect sorts its codes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Class {
    /// Busy, locked, out of space, read-only: nothing was done, and it may go better later.
    Busy,
    /// The database gave the whole transaction up in favour of another: only its owner can repeat it.
    Overtaken,
    /// A lock was waited for too long. Waiting again would take as long again.
    Waited,
    /// A unique constraint.
    Unique,
    /// A value that the column does not take.
    Unfit,
    /// Anything else, with what of its message is free of values.
    Refused(String),
}

/// Sorts a driver's error.
pub(crate) fn classify<DB: crate::dialect::Dialect>(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let code = DB::code(&*error);
            match DB::classify(&*error) {
                Class::Busy => Failure::Busy { code },
                Class::Overtaken => Failure::Overtaken { code },
                Class::Waited => Failure::Waited { code },
                Class::Unique => Failure::Duplicate,
                Class::Unfit => Failure::Unfit { code },
                Class::Refused(message) => Failure::Refused { code, message },
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Failure::Driver("a value could not be decoded"),
        sqlx::Error::Encode(_) => Failure::Driver("a value could not be encoded"),
        sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnIndexOutOfBounds { .. } | sqlx::Error::RowNotFound => {
            Failure::Driver("a row has another shape than its statement")
        }
        sqlx::Error::Protocol(_) => Failure::Driver("the protocol was broken"),
        other => Failure::Connection(other),
    }
}
