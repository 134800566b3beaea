//! What a storage can do, and how it is.

use std::time::Duration;

/// What a storage can and cannot do. The manager refuses at build time what the storage cannot keep.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent abilities, each named")]
#[non_exhaustive]
pub struct Capabilities {
    /// What an acknowledged write is worth.
    pub durability: Durability,
    /// How old a read may be.
    pub freshness: Freshness,
    /// Keeps user and global epochs.
    pub epochs: bool,
    /// Enforces the limit of live sessions atomically.
    pub cap: bool,
    /// Lists and counts across users.
    pub list_all: bool,
    /// Answers [`remember_once`](super::SessionStorage::remember_once).
    pub remember_once: bool,
    /// Finds sessions by [`ExternalId`](crate::ExternalId).
    pub external: bool,
    /// Can run inside the application's own transaction.
    pub transactions: bool,
    /// Is the view of an application's transaction.
    pub in_transaction: bool,
    /// Removes ended sessions by itself: [`PurgeScope::EndedBefore`](super::PurgeScope::EndedBefore) then finds and reports none.
    pub native_expiry: bool,
    /// The most bytes a session may take, if there is such a limit.
    pub max_value: Option<usize>,
}

impl Capabilities {
    /// A storage that can do everything but run in the application's transaction.
    pub const fn full(durability: Durability) -> Self {
        Self {
            durability,
            freshness: Freshness::Latest,
            epochs: true,
            cap: true,
            list_all: true,
            remember_once: true,
            external: true,
            transactions: false,
            in_transaction: false,
            native_expiry: false,
            max_value: None,
        }
    }
}

/// What an acknowledged write is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Durability {
    /// It is gone with the process, or whenever the cache evicts it.
    Volatile,
    /// It may be lost in a failover within this window.
    Replicated {
        /// The longest time that a write may be known to one node only.
        window: Duration,
    },
    /// It survives a crash.
    Acknowledged,
}

/// How old a read with [`Consistency::Eventual`](super::Consistency::Eventual) may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Freshness {
    /// It sees every acknowledged write.
    Latest,
    /// At most this old.
    Bounded(Duration),
}

/// How a storage is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// What was found; empty where all is well.
    pub findings: Vec<Finding>,
    /// The storage's clock minus ours, in milliseconds, where it has one.
    pub clock_skew_millis: Option<i64>,
}

impl Health {
    /// All is well.
    pub fn well() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn finding(mut self, severity: Severity, message: impl Into<String>) -> Self {
        self.findings.push(Finding { severity, message: message.into() });
        self
    }

    /// Whether nothing was found that endangers a guarantee.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// Something an operator should know.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is and what to do, without secrets.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Info,
    /// Works, but could do better.
    Warning,
    /// A documented guarantee does not hold.
    Error,
}
