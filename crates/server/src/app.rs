//! What the handlers share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::Clock;

use crate::accounts::{Accounts, AdminRule, DeviceKey};
use crate::background::Background;
use crate::config::{PublicUrl, Settings};
use crate::data::Data;
use crate::exit::StartError;
use crate::mail::Mailer;
use crate::passwords::Passwords;
use crate::sessions::Sessions;

const CLEAN_EVERY: Duration = Duration::from_mins(5);
const CLEAN_BATCH: u32 = 1000;

/// The running service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    public_url: PublicUrl,
    accounts: Accounts,
    sessions: Sessions,
    devices: DeviceKey,
    mailer: Mailer,
    clock: Arc<dyn Clock>,
    background: Background,
    data: Data,
}

impl App {
    /// Puts the service together on an opened data folder and a bound address.
    pub(crate) async fn new(
        settings: Settings,
        data: Data,
        address: SocketAddr,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let public_url = public_url(&settings, address)?;
        // Two hashes per core at most would only take turns; one leaves nothing idle.
        let parallel = std::thread::available_parallelism().map_or(1, Into::into);
        let passwords = Passwords::new(parallel).await.map_err(|error| {
            StartError::environment("passwords cannot be hashed", error.to_string(), "Check memory and randomness.")
        })?;
        let mailer = Mailer::new(data.mail.clone(), public_url.clone());
        let admins = AdminRule::new(settings.admin.email.clone(), address.ip().to_canonical().is_loopback());
        let accounts = Accounts::new(data.pool.clone(), passwords, mailer.clone(), admins);
        let sessions =
            Sessions::new(&settings, &public_url, &data.pool, &data.keys, &accounts, Arc::clone(&clock)).await?;
        let background = Background::default();
        let devices = DeviceKey::new(data.keys.refresh_secret());
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                public_url,
                accounts,
                sessions,
                devices,
                mailer,
                clock,
                background,
                data,
            }),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The origin under which browsers reach the service.
    pub(crate) fn public_url(&self) -> &PublicUrl {
        &self.inner.public_url
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// Makes secrets for devices that keep none.
    pub(crate) fn devices(&self) -> &DeviceKey {
        &self.inner.devices
    }

    pub(crate) fn mailer(&self) -> &Mailer {
        &self.inner.mailer
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The present.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// Work that goes on after the answer and is waited for at the end.
    pub(crate) fn background(&self) -> &Background {
        &self.inner.background
    }

    pub(crate) fn data(&self) -> &Data {
        &self.inner.data
    }

    /// The clean-up of sessions and accounts: runs until it is dropped.
    pub(crate) fn maintenance(&self) -> impl Future<Output = ()> + Send + 'static {
        let (sessions, app) = (self.sessions().manager().maintenance(), self.clone());
        async move {
            futures_util::future::join(sessions, app.clean_accounts()).await;
        }
    }

    async fn clean_accounts(&self) {
        loop {
            self.clock().sleep(CLEAN_EVERY).await;
            match self.accounts().purge(CLEAN_BATCH, self.now()).await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "expired mail tokens and old failures were removed"),
                Err(error) => tracing::warn!(%error, "the clean-up of the accounts failed and will be tried again"),
            }
        }
    }
}

fn public_url(settings: &Settings, address: SocketAddr) -> Result<PublicUrl, StartError> {
    settings
        .public_url
        .clone()
        .or_else(|| PublicUrl::of_listener(address))
        .ok_or_else(|| StartError::config("there is no public URL", "none follows from the address", "Set public_url."))
}
