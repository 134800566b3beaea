//! What must hold between values; all faults are told at once.

use std::path::Path;
use std::time::Duration;

use session_manager_http::{CrossSitePolicy, TrustedProxies};

use super::{PublicUrl, Settings, SqliteFile, providers};
use crate::exit::StartError;

const DAY: Duration = Duration::from_hours(24);

/// Checks the ranges and the relations of the values.
pub(super) fn check(settings: &Settings) -> Result<(), StartError> {
    let faults = faults(settings);
    let mut list: Vec<_> = faults.iter().map(|(key, why)| format!("`{key}` {why}")).collect();
    list.extend(providers::faults(&settings.providers));
    if list.is_empty() {
        return Ok(());
    }
    Err(StartError::config("the configuration is not valid", list.join("; "), "Correct it and start again."))
}

type Fault = (&'static str, String);

fn faults(settings: &Settings) -> Vec<Fault> {
    let public_url = settings.public_url.clone().or_else(|| PublicUrl::of_listener(settings.listen));
    let mut faults = ranges(settings, public_url.as_ref());
    faults.extend(refused(settings, public_url.as_ref()));
    faults
}

fn ranges(settings: &Settings, public_url: Option<&PublicUrl>) -> Vec<Fault> {
    let policy = &settings.policy;
    let second = Duration::from_secs(1);
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
            public_url.is_none_or(|url| !url.is_https() && !url.is_loopback()),
            "must be https, since sign-in cookies would cross the network in the clear; http is allowed on loopback only \
             (without public_url it is http:// and the address listened on)",
        ),
        ("data", settings.data.as_os_str().is_empty(), "must not be empty"),
        ("mail.spool", settings.mail.spool.as_deref() == Some(Path::new("")), "must not be empty"),
        (
            "sessions.url",
            settings.sessions.url.as_ref().is_some_and(|url| url.expose().trim().is_empty()),
            "must not be empty",
        ),
    ];
    rules.into_iter().filter(|rule| rule.1).map(|(key, _, why)| (key, why.to_owned())).collect()
}

/// What the parts that are made of the values would refuse at the start.
fn refused(settings: &Settings, public_url: Option<&PublicUrl>) -> Vec<Fault> {
    let proxies = TrustedProxies::parse(settings.http.trusted_proxies.iter().map(ToString::to_string));
    let origin = CrossSitePolicy::new(public_url.map(PublicUrl::as_str));
    let database = settings.database.url.as_ref().and_then(|url| SqliteFile::parse(url.expose())).transpose();
    let faults = [
        ("http.trusted_proxies", proxies.err().map(|error| format!("cannot be trusted: {error}"))),
        ("public_url", origin.is_err().then(|| "is no origin that a browser names".to_owned())),
        ("database.url", database.err().map(str::to_owned)),
    ];
    faults.into_iter().filter_map(|(key, why)| Some((key, why?))).collect()
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
        let cases: [(&str, Change); 12] = [
            ("policy.absolute_lifetime", |s| s.policy.absolute_lifetime = 4000 * DAY),
            ("policy.idle_timeout", |s| s.policy.idle_timeout = Duration::ZERO),
            ("policy.max_sessions", |s| s.policy.max_sessions = 0),
            ("policy.max_sessions", |s| s.policy.max_sessions = 1001),
            ("policy.access_token_lifetime", |s| s.policy.access_token_lifetime = Duration::from_millis(999)),
            ("policy.refresh_grace", |s| s.policy.refresh_grace = Duration::from_secs(301)),
            ("policy.step_up_max_age", |s| s.policy.step_up_max_age = Duration::ZERO),
            ("public_url", |s| s.public_url = PublicUrl::parse("http://accounts.example.org").ok()),
            ("public_url", |s| s.public_url = PublicUrl::parse(&format!("https://{}.example", "a".repeat(600))).ok()),
            ("public_url", |s| s.listen = "[fe80::1%3]:8080".parse().unwrap()),
            ("http.trusted_proxies", |s| s.http.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()]),
            ("mail.spool", |s| s.mail.spool = Some("".into())),
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
