//! What the handlers share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::Clock;

use crate::accounts::{Accounts, AdminRule, DeviceKey};
use crate::background::Background;
use crate::config::{MailTransport, PublicUrl, Settings};
use crate::data::Data;
use crate::exit::{StartError, reason};
use crate::files;
use crate::flows::SuspicionMails;
use crate::keys::{LiveKeys, Overlap};
use crate::limits::{Letters, Limiter};
use crate::mail::{Mailer, Outbox};
use crate::passwords::Passwords;
use crate::problem::Rejection;
use crate::providers::Providers;
use crate::readiness::Readiness;
use crate::sessions::{Sessions, Wiring};
use crate::streams::Streams;

const CLEAN_EVERY: Duration = Duration::from_mins(5);
const MARK_EVERY: Duration = Duration::from_mins(1);
const FOLD_EVERY: Duration = Duration::from_secs(5);
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
    local: bool,
    accounts: Accounts,
    keys: LiveKeys,
    sessions: Sessions,
    providers: Providers,
    devices: DeviceKey,
    mailer: Mailer,
    clock: Arc<dyn Clock>,
    /// None while rate limits are switched off.
    limiter: Option<Arc<Limiter>>,
    /// None as well.
    letters: Option<Letters>,
    background: Background,
    streams: Streams,
    readiness: Readiness<Result<(), Rejection>>,
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
        let limiter = settings.rate_limits.enabled.then(|| Arc::new(Limiter::new(Arc::clone(&clock))));
        let letters = limiter.clone().map(|limiter| Letters::new(limiter, data.keys.root_secret()));
        let mailer = mailer(&settings, &data, &public_url, &clock)?;
        let mailer = match &letters {
            Some(letters) => mailer.within(letters.clone()),
            None => mailer,
        };
        let local = serves_this_machine_only(address, &public_url);
        let admins = AdminRule::new(settings.admin.email.clone(), local);
        let accounts = Accounts::new(data.pool.clone(), passwords, mailer.clone(), admins);
        let providers = Providers::new(&settings, &public_url, &data.pool, &data.keys)?;
        let background = Background::default();
        let mails = SuspicionMails::new(accounts.clone(), mailer.clone(), background.clone());
        let keys = LiveKeys::new(&data.keys, Overlap::of(&settings.policy), Arc::clone(&clock)).map_err(|error| {
            StartError::environment("the key file cannot be used", error.to_string(), "Restore it from the backup.")
        })?;
        let wiring = Wiring {
            accounts: accounts.clone(),
            keys: keys.clone(),
            clock: Arc::clone(&clock),
            observer: Arc::new(mails),
        };
        let sessions = Sessions::new(&settings, &public_url, &data, wiring).await?;
        // Counting in the sessions' Redis, where there is one, and else in this process.
        if let (Some(limiter), Some(counters)) = (&limiter, sessions.counters()) {
            limiter.share(Arc::clone(counters));
        }
        let devices = DeviceKey::new(data.keys.root_secret());
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                public_url,
                local,
                accounts,
                keys,
                sessions,
                providers,
                devices,
                mailer,
                readiness: Readiness::new(Arc::clone(&clock)),
                clock,
                limiter,
                letters,
                background,
                streams: Streams::default(),
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

    /// Whether nobody beyond this machine is meant to reach the service.
    pub(crate) fn is_local(&self) -> bool {
        self.inner.local
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// The keys of tokens.
    pub(crate) fn keys(&self) -> &LiveKeys {
        &self.inner.keys
    }

    /// The providers of others, and the users' connections to them.
    pub(crate) fn providers(&self) -> &Providers {
        &self.inner.providers
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

    /// What counts requests; none while rate limits are switched off.
    pub(crate) fn limiter(&self) -> Option<Arc<Limiter>> {
        self.inner.limiter.clone()
    }

    /// What counts letters; none while rate limits are switched off.
    pub(crate) fn letters(&self) -> Option<&Letters> {
        self.inner.letters.as_ref()
    }

    /// Whether the service can do its work.
    pub(crate) fn readiness(&self) -> &Readiness<Result<(), Rejection>> {
        &self.inner.readiness
    }

    /// Work that goes on after the answer and is waited for at the end.
    pub(crate) fn background(&self) -> &Background {
        &self.inner.background
    }

    /// Event streams that are open.
    pub(crate) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    pub(crate) fn data(&self) -> &Data {
        &self.inner.data
    }

    /// The clean-up of sessions and accounts: runs until it is dropped.
    pub(crate) fn maintenance(&self) -> impl Future<Output = ()> + Send + 'static {
        let (sessions, app) = (self.sessions().manager().maintenance(), self.clone());
        async move {
            futures_util::future::join5(
                sessions,
                app.clean_accounts(),
                app.fold_metrics(),
                app.mark_progress(),
                app.hand_on_mail(),
            )
            .await;
        }
    }

    /// Measurements wait in memory until they are folded into their histograms.
    async fn fold_metrics(&self) {
        let Some(metrics) = self.sessions().metrics() else { return };
        loop {
            self.clock().sleep(FOLD_EVERY).await;
            metrics.run_upkeep();
        }
    }

    /// So that a backup that is restored is told from the database that it replaces.
    async fn mark_progress(&self) {
        loop {
            self.clock().sleep(MARK_EVERY).await;
            if let Err(error) = self.data().mark.advance(self.now()).await {
                tracing::warn!(%error, "the backup mark could not be moved on and will be tried again");
            }
        }
    }

    async fn hand_on_mail(&self) {
        if let Some(outbox) = self.mailer().outbox() {
            outbox.run().await;
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
            if let Err(error) = self.providers().connections().purge(CLEAN_BATCH, self.now()).await {
                tracing::warn!(%error, "the clean-up of the authorisations failed and will be tried again");
            }
        }
    }
}

