//! The methods that a hook tells apart.

#[allow(unused_imports, reason = "named in the documentation")]
use session_manager_core::SessionStorage;
#[allow(unused_imports, reason = "named in the documentation")]
use session_manager_core::storage::{RevocationFeed, SessionScan};

/// A method of [`SessionStorage`], of its feed or of its scan, that a [`Hook`](super::Hook) sees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Method {
    /// [`SessionStorage::try_read`].
    TryRead,
    /// [`SessionStorage::read`].
    Read,
    /// [`SessionStorage::read_many`].
    ReadMany,
    /// [`SessionStorage::insert`].
    Insert,
    /// [`SessionStorage::advance`].
    Advance,
    /// [`SessionStorage::update`].
    Update,
    /// [`SessionStorage::touch`].
    Touch,
    /// [`SessionStorage::revoke`].
    Revoke,
    /// [`SessionStorage::bump`].
    Bump,
    /// [`SessionStorage::epochs`].
    Epochs,
    /// [`SessionStorage::list`].
    List,
    /// [`SessionStorage::count`].
    Count,
    /// [`SessionStorage::purge`].
    Purge,
    /// [`SessionStorage::remember_once`].
    RememberOnce,
    /// [`SessionStorage::check`].
    Check,
    /// [`RevocationFeed::announce`].
    Announce,
    /// [`RevocationFeed::since`].
    Since,
    /// [`SessionScan::scan`].
    Scan,
    /// [`SessionScan::put`].
    Put,
    /// [`SessionStorage::maintenance`]: its future, when it is first polled and when it ends.
    Maintenance,
}

impl Method {
    /// All of them, in the order of the traits.
    pub const ALL: [Self; 20] = [
        Self::TryRead,
        Self::Read,
        Self::ReadMany,
        Self::Insert,
        Self::Advance,
        Self::Update,
        Self::Touch,
        Self::Revoke,
        Self::Bump,
        Self::Epochs,
        Self::List,
        Self::Count,
        Self::Purge,
        Self::RememberOnce,
        Self::Check,
        Self::Announce,
        Self::Since,
        Self::Scan,
        Self::Put,
        Self::Maintenance,
    ];
}
