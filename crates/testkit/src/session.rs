//! Builds sessions with sensible defaults, so that a test names only what it is about.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use session_manager_core::clock::after;
use session_manager_core::{
    Actor, Authentication, Binding, Control, Device, DeviceKind, ExternalId, Location, Random, Seed, Session,
    SessionId, SessionRecord, UserId,
};

/// A session in the making: one day long at most, one hour without activity.
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    session: Session,
    seed: Seed,
}

impl SessionBuilder {
    /// A session of `user` that begins at `now`.
    pub fn new(user: &UserId, now: DateTime<Utc>, random: &dyn Random) -> Self {
        let id = SessionId::generate(user, now, random).expect("a session id");
        let mut session = Session::new(id, user.clone(), now, after(now, Duration::from_hours(24)));
        session.idle_timeout = Some(Duration::from_hours(1));
        Self { session, seed: Seed::generate(random).expect("a seed") }
    }

    /// How long it lives at most.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.session.expires_at = after(self.session.created_at, lifetime);
        self
    }

    /// How long it lives without activity; `None` is as long as it may.
    pub fn idle(mut self, timeout: Option<Duration>) -> Self {
        self.session.idle_timeout = timeout;
        self
    }

    /// The kind of its device.
    pub fn device(mut self, kind: DeviceKind) -> Self {
        let mut device = Device::default();
        device.kind = kind;
        self.session.device = Some(device);
        self
    }

    /// The address it comes from.
    pub fn ip(mut self, address: &str) -> Self {
        self.session.ip_address = Some(address.parse().expect("an IP address"));
        self
    }

    /// The place it comes from.
    pub fn place(mut self, country: &str, city: &str) -> Self {
        let mut location = Location::default();
        location.country = Some(country.to_owned());
        location.city = Some(city.to_owned());
        self.session.location = Some(location);
        self
    }

    /// Trusts its device, until some time or for ever.
    pub fn trusted(mut self, until: Option<DateTime<Utc>>) -> Self {
        (self.session.is_trusted, self.session.trusted_until) = (true, until);
        self
    }

    /// Its name elsewhere.
    pub fn external(mut self, sid: &str) -> Self {
        self.session.external = Some(external(sid));
        self
    }

    /// Another id: to collide with.
    pub fn id(mut self, id: SessionId) -> Self {
        self.session.id = id;
        self
    }

    /// An attribute of the application's.
    pub fn attribute(mut self, name: &str, value: Value) -> Self {
        self.session.attributes.insert(name.to_owned(), value);
        self
    }

    /// Fills every field there is, with the characters that get lost in careless storages.
    pub fn with_everything(mut self) -> Self {
        let now = self.session.created_at;
        self = self
            .ip("2001:db8::17")
            .trusted(Some(after(now, Duration::from_millis(86_399_999))))
            .external("sid/ünï:'\"%_\\")
            .attribute("nested", json!({"list": [1, -2.5, null, true, "\u{1F980}"], "": {}}))
            .attribute("große Zahl", json!(9_007_199_254_740_993_u64));
        let session = &mut self.session;
        session.user_agent = Some("Mozilla/5.0 (X11; Linux x86_64) 'quoted' \"twice\" \\ %".to_owned());
        session.device_info = Some("Firefox on Linux \u{1F98A}".to_owned());
        session.device_name = Some("Büro – O'Brien’s".to_owned());
        session.application = Some("web".to_owned());
        let mut device = Device::default();
        device.kind = DeviceKind::Desktop;
        device.browser = Some("Firefox".to_owned());
        device.browser_version = Some("150".to_owned());
        device.os = Some("Linux".to_owned());
        device.os_version = Some(String::new());
        device.model = Some("ThinkPad".to_owned());
        device.fingerprint = Some("0f1e2d".to_owned());
        session.device = Some(device);
        let mut location = Location::default();
        location.country = Some("DE".to_owned());
        location.region = Some("Nordrhein-Westfalen".to_owned());
        location.city = Some("Köln".to_owned());
        (location.latitude, location.longitude) = (Some(50.9375), Some(-6.960_278_6));
        (location.accuracy_km, location.asn) = (Some(5), Some(u32::MAX));
        location.organisation = Some("Example Ltd.".to_owned());
        session.location = Some(location);
        session.authentication = Authentication::at(now).by(["pwd", "otp"]).level("urn:example:aal2");
        session.authentication.step_up_since = Some(after(now, Duration::from_millis(1)));
        session.binding = Some(Binding::Dpop("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned()));
        session.actor = Some(Actor::Service("support desk".to_owned()));
        self
    }

    /// The session with its control part.
    pub fn record(self) -> SessionRecord {
        let created_at = self.session.created_at;
        let control = Control::new(self.seed, created_at, self.session.idle_deadline(created_at));
        SessionRecord::new(self.session, control)
    }
}

/// A name elsewhere, given by the kit's identity provider.
pub(crate) fn external(sid: &str) -> ExternalId {
    ExternalId { issuer: "https://idp.example".to_owned(), sid: sid.to_owned() }
}
