//! How much a manager reads to check an access token, and how late it may therefore see that a session ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::SessionBackend;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::SessionPolicy;
use crate::storage::{Freshness, SessionStorage};

/// The longest that a transaction of the application may hold an announced change back: what is announced matters for this long, and as
/// long as an access token lives after it.
pub(super) const LONGEST_TRANSACTION: Duration = Duration::from_mins(1);
/// How far the clocks of nodes may be apart.
pub(super) const SKEW: Duration = Duration::from_secs(5);

/// What is read to check an access token.
///
/// | mode | a check costs | an end is seen |
/// |---|---|---|
/// | `Always` | one read of the storage | at once, everywhere |
/// | `Cached` | memory, and one read per session and `max_age` | at once on this node, elsewhere after the bus's delay, never later than `max_age` |
/// | `Feed` | the token's signature and a look into memory | at once on this node, elsewhere after the bus's delay, never later than `max_age` |
/// | `Stateless` | the token's signature | when the access token expires |
///
/// In a configuration file: `mode = "always"`, or `mode = "feed"` with `max_age = "5s"`.
///
/// # Behaviour
/// - Only `Always` writes activity down with the request. The others keep it in memory until [`SessionManager::maintenance`] writes it:
///   within [`SessionPolicy::touch_interval_for`] the policy's idle timeout. So they need
///   [`SessionManagerBuilder::build_with_maintenance`] where there is an idle timeout, and `Feed` always does.
/// - `Feed` and `Stateless` need a token backend whose tokens prove themselves. An idle session is refused by them when its access token
///   expires, which is no later than the idle deadline known when it was issued.
/// - Suspicion rules judge an access only where the session is read for it: always in `Always` and `Cached`, in `Feed` after a change.
/// - A refresh, and every change of a session, reads and judges the storage in all modes.
///
/// [`SessionManager::maintenance`]: crate::SessionManager::maintenance
/// [`SessionManagerBuilder::build_with_maintenance`]: crate::SessionManagerBuilder::build_with_maintenance
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Verification {
    /// The session is read, past every cache and replica.
    #[default]
    Always,
    /// The session is read from a storage that keeps a cache: one whose reads are at most `max_age` old.
    Cached {
        /// The oldest that an answer may be.
        #[serde(with = "crate::duration::text")]
        max_age: Duration,
    },
    /// Nothing is read but the storage's feed of revocations, in the background. Only what it names is looked at.
    Feed {
        /// How old the node's knowledge of the feed may be. While it is older, sessions are read as in `Always`.
        #[serde(with = "crate::duration::text")]
        max_age: Duration,
    },
    /// Nothing is read: an ended session's access token is accepted until it expires.
    Stateless,
}

impl Verification {
    /// A stable name for configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Cached { .. } => "cached",
            Self::Feed { .. } => "feed",
            Self::Stateless => "stateless",
        }
    }

    /// By when, after the call that ended a session returned, no node accepts its access tokens any more. Zero is at once.
    ///
    /// # Behaviour
    /// Clocks of nodes that differ add to it.
    pub const fn bound(self, policy: &SessionPolicy) -> Duration {
        match self {
            Self::Always => Duration::ZERO,
            Self::Cached { max_age } | Self::Feed { max_age } => max_age,
            Self::Stateless => policy.access_token_lifetime,
        }
    }

    /// Refuses a mode that the parts cannot keep.
    pub(super) fn validate(
        self,
        policy: &SessionPolicy,
        storage: &dyn SessionStorage,
        backend: &dyn SessionBackend,
        maintained: bool,
    ) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Misconfigured, "build").because(message));
        let mode = self.as_str();
        if matches!(self, Self::Feed { .. } | Self::Stateless) && !backend.capabilities().self_contained {
            return refuse(format!("verification {mode} needs a token backend whose access tokens prove themselves"));
        }
        if let Self::Cached { max_age } | Self::Feed { max_age } = self
            && (max_age < Duration::from_millis(100) || max_age > Duration::from_hours(1))
        {
            return refuse(format!("the max_age of verification {mode} must be 100ms to 1h"));
        }
        match self {
            Self::Cached { max_age } => match storage.capabilities().freshness {
                Freshness::Bounded(bound) if bound <= max_age => {}
                Freshness::Bounded(bound) => {
                    let (bound, max_age) = (humantime::format_duration(bound), humantime::format_duration(max_age));
                    return refuse(format!(
                        "the storage's reads may be {bound} old, verification cached allows {max_age}"
                    ));
                }
                _ => {
                    return refuse(
                        "verification cached needs a storage with a cache, such as storage-tiered".to_owned(),
                    );
                }
            },
            Self::Feed { .. } => {
                let Some(feed) = storage.feed() else {
                    return refuse("verification feed needs a storage with a feed of revocations".to_owned());
                };
                let needed = entry_life(policy);
                if feed.retention().is_some_and(|kept| kept < needed) {
                    let needed = humantime::format_duration(needed);
                    return refuse(format!("verification feed needs a feed that can be read for {needed}"));
                }
            }
            _ => {}
        }
        let needs_maintenance = match self {
            Self::Always => false,
            Self::Feed { .. } => true,
            Self::Cached { .. } | Self::Stateless => policy.idle_timeout.is_some(),
        };
        if needs_maintenance && !maintained {
            return refuse(format!("verification {mode} needs background work: call build_with_maintenance"));
        }
        Ok(())
    }
}

/// How long a notice matters: the change may be committed that much later, and tokens of before live on for their lifetime.
pub(super) fn entry_life(policy: &SessionPolicy) -> Duration {
    LONGEST_TRANSACTION.saturating_add(policy.access_token_lifetime).saturating_add(SKEW)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_configuration_files_have_them() {
        let five = Duration::from_secs(5);
        let cases = [
            (r#"{"mode":"always"}"#, Verification::Always),
            (r#"{"mode":"cached","max_age":"5s"}"#, Verification::Cached { max_age: five }),
            (r#"{"mode":"feed","max_age":"5s"}"#, Verification::Feed { max_age: five }),
            (r#"{"mode":"stateless"}"#, Verification::Stateless),
        ];
        for (text, mode) in cases {
            assert_eq!(serde_json::from_str::<Verification>(text).unwrap(), mode);
            assert_eq!(serde_json::to_string(&mode).unwrap(), text);
        }
        for text in [r#"{"mode":"feed"}"#, r#"{"mode":"never"}"#, r#"{"mode":"cached","max_age":"5s","x":1}"#] {
            assert!(serde_json::from_str::<Verification>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_mode_states_its_bound() {
        let policy = SessionPolicy::default();
        let five = Duration::from_secs(5);
        let bounds = [
            (Verification::Always, Duration::ZERO),
            (Verification::Cached { max_age: five }, five),
            (Verification::Feed { max_age: five }, five),
            (Verification::Stateless, policy.access_token_lifetime),
        ];
        for (mode, bound) in bounds {
            assert_eq!(mode.bound(&policy), bound, "{mode:?}");
        }
    }
}
