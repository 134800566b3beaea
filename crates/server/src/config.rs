//! The configuration: every key with its type and default. Layers, checks and printing are in the submodules.

mod check;
mod database;
mod load;
mod oauth;
mod print;
mod providers;
mod sqlite;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use session_manager::factory::Suspicion;
use session_manager_http::AddressHeader;

pub(crate) use check::check;
pub(crate) use load::load;
pub(crate) use oauth::{OAuth, OAuthClient, OAuthClients};
pub(crate) use print::print;
pub(crate) use providers::{ClientAuth, ClientSecret, EndpointUrl, Provider, Providers};
pub(crate) use sqlite::SqliteFile;
pub(crate) use values::{PublicUrl, SecretUrl};

use crate::accounts::EmailAddress;
use crate::certificate::Certificate;

/// The effective settings, valid and possible in this build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// The listener's own TLS; without it, it speaks HTTP.
    pub(crate) tls: Tls,
    pub(crate) data: PathBuf,
    /// What browsers and mails use; without it `http://` and the address listened on.
    pub(crate) public_url: Option<PublicUrl>,
    #[serde(deserialize_with = "values::choice")]
    pub(crate) backend: Backend,
    pub(crate) database: Database,
    pub(crate) sessions: Sessions,
    pub(crate) policy: Policy,
    pub(crate) verification: Verification,
    /// What is done about sessions that look wrong.
    pub(crate) suspicion: Suspicion,
    pub(crate) http: Http,
    pub(crate) rate_limits: RateLimits,
    pub(crate) mail: Mail,
    pub(crate) admin: Admin,
    pub(crate) metrics: Switch,
    pub(crate) geoip: GeoIp,
    pub(crate) audit: Audit,
    /// What users can connect to, by key.
    pub(crate) providers: Providers,
    /// Who may ask about tokens.
    pub(crate) oauth: OAuth,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            tls: Tls::default(),
            data: PathBuf::from("./data"),
            public_url: None,
            backend: Backend::Jwt,
            database: Database::default(),
            sessions: Sessions::default(),
            policy: Policy::default(),
            verification: Verification::default(),
            suspicion: Suspicion::default(),
            http: Http::default(),
            rate_limits: RateLimits::default(),
            mail: Mail::default(),
            admin: Admin::default(),
            metrics: Switch::default(),
            geoip: GeoIp::default(),
            audit: Audit::default(),
            providers: Providers::new(),
            oauth: OAuth::default(),
        }
    }
}

impl Settings {
    /// Whether accounts are in a file of SQLite.
    pub(crate) fn accounts_are_in_a_file(&self) -> bool {
        self.database.url.as_ref().is_none_or(|url| url.expose().starts_with("sqlite:"))
    }

    /// The listener's certificate, where it has one.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        let (chain, key) = self.tls.certificate.clone().zip(self.tls.key.clone())?;
        Some(Certificate { chain, key })
    }
}

/// Certificate and key of the listener, as files of PEM: both or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// The chain, the server's own certificate first.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// Which tokens are issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    Jwt,
    Opaque,
}

/// Where accounts live; without a URL in `session-manager.sqlite3` of the data folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: Option<SecretUrl>,
}

/// Where sessions live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sessions {
    #[serde(deserialize_with = "values::choice")]
    pub(crate) storage: SessionStorageKind,
    pub(crate) url: Option<SecretUrl>,
    pub(crate) cache_url: Option<SecretUrl>,
}

/// The session storages of the reference service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SessionStorageKind {
    Memory,
    #[default]
    Sqlx,
    Redis,
    RedisCluster,
    RedisSentinel,
    Memcached,
    Tiered,
}

/// Lifetimes and limits of sessions; becomes the core's `SessionPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(with = "values::duration")]
    pub(crate) absolute_lifetime: Duration,
    #[serde(with = "values::duration")]
    pub(crate) idle_timeout: Duration,
    pub(crate) max_sessions: u32,
    #[serde(deserialize_with = "values::choice")]
    pub(crate) on_limit: OnLimit,
    #[serde(with = "values::duration")]
    pub(crate) access_token_lifetime: Duration,
    #[serde(with = "values::duration")]
    pub(crate) refresh_grace: Duration,
    #[serde(with = "values::duration")]
    pub(crate) touch_interval: Duration,
    #[serde(with = "values::duration")]
    pub(crate) step_up_max_age: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Self {
            absolute_lifetime: Duration::from_secs(30 * DAY),
            idle_timeout: Duration::from_secs(7 * DAY),
            max_sessions: 5,
            on_limit: OnLimit::EvictOldest,
            access_token_lifetime: Duration::from_secs(5 * MINUTE),
            refresh_grace: Duration::from_secs(10),
            touch_interval: Duration::from_secs(MINUTE),
            step_up_max_age: Duration::from_secs(15 * MINUTE),
        }
    }
}

impl Policy {
    /// The same policy with each shorter limit inside the absolute lifetime, so that setting that one low is enough.
    pub(crate) fn nested(self) -> Self {
        Self {
            idle_timeout: self.idle_timeout.min(self.absolute_lifetime),
            access_token_lifetime: self.access_token_lifetime.min(self.absolute_lifetime),
            step_up_max_age: self.step_up_max_age.min(self.absolute_lifetime),
            ..self
        }
    }
}

/// What a sign-in beyond `policy.max_sessions` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnLimit {
    EvictOldest,
    EvictIdlest,
    Reject,
    Unlimited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Verification {
    #[serde(deserialize_with = "values::choice")]
    pub(crate) mode: VerificationMode,
    /// How late a node may see, with `cached` or `feed`, what another node ended; also the age of a tiered storage's answers.
    #[serde(with = "values::duration")]
    pub(crate) max_age: Duration,
}

impl Default for Verification {
    fn default() -> Self {
        Self { mode: VerificationMode::default(), max_age: Duration::from_secs(5) }
    }
}

/// How an access token is checked against the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VerificationMode {
    #[default]
    Always,
    Cached,
    Feed,
    Stateless,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Connections at once. Each takes one of the process's descriptors.
    pub(crate) max_connections: u32,
    /// Peers whose forwarding headers count.
    #[serde(with = "values::networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The one header in which they name the client.
    #[serde(with = "values::address_header")]
    pub(crate) address_header: AddressHeader,
}

impl Default for Http {
    fn default() -> Self {
        // Files and databases need the rest of the 1024 descriptors that a process usually has.
        Self { max_connections: 768, trusted_proxies: Vec::new(), address_header: AddressHeader::default() }
    }
}

/// Whether requests are counted. On unless switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RateLimits {
    pub(crate) enabled: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Switch {
    pub(crate) enabled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mail {
    #[serde(deserialize_with = "values::choice")]
    pub(crate) transport: MailTransport,
    /// Folder of the spooled mail; without it `mail` in the data folder.
    pub(crate) spool: Option<PathBuf>,
    /// The mail server: `smtps://[user:password@]host[:port]`, or `smtp://…?tls=required` for STARTTLS.
    pub(crate) url: Option<SecretUrl>,
    /// From whom letters are; without it `no-reply` at the host of `public_url`.
    pub(crate) from: Option<EmailAddress>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MailTransport {
    #[default]
    Spool,
    Smtp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) email: Option<EmailAddress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GeoIp {
    pub(crate) city: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// Empty is no-op.
    #[serde(with = "values::sinks")]
    pub(crate) sinks: Vec<AuditSink>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { sinks: vec![AuditSink::Log] }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuditSink {
    Log,
    Db,
    Metrics,
}
