//! What must hold between values; all faults are told at once.

use std::time::Duration;

use super::{PublicUrl, Settings};
use crate::exit::StartError;

const DAY: Duration = Duration::from_hours(24);

/// Checks the ranges and the relations of the values.
pub(super) fn check(settings: &Settings) -> Result<(), StartError> {
    let faults = faults(settings);
    if faults.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = faults.iter().map(|(key, why)| format!("`{key}` {why}")).collect();
    Err(StartError::config("the configuration is not valid", list.join("; "), "Correct it and start again."))
}

fn faults(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let policy = &settings.policy;
    let second = Duration::from_secs(1);
    let public_url = settings.public_url.clone().or_else(|| PublicUrl::of_listener(settings.listen));
    let rules = [
        ("policy.absolute_lifetime", policy.absolute_lifetime < second, "must be at least 1s"),
        ("policy.absolute_lifetime", policy.absolute_lifetime > 3650 * DAY, "must be at most ten years"),
        ("policy.idle_timeout", policy.idle_timeout < second, "must be at least 1s"),
        ("policy.max_sessions", !(1..=1000).contains(&policy.max_sessions), "must be 1 to 1000"),
        ("policy.access_token_lifetime", policy.access_token_lifetime < second, "must be at least 1s"),
        ("policy.refresh_grace", policy.refresh_grace > Duration::from_mins(5), "must be at most 5m"),
        ("policy.idle_timeout", policy.idle_timeout > 3650 * DAY, "must be at most ten years"),
        ("policy.touch_interval", policy.touch_interval > DAY, "must be at most 1d"),
        ("policy.step_up_max_age", policy.step_up_max_age < second, "must be at least 1s"),
        (
            "public_url",
            public_url.is_some_and(|url| !url.is_https() && !url.is_loopback()),
            "must be https, since sign-in cookies would cross the network in the clear; http is allowed on loopback only \
             (without public_url it is http:// and the address listened on)",
        ),
        ("data", settings.data.as_os_str().is_empty(), "must not be empty"),
        (
            "sessions.url",
            settings.sessions.url.as_ref().is_some_and(|url| url.expose().trim().is_empty()),
            "must not be empty",
        ),
    ];
    rules.into_iter().filter(|rule| rule.1).map(|(key, _, why)| (key, why)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Settings);

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(faults(&Settings::default()), []);
    }

    #[test]
    fn each_fault_names_its_key() {
        let cases: [(&str, Change); 8] = [
            ("policy.absolute_lifetime", |s| s.policy.absolute_lifetime = 4000 * DAY),
            ("policy.idle_timeout", |s| s.policy.idle_timeout = Duration::ZERO),
            ("policy.max_sessions", |s| s.policy.max_sessions = 0),
            ("policy.max_sessions", |s| s.policy.max_sessions = 1001),
            ("policy.access_token_lifetime", |s| s.policy.access_token_lifetime = Duration::from_millis(999)),
            ("policy.refresh_grace", |s| s.policy.refresh_grace = Duration::from_secs(301)),
            ("policy.step_up_max_age", |s| s.policy.step_up_max_age = Duration::ZERO),
            ("public_url", |s| s.public_url = PublicUrl::parse("http://accounts.example.org").ok()),
        ];
        for (key, change) in cases {
            let mut settings = Settings::default();
            change(&mut settings);
            let keys: Vec<_> = faults(&settings).into_iter().map(|fault| fault.0).collect();
            assert_eq!(keys, [key]);
        }
    }

    #[test]
    fn boundaries_are_allowed() {
        let mut settings = Settings::default();
        settings.policy.max_sessions = 1000;
        settings.policy.idle_timeout = settings.policy.absolute_lifetime;
        settings.policy.refresh_grace = Duration::ZERO;
        settings.policy.touch_interval = Duration::ZERO;
        settings.public_url = PublicUrl::parse("http://localhost:9000").ok();
        assert_eq!(faults(&settings), []);
    }

    #[test]
    fn one_low_limit_pulls_the_others_in() {
        let mut settings = Settings::default();
        settings.policy.absolute_lifetime = Duration::from_secs(20);
        assert_eq!(faults(&settings), []);
        let policy = settings.policy.nested();
        assert_eq!((policy.idle_timeout.as_secs(), policy.access_token_lifetime.as_secs()), (20, 20));
        assert_eq!(policy.step_up_max_age.as_secs(), 20);
        assert_eq!(Settings::default().policy.nested(), Settings::default().policy);
    }

    #[test]
    fn without_public_url_the_listener_must_be_on_loopback() {
        let open = Settings { listen: "0.0.0.0:8080".parse().unwrap(), ..Settings::default() };
        assert_eq!(faults(&open).len(), 1);
        let named = Settings { public_url: PublicUrl::parse("https://accounts.example.org").ok(), ..open };
        assert_eq!(faults(&named), []);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut settings = Settings::default();
        settings.policy.max_sessions = 0;
        settings.policy.step_up_max_age = Duration::ZERO;
        let text = check(&settings).unwrap_err().to_string();
        assert!(text.contains("`policy.max_sessions`") && text.contains("`policy.step_up_max_age`"), "{text}");
    }
}
