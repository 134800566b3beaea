//! Layers, unknown keys, and bad values.

use std::time::Duration;

use super::*;
use crate::config::{AuditSink, OnLimit, SessionStorageKind, print::print};

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn set(pairs: &[&str]) -> Options {
    let pair = |pair: &&str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    Options { set: pairs.iter().filter_map(pair).collect(), ..Options::default() }
}

fn with_file(text: &str) -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Options { config: Some(path), ..Options::default() })
}

fn message(result: Result<Settings, StartError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(load(&Options::default(), Environment::new()).unwrap(), Settings::default());
}

#[test]
fn the_last_layer_wins() {
    let (_folder, mut options) =
        with_file("listen = '127.0.0.1:1'\n[policy]\nrefresh_grace = '1s'\nmax_sessions = 7\n");
    let environment = variables(&[
        ("SESSION_MANAGER__POLICY__REFRESH_GRACE", "2s"),
        ("SESSION_MANAGER__POLICY__TOUCH_INTERVAL", "3s"),
        ("SESSION_MANAGER", "local/host:@/tmp/.ICE-unix/1"),
        ("SESSION_MANAGER_OTHER", "x"),
    ]);
    options.set = vec![("policy.touch_interval".into(), "4s".into()), ("listen".into(), "127.0.0.1:2".into())];
    options.listen = Some("127.0.0.1:3".into());
    let settings = load(&options, environment).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.policy.max_sessions, 7);
    assert_eq!(settings.policy.refresh_grace, Duration::from_secs(2));
    assert_eq!(settings.policy.touch_interval, Duration::from_secs(4));
}

