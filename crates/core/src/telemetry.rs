//! The seam of measurements: how often each operation is called, how it comes out, how long it takes, and what goes wrong aside.

use std::fmt;
use std::time::Duration;

use crate::error::ErrorKind;

/// The target of the spans of operations, for filters: `session_manager::operation=debug`.
///
/// Every operation of a [`SessionManager`](crate::SessionManager) is one span of level `DEBUG` named `session_manager`, with these fields:
///
/// | field | value |
/// |---|---|
/// | `operation` | [`Operation::as_str`] |
/// | `result` | `ok` or [`ErrorKind::as_str`]; absent when the caller gave up |
/// | `otel.name` | `session_manager.` and the operation, which `tracing-opentelemetry` makes the span's name |
/// | `otel.kind` | `internal` |
/// | `otel.status_code`, `error.type` | `ERROR` and [`ErrorKind::as_str`] for failures of the service; a refused token is none |
///
/// No token, address, user or session is ever a field. Operations inside a transaction of the application's have no span of their own.
pub const OPERATION_TARGET: &str = "session_manager::operation";

/// Is told of every operation of a manager, and of what was reported instead of failing one. Its work must be quick: it is called on the
/// way of every request.
pub trait Telemetry: Send + Sync + fmt::Debug {
    /// An operation has ended.
    fn operation(&self, operation: Operation, outcome: Result<(), ErrorKind>, elapsed: Duration);

    /// Something went wrong that fails no operation by itself.
    fn incident(&self, incident: Incident);
}

/// Measures nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopTelemetry;

impl Telemetry for NoopTelemetry {
    fn operation(&self, _: Operation, _: Result<(), ErrorKind>, _: Duration) {}

    fn incident(&self, _: Incident) {}
}

/// An operation of a manager.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// A sign-in.
    Create,
    /// The check of an access token.
    Authenticate,
    /// The check of an access token that leaves no trace.
    Peek,
    /// The exchange of a refresh token.
    Refresh,
    /// A new proof of who the user is.
    Reauthenticate,
    /// A list or a count.
    List,
    /// The look-up of one session.
    Get,
    /// The end of one or several sessions.
    Revoke,
    /// A raised epoch.
    Rotate,
    /// A change of a session's own data.
    Update,
    /// A note of activity without a token.
    Touch,
    /// The removal of sessions, ended or not.
    Purge,
    /// The examination of the storage.
    Check,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Authenticate,
        Self::Peek,
        Self::Refresh,
        Self::Reauthenticate,
        Self::List,
        Self::Get,
        Self::Revoke,
        Self::Rotate,
        Self::Update,
        Self::Touch,
        Self::Purge,
        Self::Check,
    ];

    /// A stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Authenticate => "authenticate",
            Self::Peek => "peek",
            Self::Refresh => "refresh",
            Self::Reauthenticate => "reauthenticate",
            Self::List => "list",
            Self::Get => "get",
            Self::Revoke => "revoke",
            Self::Rotate => "rotate",
            Self::Update => "update",
            Self::Touch => "touch",
            Self::Purge => "purge",
            Self::Check => "check",
        }
    }

    /// The name of its span for OpenTelemetry: `session_manager.` and [`as_str`](Self::as_str).
    pub(crate) const fn span_name(self) -> &'static str {
        match self {
            Self::Create => "session_manager.create",
            Self::Authenticate => "session_manager.authenticate",
            Self::Peek => "session_manager.peek",
            Self::Refresh => "session_manager.refresh",
            Self::Reauthenticate => "session_manager.reauthenticate",
            Self::List => "session_manager.list",
            Self::Get => "session_manager.get",
            Self::Revoke => "session_manager.revoke",
            Self::Rotate => "session_manager.rotate",
            Self::Update => "session_manager.update",
            Self::Touch => "session_manager.touch",
            Self::Purge => "session_manager.purge",
            Self::Check => "session_manager.check",
        }
    }
}

/// Something that was reported and failed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Incident {
    /// A token was refused before it led to a session.
    TokenRejected,
    /// A session was refused because its epoch record was lost.
    EpochLost,
    /// The storage had lost a refresh.
    StorageRollback,
    /// An audit sink failed.
    AuditSinkFailed,
    /// An enricher failed or took too long.
    EnricherFailed,
    /// A suspicion rule failed.
    RuleFailed,
    /// Activity could not be written down.
    ActivityNotWritten,
    /// A change could not be announced.
    AnnouncementFailed,
    /// The clean-up failed.
    CleanUpFailed,
    /// The feed of revocations could not be read.
    FeedNotRead,
    /// A cache that several nodes share could not be asked or told.
    SharedCacheFailed,
    /// The invalidation bus is not heard any more: what is remembered is passed by, or bounded by its age alone.
    BusUnheard,
}

impl Incident {
    /// A stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenRejected => "token_rejected",
            Self::EpochLost => "epoch_lost",
            Self::StorageRollback => "storage_rollback",
            Self::AuditSinkFailed => "audit_sink_failed",
            Self::EnricherFailed => "enricher_failed",
            Self::RuleFailed => "rule_failed",
            Self::ActivityNotWritten => "activity_not_written",
            Self::AnnouncementFailed => "announcement_failed",
            Self::CleanUpFailed => "clean_up_failed",
            Self::FeedNotRead => "feed_not_read",
            Self::SharedCacheFailed => "shared_cache_failed",
            Self::BusUnheard => "bus_unheard",
        }
    }
}
