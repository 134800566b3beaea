//! The storage contract: one object-safe trait of required methods, each atomic and safe under concurrency.

mod capabilities;
mod cursor;
mod feed;
mod filter;
mod forward;
mod outcome;
mod request;
mod scan;

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::epoch::Epochs;
use crate::error::Result;
use crate::id::SessionKey;
use crate::snapshot::Snapshot;
use crate::user::UserId;

pub use capabilities::{Capabilities, Durability, Finding, Freshness, Health, Severity};
pub use cursor::{Cursor, Position};
pub use feed::{FeedBatch, FeedCursor, Notice, Phase, RevocationFeed, Subject};
pub use filter::SessionFilter;
pub use outcome::{
    AdvanceOutcome, BumpOutcome, Bumped, Count, EndedSession, InsertOutcome, Page, Purged, Revoked, TouchReport,
    UpdateOutcome,
};
pub use request::{
    Advance, Bump, BumpTarget, Consistency, Incarnations, Insert, OnLimit, OnceKey, Purge, PurgeScope, Query, Revoke,
    RevokeTarget, SessionLimit, SessionPatch, Touch, Update,
};
pub use scan::{PutOutcome, ScanCursor, ScanPage, SessionScan};

/// Where sessions live.
///
/// # Behaviour
/// - Every method is one atomic step for each user it concerns: another call sees all of it or nothing. Only what spans users (lists,
///   counts, clean-ups and revocations of everybody's sessions) is atomic per user or per session instead.
/// - Outcomes are values. `Err` means *unknown or unavailable*: nothing may be concluded about any session. After an `Err` the change may
///   or may not have happened; [`insert`](Self::insert), [`revoke`](Self::revoke) and [`bump`](Self::bump) may be repeated as they are.
/// - `now` is always passed in. A storage's own clock only collects garbage.
/// - A session that ended is never accepted again, whatever is written late: nothing but [`insert`](Self::insert) creates, and nothing
///   clears a revocation.
/// - Whether a session lives is [`Snapshot::state`], here as everywhere.
/// - Ended sessions stay readable until [`purge`](Self::purge) removes them.
/// - Dropping a returned future leaves either all of the step or nothing of it behind.
///
/// The trait is not `'static`: a storage that borrows the application's transaction implements it too.
#[async_trait]
pub trait SessionStorage: Send + Sync + fmt::Debug {
    /// What it can and cannot do. Constant over its life.
    fn capabilities(&self) -> Capabilities;

    /// Reads a session if that needs no waiting: `None` where it would, `Some(None)` where there is no such session.
    ///
    /// # Behaviour
    /// An answer given here is as fresh as one of [`read`](Self::read) with [`Consistency::Latest`].
    #[allow(clippy::option_option, reason = "outside: answerable without waiting or not; inside: found or not")]
    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>>;

    /// Reads a session and both its epochs in one round trip. `None`: there is no such session.
    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>>;

    /// Reads several, in the order of the keys.
    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>>;

    /// Adds a session under the limit of its user's live sessions and stamps it with both epochs.
    ///
    /// # Behaviour
    /// - Two inserts of one user are ordered: however many run at once, never more than the limit live afterwards.
    /// - A missing epoch record is created with the proposed incarnation.
    /// - Idempotent by id: the same id with the same seed is the same insert and changes nothing.
    async fn insert(&self, request: &Insert) -> Result<InsertOutcome>;

    /// The step of a refresh, judged by [`refresh::judge`](crate::refresh::judge) inside the atomic step.
    ///
    /// # Behaviour
    /// On `Behind` nothing is changed: the manager revokes. Last activity, deadlines, stamp and epochs never move.
    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome>;

    /// Changes a live session whose version is the expected one. Never creates, never revives.
    async fn update(&self, request: &Update) -> Result<UpdateOutcome>;

    /// Moves last activity and the idle deadline forward, never back, on live sessions only. A session that is named twice counts once,
    /// with its latest activity.
    ///
    /// # Behaviour
    /// Written only where the stored last activity lies before [`Touch::stale_before`].
    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport>;

    /// Ends live sessions and returns those it ended.
    ///
    /// # Behaviour
    /// - A session that has ended, however, keeps its first end and is counted in [`Revoked::already_ended`].
    /// - [`RevokeTarget::User`] without an exception also raises the user's epoch, so that a session which an index has lost ends too.
    /// - Repeating it is harmless.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for [`RevokeTarget::Matching`] across users where
    /// [`Capabilities::list_all`] is absent, and for [`RevokeTarget::External`] where [`Capabilities::external`] is.
    async fn revoke(&self, request: &Revoke) -> Result<Revoked>;

    /// Raises an epoch, if it still has the expected version.
    ///
    /// # Behaviour
    /// The expectation is compared before the kept session is looked at, so that a repeated call learns that it was applied. The kept
    /// session is re-stamped and its floor raised ([`Control::raise_floor`](crate::Control::raise_floor)) in the same step.
    async fn bump(&self, request: &Bump) -> Result<BumpOutcome>;

    /// Reads the global epoch, and a user's.
    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs>;

    /// Lists sessions, newest first (`created_at`, then id, both descending), in pages that are stable under inserts.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCursor`](crate::ErrorKind::InvalidCursor) for a cursor of another query;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a list across users where the capability is absent.
    async fn list(&self, query: &Query) -> Result<Page>;

    /// Counts sessions; cursor and limit are ignored.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) across users where [`Capabilities::list_all`] is absent.
    async fn count(&self, query: &Query) -> Result<Count>;

    /// Removes sessions for good.
    async fn purge(&self, request: &Purge) -> Result<Purged>;

    /// Remembers a value until `until` and says whether it was new: exactly one of any number of concurrent calls is told `true`.
    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool>;

    /// Examines reachability, schema, settings that endanger sessions, and the clock's skew.
    ///
    /// # Errors
    /// Only when it cannot be reached; whatever else is wrong is a [`Finding`].
    async fn check(&self, now: DateTime<Utc>) -> Result<Health>;

    /// The feed of changes, where there is one.
    ///
    /// # Behaviour
    /// The view of an application's transaction offers it only where a second connection could not write beside the transaction (SQLite), so
    /// that announcements become visible together with the change. Elsewhere it answers `None`, and intents are announced outside, at once.
    fn feed(&self) -> Option<&dyn RevocationFeed>;

    /// The scan over everything for export and migration, where there is one.
    fn scan(&self) -> Option<&dyn SessionScan>;

    /// The background work, where there is any: a future that runs until it is dropped.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>>;
}