fn public_url(settings: &Settings, address: SocketAddr) -> Result<PublicUrl, StartError> {
    settings
        .public_url
        .clone()
        .or_else(|| PublicUrl::of_listener(address, settings.certificate().is_some()))
        .ok_or_else(|| StartError::config("there is no public URL", "none follows from the address", "Set public_url."))
}

/// To the spool folder, or through the outbox to a mail server.
fn mailer(
    settings: &Settings,
    data: &Data,
    public_url: &PublicUrl,
    clock: &Arc<dyn Clock>,
) -> Result<Mailer, StartError> {
    let Some(url) = settings.mail.url.as_ref().filter(|_| settings.mail.transport == MailTransport::Smtp) else {
        return Ok(Mailer::new(data.mail.clone(), public_url.clone()));
    };
    let folder = settings.data.join("outbox");
    files::make_folder(&folder).map_err(|error| {
        StartError::environment(
            format!("the folder {} cannot be made", folder.display()),
            reason(&error),
            "Correct the permissions of the data folder.",
        )
    })?;
    let outbox = Outbox::new(folder, url, Arc::clone(clock)).map_err(|why| {
        StartError::config("`mail.url` cannot be used", why, "Write it like smtps://user:password@host.")
    })?;
    Ok(Mailer::over(public_url.clone(), outbox, settings.mail.from.clone()))
}

/// Listening on loopback alone does not say so: a proxy on this machine brings in strangers, and `public_url` is how it becomes known.
fn serves_this_machine_only(address: SocketAddr, public_url: &PublicUrl) -> bool {
    address.ip().to_canonical().is_loopback() && public_url.is_loopback()
}

#[cfg(test)]
mod tests {
    use session_manager_core::SystemClock;

    use super::*;
    use crate::accounts::{EmailAddress, PersonName, Registration, Role};
    use crate::passwords::Password;

    async fn role_of_the_first(address: &str, public_url: Option<&str>) -> Role {
        let folder = tempfile::tempdir().unwrap();
        let public_url = public_url.map(|url| PublicUrl::parse(url).unwrap());
        let settings = Settings { data: folder.path().to_owned(), public_url, ..Settings::default() };
        let data = Data::open(&settings).await.unwrap();
        let app = App::new(settings, data, address.parse().unwrap(), Arc::new(SystemClock)).await.unwrap();
        let email = EmailAddress::parse("first@example.org").unwrap();
        let registration = Registration {
            email: email.clone(),
            name: PersonName::parse("Ann").unwrap(),
            password: Password::new("Correct-Horse-7".to_owned()),
        };
        app.accounts().register(registration, app.now()).await.unwrap();
        let mail = std::fs::read_dir(&app.data().mail).unwrap().next().unwrap().unwrap().path();
        let mail = std::fs::read_to_string(mail).unwrap();
        let token = mail.lines().find_map(|line| line.split_once("?token=")).unwrap().1.trim();
        app.accounts().verify_email(token, app.now()).await.unwrap().unwrap();
        app.accounts().find_by_email(&email).await.unwrap().unwrap().role
    }

    #[tokio::test]
    async fn the_first_account_is_the_administrator_on_this_machine_alone() {
        for (address, public_url, role) in [
            ("127.0.0.1:8080", None, Role::Admin),
            ("[::1]:8080", Some("http://localhost:8080"), Role::Admin),
            ("127.0.0.1:8080", Some("https://accounts.example.org"), Role::User),
            ("0.0.0.0:8080", Some("https://accounts.example.org"), Role::User),
            ("0.0.0.0:8080", Some("http://localhost:8080"), Role::User),
        ] {
            assert_eq!(role_of_the_first(address, public_url).await, role, "{address} {public_url:?}");
        }
    }
}
