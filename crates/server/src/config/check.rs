//! What must hold between values; all faults are told at once.

use std::path::Path;
use std::time::Duration;

use session_manager_http::{CrossSitePolicy, TrustedProxies};
use url::Url;

use super::{
    AuditSink, Backend, MailTransport, PublicUrl, SecretUrl, SessionStorageKind, Settings, VerificationMode, database,
    oauth, providers,
};
use crate::exit::StartError;

const DAY: Duration = Duration::from_hours(24);

/// Checks the ranges and the relations of the values.
pub(crate) fn check(settings: &Settings) -> Result<(), StartError> {
    let faults = faults(settings);
    let mut list: Vec<_> = faults.iter().map(|(key, why)| format!("`{key}` {why}")).collect();
    list.extend(providers::faults(&settings.providers));
    list.extend(oauth::faults(&settings.oauth.clients));
    if list.is_empty() {
        return Ok(());
    }
    Err(StartError::config("the configuration is not valid", list.join("; "), "Correct it and start again."))
}

type Fault = (&'static str, String);

fn faults(settings: &Settings) -> Vec<Fault> {
    let public_url = settings
        .public_url
        .clone()
        .or_else(|| PublicUrl::of_listener(settings.listen, settings.certificate().is_some()));
    let mut faults = ranges(settings, public_url.as_ref());
    faults.extend(refused(settings, public_url.as_ref()));
    faults.extend(sessions(settings));
    faults.extend(mail(settings));
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
        (
            "public_url",
            settings.certificate().is_some() && public_url.is_some_and(|url| !url.is_https()),
            "must be https, since the listener speaks TLS (`tls.certificate`)",
        ),
        (
            "tls.certificate",
            settings.tls.certificate.is_none() && settings.tls.key.is_some(),
            "is missing beside `tls.key`",
        ),
        (
            "tls.key",
            settings.tls.key.is_none() && settings.tls.certificate.is_some(),
            "is missing beside `tls.certificate`",
        ),
        ("http.max_connections", !(16..=1_000_000).contains(&settings.http.max_connections), "must be 16 to 1000000"),
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

/// Storage, backend and verification have to go together.
fn sessions(settings: &Settings) -> Vec<Fault> {
    use SessionStorageKind::{Memcached, Memory, Redis, RedisCluster, RedisSentinel, Sqlx, Tiered};

    let (kind, mode) = (settings.sessions.storage, settings.verification.mode);
    let url = settings.sessions.url.as_ref().map(SecretUrl::expose);
    let starts = |schemes: &[&str]| {
        url.is_none_or(|url| url.split(',').all(|one| schemes.iter().any(|scheme| one.trim().starts_with(scheme))))
    };
    let is_redis = matches!(kind, Redis | RedisCluster | RedisSentinel);
    let is_sql = matches!(kind, Sqlx | Tiered);
    let proves_itself = mode == VerificationMode::Feed || mode == VerificationMode::Stateless;
    let age = settings.verification.max_age;
    let rules = [
        ("sessions.url", url.is_none() && (is_redis || kind == Memcached), "must say where this storage is"),
        ("sessions.url", url.is_some() && kind == Memory, "is not for sessions in memory"),
        ("sessions.url", is_redis && !starts(&["redis://"]), "must begin with redis://"),
        (
            "sessions.url",
            is_sql && !starts(&["postgres://", "postgresql://", "mysql://", "mariadb://"]),
            "must begin with postgres:// or mysql://; without it sessions are in the accounts' database",
        ),
        (
            "sessions.url",
            kind != RedisCluster && kind != RedisSentinel && url.is_some_and(|url| url.contains(',')),
            "must be one URL",
        ),
        (
            "sessions.url",
            kind == Tiered && url.is_none() && settings.accounts_are_in_a_file(),
            "must say where tiered sessions are: in the accounts' SQLite file they and a new password would wait for each other",
        ),
        (
            "sessions.cache_url",
            settings.sessions.cache_url.is_some() && kind != Tiered,
            "is for `sessions.storage` = tiered",
        ),
        (
            "verification.mode",
            mode == VerificationMode::Cached && kind != Tiered,
            "= cached needs `sessions.storage` = tiered",
        ),
        (
            "verification.mode",
            proves_itself && settings.backend == Backend::Opaque,
            "= feed or stateless needs `backend` = jwt",
        ),
        (
            "verification.mode",
            mode == VerificationMode::Feed && kind == Memcached,
            "= feed needs another `sessions.storage` than memcached",
        ),
        (
            "verification.max_age",
            age < Duration::from_millis(100) || age > Duration::from_mins(10),
            "must be 100ms to 10m",
        ),
        (
            "audit.sinks",
            settings.audit.sinks.contains(&AuditSink::Metrics) && !settings.metrics.enabled,
            "= metrics needs `metrics.enabled` = true",
        ),
        (
            "audit.sinks",
            settings
                .audit
                .sinks
                .iter()
                .enumerate()
                .any(|(index, sink)| settings.audit.sinks.iter().skip(index + 1).any(|other| other == sink)),
            "must name each sink once",
        ),
        (
            "suspicion.new_country",
            settings.suspicion.new_country.is_some() && settings.geoip.city.is_none(),
            "needs the file of `geoip.city`",
        ),
        (
            "suspicion.impossible_travel",
            settings.suspicion.impossible_travel.is_some() && settings.geoip.city.is_none(),
            "needs the file of `geoip.city`",
        ),
    ];
    rules.into_iter().filter(|rule| rule.1).map(|(key, _, why)| (key, why.to_owned())).collect()
}

/// Letters hold links that sign people in: they do not leave this machine in the clear.
fn mail(settings: &Settings) -> Vec<Fault> {
    let is_smtp = settings.mail.transport == MailTransport::Smtp;
    let url = settings.mail.url.as_ref().map(|url| Url::parse(url.expose()));
    let why = match url {
        None => is_smtp.then_some("must say where the mail server is, like smtps://user:password@host"),
        Some(Ok(url)) if url.scheme() == "smtps" => None,
        Some(Ok(url)) if url.scheme() == "smtp" => {
            // The first one counts.
            let tls = url.query_pairs().find(|(key, _)| key == "tls");
            let is_private = tls.is_some_and(|(_, value)| value == "required");
            let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            (!is_private && !is_here).then_some("must begin with smtps://, or end with ?tls=required")
        }
        Some(_) => Some("is no URL of SMTP; write it like smtps://user:password@host"),
    };
    why.map(|why| ("mail.url", why.to_owned())).into_iter().collect()
}

/// What the parts that are made of the values would refuse at the start.
fn refused(settings: &Settings, public_url: Option<&PublicUrl>) -> Vec<Fault> {
    let proxies = TrustedProxies::parse(settings.http.trusted_proxies.iter().map(ToString::to_string));
    let origin = CrossSitePolicy::new(public_url.map(PublicUrl::as_str));
    let database = settings.database.url.as_ref().and_then(database::fault);
    let faults = [
        ("http.trusted_proxies", proxies.err().map(|error| format!("cannot be trusted: {error}"))),
        ("public_url", origin.is_err().then(|| "is no origin that a browser names".to_owned())),
        ("database.url", database.map(str::to_owned)),
    ];
    faults.into_iter().filter_map(|(key, why)| Some((key, why?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Options;
    use crate::config::Tls;
    use crate::config::load::{Environment, load};

    type Change = fn(&mut Settings);

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(faults(&Settings::default()), []);
    }

    #[test]
    fn each_fault_names_its_key() {
        let cases: [(&str, Change); 17] = [
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
            ("http.max_connections", |s| s.http.max_connections = 15),
            ("http.max_connections", |s| s.http.max_connections = 1_000_001),
            ("tls.key", |s| s.tls.certificate = Some("c.pem".into())),
            ("tls.certificate", |s| s.tls.key = Some("k.pem".into())),
            ("public_url", |s| {
                s.tls = Tls { certificate: Some("c.pem".into()), key: Some("k.pem".into()) };
                s.public_url = PublicUrl::parse("http://localhost:8080").ok();
            }),
        ];
        for (key, change) in cases {
            let mut settings = Settings::default();
            change(&mut settings);
            let keys: Vec<_> = faults(&settings).into_iter().map(|fault| fault.0).collect();
            assert_eq!(keys, [key]);
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for (settings, keys) in [
            (&["sessions.storage=redis"][..], &["sessions.url"][..]),
            (&["sessions.storage=memcached"], &["sessions.url"]),
            (&["sessions.storage=memory", "sessions.url=redis://a"], &["sessions.url"]),
            (&["sessions.storage=redis", "sessions.url=postgres://a/b"], &["sessions.url"]),
            (&["sessions.storage=redis", "sessions.url=redis://a,redis://b"], &["sessions.url"]),
            (&["sessions.storage=redis-cluster", "sessions.url=redis://a,redis://b"], &[]),
            (&["sessions.url=sqlite:x.db"], &["sessions.url"]),
            (&["sessions.url=mariadb://a/b"], &[]),
            (&["sessions.cache_url=redis://a"], &["sessions.cache_url"]),
            (&["sessions.storage=tiered"], &["sessions.url"]),
            (&["sessions.storage=tiered", "database.url=postgres://a/b"], &[]),
            (&["sessions.storage=tiered", "sessions.url=postgres://a/b", "sessions.cache_url=redis://a"], &[]),
            (&["verification.mode=cached"], &["verification.mode"]),
            (&["verification.mode=cached", "sessions.storage=tiered", "sessions.url=postgres://a/b"], &[]),
            (&["verification.mode=feed", "backend=opaque"], &["verification.mode"]),
            (&["verification.mode=stateless", "backend=opaque"], &["verification.mode"]),
            (&["verification.mode=feed", "sessions.storage=memcached", "sessions.url=a:1"], &["verification.mode"]),
            (&["verification.max_age=1ms"], &["verification.max_age"]),
            (&["audit.sinks=metrics"], &["audit.sinks"]),
            (&["audit.sinks=metrics", "metrics.enabled=true"], &[]),
            (&["suspicion.new_country=record"], &["suspicion.new_country"]),
            (&["suspicion.impossible_travel=revoke"], &["suspicion.impossible_travel"]),
            (&["suspicion.device_change=step-up"], &[]),
            (&["mail.transport=smtp"], &["mail.url"]),
            (&["mail.transport=smtp", "mail.url=smtps://user:hunter2@mail.example.org"], &[]),
            (&["mail.transport=smtp", "mail.url=smtp://mail.example.org:587?tls=required"], &[]),
            (&["mail.transport=smtp", "mail.url=smtp://mail.example.org"], &["mail.url"]),
            (&["mail.transport=smtp", "mail.url=smtp://127.0.0.1:25"], &[]),
            (&["mail.url=https://mail.example.org"], &["mail.url"]),
            (&["mail.url=smtp://mail.example.org?tls=opportunistic&tls=required"], &["mail.url"]),
            (&["audit.sinks=log,log"], &["audit.sinks"]),
        ] {
            let set = settings.iter().filter_map(|pair| pair.split_once('='));
            let set = set.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let options = Options { set, ..Options::default() };
            let message = load(&options, Environment::new()).map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(message.is_empty(), keys.is_empty(), "{settings:?}: {message}");
            assert!(keys.iter().all(|key| message.contains(&format!("`{key}`"))), "{settings:?}: {message}");
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
