//! Policies by the levels of NIST SP 800-63B-4, and a policy told in words.

use std::fmt::Write as _;
use std::time::Duration;

use crate::policy::{IpRecording, SessionPolicy};
use crate::storage::OnLimit;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl SessionPolicy {
    /// For authenticator assurance level 1 (NIST SP 800-63B-4 §2.1.3): 30 days at most, no idle timeout asked for. The default is kept.
    pub fn nist_aal1() -> Self {
        Self { absolute_lifetime: 30 * DAY, ..Self::default() }
    }

    /// For authenticator assurance level 2 (§2.2.3): 24 hours at most, one hour without activity.
    pub fn nist_aal2() -> Self {
        Self { absolute_lifetime: DAY, idle_timeout: Some(HOUR), ..Self::default() }
    }

    /// For authenticator assurance level 3 (§2.3.3): 12 hours at most, 15 minutes without activity.
    pub fn nist_aal3() -> Self {
        Self { absolute_lifetime: 12 * HOUR, idle_timeout: Some(HOUR / 4), ..Self::default() }
    }

    /// The rules in words, as Markdown list items: for the security concept that ASVS 5.0 7.1.1 and 7.1.2 ask for.
    ///
    /// ```
    /// let text = session_manager_core::SessionPolicy::nist_aal2().describe();
    /// assert!(text.contains("- A session ends 1day after sign-in at the latest, whatever happens.\n"));
    /// ```
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut line = |rule: String| {
            // A text takes everything.
            let _ = writeln!(text, "- {rule}");
        };
        line(format!("A session ends {} after sign-in at the latest, whatever happens.", span(self.absolute_lifetime)));
        line(match self.idle_timeout {
            Some(idle) => format!(
                "It ends after {} without activity of its user. Activity is written down at most every {}, so it may end that much sooner, never later.",
                span(idle),
                span(self.touch_interval_for(Some(idle)))
            ),
            None => "It has no idle timeout.".to_owned(),
        });
        line(match self.on_limit {
            OnLimit::EvictOldest => {
                format!("A user has at most {} live sessions; one more ends the oldest.", self.max_sessions)
            }
            OnLimit::EvictIdlest => {
                format!(
                    "A user has at most {} live sessions; one more ends the one that was idle for longest.",
                    self.max_sessions
                )
            }
            OnLimit::Reject => format!("A user has at most {} live sessions; one more is refused.", self.max_sessions),
            OnLimit::Unlimited => {
                "The number of a user's sessions is not limited, save for a ceiling of 1000.".to_owned()
            }
        });
        line(format!(
            "An access token lives for at most {}, shortened at random by up to {} %.",
            span(self.access_token_lifetime),
            self.access_token_jitter
        ));
        line(format!(
            "A refresh token is used once. For {} the one before leads to the same successor; any older one ends the session.",
            span(self.refresh_grace)
        ));
        line(format!(
            "Sensitive operations need a proof of who the user is that is at most {} old.",
            span(self.step_up_max_age)
        ));
        line(format!(
            "A session in which somebody acts in a user's name ends after {}, evicts no other and is never fresh enough for sensitive operations.",
            span(self.impersonation_lifetime)
        ));
        line(match self.ip_recording {
            IpRecording::Full => "Client addresses are recorded whole.".to_owned(),
            IpRecording::Truncated => {
                "Of client addresses the network is recorded: /24 of IPv4, /48 of IPv6.".to_owned()
            }
            IpRecording::None => "Client addresses are not recorded.".to_owned(),
        });
        line(format!("Ended sessions are kept for {}.", span(self.retention)));
        text
    }
}

fn span(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// NIST SP 800-63B-4, table of reauthentication times.
    #[test]
    fn presets_keep_the_limits_of_their_level() {
        let levels = [
            (SessionPolicy::nist_aal1(), 30 * DAY, None),
            (SessionPolicy::nist_aal2(), DAY, Some(HOUR)),
            (SessionPolicy::nist_aal3(), 12 * HOUR, Some(HOUR / 4)),
        ];
        for (policy, overall, idle) in levels {
            policy.validate().unwrap();
            assert!(policy.absolute_lifetime <= overall);
            assert!(idle.is_none_or(|idle| policy.idle_timeout.is_some_and(|timeout| timeout <= idle)));
        }
    }

    #[test]
    fn a_description_names_every_number() {
        let mut policy = SessionPolicy::nist_aal3();
        policy.max_sessions = 7;
        policy.on_limit = OnLimit::Reject;
        policy.refresh_grace = Duration::from_secs(11);
        policy.step_up_max_age = Duration::from_secs(13);
        policy.access_token_lifetime = Duration::from_secs(17);
        policy.impersonation_lifetime = Duration::from_secs(19);
        policy.retention = Duration::from_hours(25);
        policy.ip_recording = IpRecording::Truncated;
        let text = policy.describe();
        for part in
            ["12h", "15m", "every 1m,", "most 7 ", "refused", "17s", "5 %", "11s", "13s", "19s", "1day 1h", "/24"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.lines().count(), 9);
        policy.idle_timeout = None;
        policy.on_limit = OnLimit::Unlimited;
        assert!(policy.describe().contains("no idle timeout") && policy.describe().contains("1000"));
    }
}
