//! The session manager of this service: its storage, tokens, policy, cookies and request layer, put together once.

mod claims;
mod cookies;
mod parts;
pub(crate) mod remember;
mod schema;
mod sentinel;
mod stores;
mod trail;
mod transaction;

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use session_manager::factory::{SqlStorage, assemble};
use session_manager_core::storage::Severity;
use session_manager_core::{Clock, InvalidationBus, SessionManager, SessionObserver, SessionStorage};
use session_manager_http::{
    ClientAddressConfig, ClientAddressResolver, CrossSitePolicy, TrustedProxies, TrustedProxiesError,
};
use session_manager_middleware_axum::SessionLayer;

use crate::accounts::Accounts;
use crate::config::{PublicUrl, SessionStorageKind, Settings};
use crate::data::Data;
use crate::exit::StartError;
use crate::keys::LiveKeys;
use crate::limits::Counters;
use crate::sql::Pool;

pub(crate) use claims::with_role;
pub(crate) use cookies::{BrowserCookies, CLEAR_SITE_DATA};
pub(crate) use schema::{MYSQL as MYSQL_SESSIONS, POSTGRES as POSTGRES_SESSIONS};
pub(crate) use trail::Trail;
pub(crate) use transaction::PasswordChange;

/// The sessions of the service.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    manager: SessionManager,
    bus: Arc<dyn InvalidationBus>,
    counters: Option<Arc<dyn Counters>>,
    /// The storage as SQL, where it is: only that can join a transaction of the accounts.
    sql: Option<SqlStorage>,
    audit: Option<Trail>,
    metrics: Option<PrometheusHandle>,
    pool: Pool,
    cookies: BrowserCookies,
    layer: SessionLayer,
}

/// What of the service the manager works with.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) accounts: Accounts,
    pub(crate) keys: LiveKeys,
    pub(crate) clock: Arc<dyn Clock>,
    /// Told of what happens to sessions.
    pub(crate) observer: Arc<dyn SessionObserver>,
}

impl Sessions {
    /// Puts the manager together and makes sure that its storage keeps what it promises.
    ///
    /// # Errors
    /// A policy that makes no sense, tables that do not fit, and a server that cannot be reached.
    pub(crate) async fn new(
        settings: &Settings,
        public_url: &PublicUrl,
        data: &Data,
        wiring: Wiring,
    ) -> Result<Self, StartError> {
        let Wiring { accounts, keys, clock, observer } = wiring;
        let metrics = settings.metrics.enabled.then(|| PrometheusBuilder::new().build_recorder());
        let render = metrics.as_ref().map(PrometheusRecorder::handle);
        let resources = parts::resources(settings, data, (&accounts, &keys), clock, metrics.map(Arc::new))
            .map_err(|error| misfit(&error))?;
        let opened = stores::connect(settings, &data.for_sessions, resources.observer(observer)).await?;
        // The background work is asked of the manager when it is to begin.
        let (made, _) = assemble(&parts::config(settings), opened.resources).map_err(|error| misfit(&error))?;
        let manager = made.manager;
        // Those of another database have no part in the accounts' transactions.
        let beside_accounts = settings.sessions.storage == SessionStorageKind::Sqlx && settings.sessions.url.is_none();
        let sql = made.sql.filter(|_| beside_accounts);
        let audit = made.audit.and_then(Trail::of);
        examine(&manager).await?;
        let cookies = BrowserCookies::new(public_url).map_err(|error| misfit(&error))?;
        let cross_site = CrossSitePolicy::new([public_url.as_str()]).map_err(|error| misfit(&error))?;
        let layer = SessionLayer::new(manager.clone())
            .addresses(addresses(settings).map_err(|error| misfit(&error))?)
            .cookies(cookies.session(false), cross_site);
        Ok(Self {
            manager,
            bus: opened.bus,
            counters: opened.counters,
            sql,
            audit,
            metrics: render,
            pool: data.pool.clone(),
            cookies,
            layer,
        })
    }

    /// What is counted and measured, in the text format of Prometheus; nothing where it is switched off.
    pub(crate) fn metrics(&self) -> Option<&PrometheusHandle> {
        self.metrics.as_ref()
    }

    /// Counters that all nodes share, where the sessions are in a place for them.
    pub(crate) fn counters(&self) -> Option<&Arc<dyn Counters>> {
        self.counters.as_ref()
    }

    /// The audit table, where there is one.
    pub(crate) fn audit(&self) -> Option<&Trail> {
        self.audit.as_ref()
    }

    /// The manager.
    pub(crate) fn manager(&self) -> &SessionManager {
        &self.manager
    }

    /// What tells of sessions that change or end.
    pub(crate) fn bus(&self) -> &dyn InvalidationBus {
        &*self.bus
    }

    /// The cookies of browsers.
    pub(crate) fn cookies(&self) -> &BrowserCookies {
        &self.cookies
    }

    /// The layer that finds out who sent a request.
    pub(crate) fn layer(&self) -> SessionLayer {
        self.layer.clone()
    }
}

/// The storage that the settings name, by itself: for copying what is in it.
///
/// # Errors
/// A server that cannot be reached.
pub(crate) async fn storage(settings: &Settings, data: &Data) -> Result<Arc<dyn SessionStorage>, StartError> {
    let resources = parts::bare_resources(&data.keys).map_err(|error| misfit(&error))?;
    let opened = stores::connect(settings, &data.for_sessions, resources).await?;
    let (made, _) = assemble(&parts::bare_config(settings), opened.resources).map_err(|error| misfit(&error))?;
    Ok(made.storage)
}

/// Refuses to start on a storage that would break a promise.
async fn examine(manager: &SessionManager) -> Result<(), StartError> {
    let health = manager.check().await.map_err(|error| {
        let remedy = "Run `session-manager-server doctor`; check the server of the sessions, or the database file and the space on the disk.";
        StartError::environment("the session storage cannot be read", error.to_string(), remedy)
    })?;
    for finding in &health.findings {
        if finding.severity == Severity::Warning {
            tracing::warn!(finding = finding.message, "the session storage could do better");
        }
    }
    if health.is_sound() {
        return Ok(());
    }
    let errors = health.findings.into_iter().filter(|finding| finding.severity >= Severity::Error);
    let list: Vec<_> = errors.map(|finding| finding.message).collect();
    Err(StartError::environment(
        "the session tables of the database do not fit this server",
        list.join("; "),
        "Restore the database from the backup or choose another folder with --data FOLDER.",
    ))
}

fn addresses(settings: &Settings) -> Result<ClientAddressResolver, TrustedProxiesError> {
    let trusted_proxies = TrustedProxies::parse(settings.http.trusted_proxies.iter().map(ToString::to_string))?;
    let header = settings.http.address_header.clone();
    Ok(ClientAddressResolver::new(ClientAddressConfig { trusted_proxies, header, ..ClientAddressConfig::default() }))
}

fn misfit(error: &dyn std::error::Error) -> StartError {
    StartError::config("the sessions cannot be set up", error.to_string(), "Correct the configuration and start again.")
}

#[cfg(test)]
mod tests;
