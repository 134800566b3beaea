//! The tables beside the sessions': epochs, values remembered once, announcements, as the application names them.

use std::time::Duration;

/// The table of epochs: one row for each user, and one with the subject `''` for everybody.
#[derive(Clone, Debug)]
pub struct EpochTable {
    pub(crate) table: String,
    pub(crate) subject: String,
    pub(crate) incarnation: String,
    pub(crate) version: String,
    pub(crate) grace_until: String,
    pub(crate) rotated_at: String,
    pub(crate) seq: String,
}

impl EpochTable {
    /// A table of this name with default column names.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            subject: "subject".into(),
            incarnation: "incarnation".into(),
            version: "version".into(),
            grace_until: "grace_until".into(),
            rotated_at: "rotated_at".into(),
            seq: "seq".into(),
        }
    }

    /// Names the columns.
    pub fn columns(mut self, names: EpochColumns<'_>) -> Self {
        self.subject = names.subject.into();
        self.incarnation = names.incarnation.into();
        self.version = names.version.into();
        self.grace_until = names.grace_until.into();
        self.rotated_at = names.rotated_at.into();
        self.seq = names.seq.into();
        self
    }

    pub(crate) fn names(&self) -> [&String; 6] {
        [&self.subject, &self.incarnation, &self.version, &self.grace_until, &self.rotated_at, &self.seq]
    }
}

/// The users' epochs in columns of the application's users table. All but the key accept NULL, which is how they begin.
#[derive(Clone, Debug)]
pub struct UserEpochs {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) incarnation: String,
    pub(crate) version: String,
    pub(crate) seq: String,
}

impl UserEpochs {
    /// The users table of this name, whose primary key `key` is of the session table's [`UserIdEncoding`](crate::UserIdEncoding) (and of its user column's
    /// collation), with the columns `session_incarnation`, `session_version` and `session_seq`.
    pub fn new(table: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            key: key.into(),
            incarnation: "session_incarnation".into(),
            version: "session_version".into(),
            seq: "session_seq".into(),
        }
    }

    /// Names the columns: a random number of 64 bits (as a signed integer of the same bits), what is raised with every rotation, and what is
    /// raised with every sign-in.
    pub fn columns(
        mut self,
        incarnation: impl Into<String>,
        version: impl Into<String>,
        seq: impl Into<String>,
    ) -> Self {
        (self.incarnation, self.version, self.seq) = (incarnation.into(), version.into(), seq.into());
        self
    }

    pub(crate) fn names(&self) -> [&String; 4] {
        [&self.key, &self.incarnation, &self.version, &self.seq]
    }
}

/// The names of an epoch table's columns.
#[derive(Clone, Copy, Debug)]
pub struct EpochColumns<'a> {
    /// The user id as text, `''` for everybody: the primary key.
    pub subject: &'a str,
    /// A random number of 64 bits, as a signed integer of the same bits.
    pub incarnation: &'a str,
    /// Raised with every rotation.
    pub version: &'a str,
    /// The end of a global rotation's grace.
    pub grace_until: &'a str,
    /// When it was last raised.
    pub rotated_at: &'a str,
    /// Raised with every sign-in: the write by which a user's lock is taken.
    pub seq: &'a str,
}

/// The table of values that are remembered once.
#[derive(Clone, Debug)]
pub struct OnceTable {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) until: String,
}

impl OnceTable {
    /// A table of this name with the columns `once_key` (the primary key) and `until`.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), key: "once_key".into(), until: "until".into() }
    }

    /// Names the columns.
    pub fn columns(mut self, key: impl Into<String>, until: impl Into<String>) -> Self {
        (self.key, self.until) = (key.into(), until.into());
        self
    }
}

/// The table of announcements.
#[derive(Clone, Debug)]
pub struct FeedTable {
    pub(crate) table: String,
    pub(crate) seq: String,
    pub(crate) subject: String,
    pub(crate) phase: String,
    pub(crate) at: String,
    pub(crate) mark: String,
    pub(crate) retention: Duration,
}

impl FeedTable {
    /// A table of this name with the columns `seq` (a counter that never repeats: the primary key), `subject`, `phase` and `announced_at`.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            seq: "seq".into(),
            subject: "subject".into(),
            phase: "phase".into(),
            at: "announced_at".into(),
            mark: "mark".into(),
            retention: Duration::from_hours(1),
        }
    }

    /// How long a clean-up leaves announcements where they are, an hour by default: longer than any access token lives.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Names the column by which announcements that commit late are not missed, `mark` by default: the transaction in PostgreSQL (`xid8`), the
    /// server's clock in milliseconds in MySQL (`BIGINT`). SQLite, where nothing commits late, needs none.
    pub fn mark(mut self, mark: impl Into<String>) -> Self {
        self.mark = mark.into();
        self
    }

    /// Names the columns.
    pub fn columns(
        mut self,
        seq: impl Into<String>,
        subject: impl Into<String>,
        phase: impl Into<String>,
        at: impl Into<String>,
    ) -> Self {
        (self.seq, self.subject, self.phase, self.at) = (seq.into(), subject.into(), phase.into(), at.into());
        self
    }
}