#[test]
fn every_type_can_be_written_as_text() {
    let options = set(&[
        "policy.max_sessions=9",
        "policy.on_limit=evict-idlest",
        "policy.absolute_lifetime=1d 2h",
        "sessions.storage=memory",
        "rate_limits.enabled=false",
        "http.trusted_proxies=10.0.0.0/8, ::1",
        "http.address_header= X-Real-IP",
        "audit.sinks=",
        "admin.email= Root@Example.ORG",
        "public_url=https://accounts.example.org/",
    ]);
    let settings = load(&options, Environment::new()).unwrap();
    assert_eq!(settings.policy.max_sessions, 9);
    assert_eq!(settings.policy.on_limit, OnLimit::EvictIdlest);
    assert_eq!(settings.policy.absolute_lifetime, Duration::from_hours(26));
    assert_eq!(settings.sessions.storage, SessionStorageKind::Memory);
    assert!(!settings.rate_limits.enabled && Settings::default().rate_limits.enabled);
    assert_eq!(settings.http.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(settings.http.address_header.to_string(), "x-real-ip");
    assert_eq!(settings.audit.sinks, []);
    assert_eq!(settings.admin.email.unwrap().as_str(), "root@example.org");
    assert_eq!(settings.public_url.unwrap().as_str(), "https://accounts.example.org");
}

#[test]
fn lists_come_from_files_and_from_text() {
    for text in ["[audit]\nsinks = ['log']", "[audit]\nsinks = 'log'", "audit.sinks = [\"log\"]"] {
        let (_folder, options) = with_file(text);
        assert_eq!(load(&options, Environment::new()).unwrap().audit.sinks, [AuditSink::Log]);
    }
    assert_eq!(load(&set(&["audit.sinks=[\"log\"]"]), Environment::new()).unwrap().audit.sinks, [AuditSink::Log]);
}

#[test]
fn unknown_keys_are_named_with_their_origin() {
    let (_folder, options) = with_file("[policy]\nrefresh_gracee = '1s'\n[polcy]\nx = 1\ny = 2\n");
    let text = message(load(&options, Environment::new()));
    assert!(text.contains("`policy.refresh_gracee` in the config file"), "{text}");
    assert!(text.contains("`polcy` in the config file") && !text.contains("polcy.x"), "{text}");
    let cases = [
        (
            Options::default(),
            variables(&[("SESSION_MANAGER__POLICY__GRACE", "1s")]),
            "`policy.grace` in the environment",
        ),
        (set(&["listen.port=1"]), Environment::new(), "`listen.port` on the command line (--set)"),
        (set(&["polcy.a.b=1"]), Environment::new(), "`polcy` on the command line (--set)"),
        (set(&["nothing=1"]), Environment::new(), "`nothing` on the command line (--set)"),
        (set(&["a[b=1"]), Environment::new(), "`a[b` on the command line (--set)"),
        (set(&["policy=1"]), Environment::new(), "`policy` on the command line (--set)"),
    ];
    for (options, environment, expected) in cases {
        let text = message(load(&options, environment));
        assert!(text.starts_with("unknown config key") && text.contains(expected), "{text}");
    }
}

#[test]
fn bad_values_name_the_key_and_not_the_value() {
    for (setting, reason) in [
        ("policy.refresh_grace=hunter2", "30d, 7d, 5m or 10s"),
        ("policy.max_sessions=-1", ""),
        ("policy.max_sessions=hunter2", ""),
        ("policy.on_limit=hunter2", "evict-oldest"),
        ("sessions.storage=hunter2", "redis-cluster"),
        ("listen=hunter2", ""),
        ("http.trusted_proxies=hunter2", "10.0.0.0/8"),
        ("http.address_header=hunter2 \u{e9}", "x-forwarded-for, forwarded"),
        ("public_url=hunter2", "https://"),
        ("admin.email=hunter2", "address"),
        ("metrics.enabled=hunter2", "boolean"),
        ("audit.sinks=log,hunter2", "metrics"),
    ] {
        let text = message(load(&set(&[setting]), Environment::new()));
        let key = setting.split('=').next().unwrap();
        assert!(text.starts_with(&format!("bad value for config key `{key}`")), "{text}");
        assert!(text.contains(reason) && !text.contains('\n') && !text.contains("hunter2"), "{setting}: {text}");
    }
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_told_without_its_text() {
    let missing = Options { config: Some("/nonexistent/server.toml".into()), ..Options::default() };
    assert!(message(load(&missing, Environment::new())).contains("/nonexistent/server.toml"));
    let (_folder, options) = with_file("[database]\nurl = 'postgres://app:hunter2\n");
    let text = message(load(&options, Environment::new()));
    assert!(text.contains("not valid TOML") && text.contains("line 2") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_database_that_nobody_knows_is_refused_by_name() {
    let text = message(load(&set(&["database.url=oracle://app:hunter2@db/x"]), Environment::new()));
    assert!(text.contains("`database.url`") && text.contains("postgres://"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let changed = ["policy.refresh_grace=2s", "data=/a \"b\" c", "http.address_header=forwarded"];
    let settings = load(&set(&changed), Environment::new()).unwrap();
    let (_folder, options) = with_file(&print(&settings));
    assert_eq!(load(&options, Environment::new()).unwrap(), settings);
    assert!(
        print(&settings).contains("policy.refresh_grace = \"2s\"\n# public_url")
            || print(&settings).contains("# public_url is not set")
    );
}

#[test]
fn print_masks_secrets() {
    // Loaded, it would be refused; that the query is masked does not depend on that.
    let url =
        serde_json::json!({"database": {"url": "sqlite:x.db?key=hunter2"}, "sessions": {"url": "redis://:hunter2@a"}});
    let settings: Settings = serde_json::from_value(url).unwrap();
    let network =
        load(&set(&["database.url=postgres://app:hunter2@db/x?sslcert=hunter2"]), Environment::new()).unwrap();
    assert!(print(&network).contains("database.url = \"postgres://app:***@db/x?***\""), "{}", print(&network));
    assert!(!print(&settings).contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

const ACME: &str = "[providers.acme]\nname = 'Acme'\nclient_id = 'us'\nclient_secret = 'hunter2'\n\
    auth_url = 'https://acme.example/auth'\ntoken_url = 'https://acme.example/token'\nscopes = ['read', 'write']\n";

#[test]
fn providers_come_from_every_layer() {
    let (_folder, mut options) = with_file(ACME);
    options.set = vec![
        ("providers.acme-bank.name".into(), "Acme Bank".into()),
        ("providers.acme.scopes".into(), "accounts, balances history".into()),
    ];
    let environment = variables(&[("SESSION_MANAGER__PROVIDERS__ACME__CLIENT_SECRET", "hunter3")]);
    let settings = load(&options, environment).unwrap();
    assert_eq!(settings.providers.keys().collect::<Vec<_>>(), ["acme", "acme-bank"]);
    let acme = &settings.providers["acme"];
    assert_eq!(acme.client_secret.as_ref().unwrap().expose(), "hunter3");
    assert_eq!(acme.scopes, ["accounts", "balances", "history"]);
    let printed = print(&settings);
    assert!(printed.contains("providers.acme.client_secret = \"***\"\n"), "{printed}");
    assert!(printed.contains("# providers.acme.revocation_url is not set\n"), "{printed}");
    assert!(!printed.contains("hunter") && !format!("{settings:?}").contains("hunter"));
    // What is printed can be read again, the masked secret as such.
    let (_folder, again) = with_file(&printed);
    assert_eq!(print(&load(&again, Environment::new()).unwrap()), printed);
}

#[test]
fn faults_of_providers_name_their_key() {
    for (setting, expected) in [
        ("providers.acme.colour=red", "unknown config key: `providers.acme.colour`"),
        ("providers.acme.scopes.x=red", "unknown config key: `providers.acme.scopes.x`"),
        ("providers=x", "unknown config key: `providers`"),
        ("providers.acme=x", "unknown config key: `providers.acme`"),
        (
            "providers.acme.auth_url=http://acme.example/hunter2",
            "bad value for config key `providers.acme.auth_url`: it must be https",
        ),
        ("providers.acme.client_auth=hunter2", "bad value for config key `providers.acme.client_auth`: expected"),
        ("providers.acme.name=", "`providers.acme.name` must not be empty"),
        ("providers.other.client_id=us", "`providers.other.token_url` must be set"),
    ] {
        let (_folder, mut options) = with_file(ACME);
        options.set = vec![setting.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap()];
        let text = message(load(&options, Environment::new()));
        assert!(text.contains(expected) && !text.contains("hunter2"), "{setting}: {text}");
    }
}

const SHOP: &str = "[oauth.clients.shop]\nsecret = 'hunter2-hunter2-hunter2'\n";

#[test]
fn clients_come_from_every_layer_and_their_secrets_are_masked() {
    let (_folder, mut options) = with_file(SHOP);
    options.set = vec![("oauth.clients.pay_roll.secret".into(), "hunter3-hunter3-hunter3".into())];
    let environment = variables(&[("SESSION_MANAGER__OAUTH__CLIENTS__SHOP__SECRET", "hunter4-hunter4-hunter4")]);
    let settings = load(&options, environment).unwrap();
    assert_eq!(settings.oauth.clients.keys().collect::<Vec<_>>(), ["pay_roll", "shop"]);
    assert_eq!(settings.oauth.clients["shop"].secret.expose(), "hunter4-hunter4-hunter4");
    let printed = print(&settings);
    assert!(printed.contains("oauth.clients.shop.secret = \"***\"\n"), "{printed}");
    assert!(!printed.contains("hunter") && !format!("{settings:?}").contains("hunter"));
    // The mask is no secret: whoever starts with what was printed is told.
    let (_folder, again) = with_file(&printed);
    let text = message(load(&again, Environment::new()));
    assert!(text.contains("`oauth.clients.shop.secret` must have at least 16 bytes"), "{text}");
}

#[test]
fn faults_of_clients_name_their_key() {
    for (setting, expected) in [
        ("oauth.clients.shop.colour=red", "unknown config key: `oauth.clients.shop.colour`"),
        ("oauth.client.shop.secret=red", "unknown config key: `oauth.client`"),
        ("oauth=x", "unknown config key: `oauth`"),
        ("oauth.clients.shop=x", "unknown config key: `oauth.clients.shop`"),
        ("oauth.clients.shop.secret=hunter2", "`oauth.clients.shop.secret` must have at least 16 bytes"),
        (
            "oauth.clients.a-name-beyond-thirty-two-characters.secret=hunter2-hunter2-hunter2",
            "`oauth.clients.a-name-beyond-thirty-two-characters` must have an id of 1 to 32",
        ),
    ] {
        let (_folder, mut options) = with_file(SHOP);
        options.set = vec![setting.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap()];
        let text = message(load(&options, Environment::new()));
        assert!(text.contains(expected) && !text.contains("hunter2"), "{setting}: {text}");
    }
}
