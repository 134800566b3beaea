//! What a storage may lack, and what the checks ask for.

use session_manager_core::SessionStorage;

/// Something that not every storage can do. A check that needs what is absent is skipped, aloud.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ability {
    /// [`Capabilities::epochs`](session_manager_core::storage::Capabilities::epochs).
    Epochs,
    /// [`Capabilities::cap`](session_manager_core::storage::Capabilities::cap).
    Cap,
    /// [`Capabilities::list_all`](session_manager_core::storage::Capabilities::list_all).
    ListAll,
    /// [`Capabilities::remember_once`](session_manager_core::storage::Capabilities::remember_once).
    RememberOnce,
    /// [`Capabilities::external`](session_manager_core::storage::Capabilities::external).
    External,
    /// [`PurgeScope::EndedBefore`](session_manager_core::storage::PurgeScope::EndedBefore) finds what has ended, which it does unless
    /// [`Capabilities::native_expiry`](session_manager_core::storage::Capabilities::native_expiry) is set.
    CleanUp,
    /// [`SessionStorage::feed`].
    Feed,
    /// [`SessionStorage::scan`].
    Scan,
}

impl Ability {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Epochs,
        Self::Cap,
        Self::ListAll,
        Self::RememberOnce,
        Self::External,
        Self::CleanUp,
        Self::Feed,
        Self::Scan,
    ];

    /// Whether a storage says that it has it.
    pub fn of(self, storage: &dyn SessionStorage) -> bool {
        let capabilities = storage.capabilities();
        match self {
            Self::Epochs => capabilities.epochs,
            Self::Cap => capabilities.cap,
            Self::ListAll => capabilities.list_all,
            Self::RememberOnce => capabilities.remember_once,
            Self::External => capabilities.external,
            Self::CleanUp => !capabilities.native_expiry,
            Self::Feed => storage.feed().is_some(),
            Self::Scan => storage.scan().is_some(),
        }
    }
}

/// Ends a check as skipped unless the storage has these abilities.
macro_rules! needs {
    ($storage:expr, $($ability:ident),+) => {
        $(
            if !$crate::conformance::Ability::$ability.of(&*$storage) {
                return $crate::conformance::CheckOutcome::Skipped($crate::conformance::Ability::$ability);
            }
        )+
    };
}

pub(crate) use needs;
