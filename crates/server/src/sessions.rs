//! The session manager of this service: its storage, tokens, policy, cookies and request layer, put together once.

mod claims;
mod cookies;
mod parts;
pub(crate) mod remember;
mod transaction;

use std::sync::Arc;

use session_manager_core::storage::Severity;
use session_manager_core::{Clock, InvalidationBus, LocalBus, SessionManager};
use session_manager_http::{
    ClientAddressConfig, ClientAddressResolver, CrossSitePolicy, TrustedProxies, TrustedProxiesError,
};
use session_manager_middleware_axum::SessionLayer;
use session_manager_storage_sqlx::SqlxStorage;
use sqlx::{Sqlite, SqlitePool};

use crate::accounts::Accounts;
use crate::config::{PublicUrl, Settings};
use crate::exit::StartError;
use crate::keys::Keys;

pub(crate) use claims::with_role;
pub(crate) use cookies::{BrowserCookies, CLEAR_SITE_DATA};
pub(crate) use transaction::PasswordChange;

/// The sessions of the service.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    manager: SessionManager,
    bus: Arc<dyn InvalidationBus>,
    /// The storage as SQL, where it is: only that can join a transaction of the accounts.
    sql: Option<SqlxStorage<Sqlite>>,
    pool: SqlitePool,
    cookies: BrowserCookies,
    layer: SessionLayer,
}

impl Sessions {
    /// Puts the manager together and makes sure that its storage keeps what it promises.
    ///
    /// # Errors
    /// A policy that makes no sense, and tables that do not fit.
    pub(crate) async fn new(
        settings: &Settings,
        public_url: &PublicUrl,
        pool: &SqlitePool,
        keys: &Keys,
        accounts: &Accounts,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let (storage, sql) = parts::storage(settings, pool).map_err(|error| misfit(&error))?;
        let bus: Arc<dyn InvalidationBus> = Arc::new(LocalBus::new());
        let mut builder = SessionManager::builder()
            .storage(storage)
            .backend(parts::backend(settings, keys, accounts).map_err(|error| misfit(&error))?)
            .policy(parts::policy(&settings.policy))
            .bus(Arc::clone(&bus))
            .clock(clock)
            // What `sessions.storage = memory` means is warned of at the start.
            .allow_volatile(true);
        for (sink, delivery) in parts::audit(settings) {
            builder = builder.audit(sink, delivery);
        }
        let manager = builder.build().map_err(|error| misfit(&error))?;
        examine(&manager).await?;
        let cookies = BrowserCookies::new(public_url).map_err(|error| misfit(&error))?;
        let cross_site = CrossSitePolicy::new([public_url.as_str()]).map_err(|error| misfit(&error))?;
        let layer = SessionLayer::new(manager.clone())
            .addresses(addresses(settings).map_err(|error| misfit(&error))?)
            .cookies(cookies.session(false), cross_site);
        Ok(Self { manager, bus, sql, pool: pool.clone(), cookies, layer })
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

/// Refuses to start on a storage that would break a promise.
async fn examine(manager: &SessionManager) -> Result<(), StartError> {
    let health = manager.check().await.map_err(|error| {
        let remedy = "Check the database file and the space on the disk, or choose another folder with --data FOLDER.";
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
