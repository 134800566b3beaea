//! Travel that nobody makes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use quick_cache::unsync::Cache;
use session_manager_core::clock::after;
use session_manager_core::{
    Evidence, Location, Occasion, Result, Session, SessionId, SuspicionAction, SuspicionRule, UserId,
};

use crate::changes::{QUIET, REMEMBERED, is_carried_out};
use crate::history::History;

/// The mean radius of the earth in kilometres (IUGG).
const EARTH: f64 = 6371.0;
/// Databases of places are off by so much at the least.
const NEAR: f64 = 500.0;
/// Kilometres an hour; airliners fly 900.
const FASTEST: f64 = 1000.0;
/// How many places of one user are remembered.
const PLACES: usize = 8;

/// The user is in two places, and nothing moves from one to the other in that time.
///
/// # Behaviour
/// - Compared are this place and the one where the user was last seen: in any session of theirs by this process, or else at the sign-in of
///   this session or, with a [`History`], of an earlier one. Several nodes each see a part; together they raise no more than one would.
/// - The distance is that of the great circle less how far both places may be off, in kilometres. Below 500 km nothing is raised: mobile
///   networks enter the internet far from the phone. Above, the speed must exceed 1,000 km/h.
/// - A place that was recorded, or where the user has answered a step-up, is known for thirty days: who switches a tunnel on and off is raised
///   once. Operators that are tunnels can be named and are ignored.
/// - It asks for a step-up unless told otherwise.
///
/// An enricher such as `session-manager-enricher-geoip` tells the place.
pub struct ImpossibleTravel {
    action: SuspicionAction,
    fastest: f64,
    near: f64,
    ignored: BTreeSet<u32>,
    history: Option<History>,
    users: Mutex<Cache<UserId, Trace>>,
}

/// Where a user was seen.
#[derive(Default)]
struct Trace {
    last: Option<(Place, DateTime<Utc>)>,
    raised: Vec<Raised>,
}

/// A place that was raised.
struct Raised {
    place: Place,
    /// Where the user was before, who may be in both when it is known.
    from: Place,
    at: DateTime<Utc>,
    session: SessionId,
    /// Whether it is one of the user's places by now.
    is_known: bool,
}

#[derive(Clone, Copy)]
struct Place {
    latitude: f64,
    longitude: f64,
    accuracy: f64,
}

impl Default for ImpossibleTravel {
    fn default() -> Self {
        Self {
            action: SuspicionAction::StepUp,
            fastest: FASTEST,
            near: NEAR,
            ignored: BTreeSet::new(),
            history: None,
            users: Mutex::new(Cache::new(REMEMBERED)),
        }
    }
}

impl ImpossibleTravel {
    /// The rule, which asks for a step-up.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done about it.
    pub const fn action(mut self, action: SuspicionAction) -> Self {
        self.action = action;
        self
    }

    /// How fast a user may travel, in kilometres an hour.
    pub const fn fastest(mut self, kilometres_per_hour: f64) -> Self {
        self.fastest = kilometres_per_hour;
        self
    }

    /// Within how many kilometres nothing is raised.
    pub const fn near(mut self, kilometres: f64) -> Self {
        self.near = kilometres;
        self
    }

    /// Ignores what comes through these operators (autonomous systems): tunnels and relays of many people.
    pub fn ignoring(mut self, operators: impl IntoIterator<Item = u32>) -> Self {
        self.ignored.extend(operators);
        self
    }

    /// Compares a sign-in with the user's earlier sessions, where this process has not seen the user.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    fn place(&self, location: Option<&Location>) -> Option<Place> {
        let location = location?;
        if location.asn.is_some_and(|asn| self.ignored.contains(&asn)) {
            return None;
        }
        let (latitude, longitude) = (location.latitude?, location.longitude?);
        let is_on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_on_earth.then(|| Place { latitude, longitude, accuracy: f64::from(location.accuracy_km.unwrap_or(0)) })
    }

    /// Where the session, or an earlier one, was before.
    async fn before(&self, evidence: &Evidence<'_>, session: &Session) -> Result<Option<(Place, DateTime<Utc>)>> {
        if evidence.occasion != Occasion::SignIn {
            return Ok(self.place(session.location.as_ref()).map(|place| (place, session.created_at)));
        }
        let Some(history) = &self.history else { return Ok(None) };
        let earlier = history.before(session, evidence.now).await?;
        Ok(earlier.iter().find_map(|other| Some((self.place(other.location.as_ref())?, other.created_at))))
    }

    fn has_seen(&self, user: &UserId) -> bool {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.peek(user).is_some_and(|trace| trace.last.is_some())
    }
}

#[async_trait]
impl SuspicionRule for ImpossibleTravel {
    fn name(&self) -> &'static str {
        "impossible_travel"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let (Some(session), Some(here)) = (evidence.session, self.place(evidence.known.location.as_ref())) else {
            return Ok(None);
        };
        let before = if self.has_seen(&session.user_id) { None } else { self.before(evidence, session).await? };
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.peek(&session.user_id).is_none() {
            users.insert(session.user_id.clone(), Trace::default());
        }
        let Some(mut trace) = users.get_mut(&session.user_id) else { return Ok(None) };
        if trace.last.is_none() {
            trace.last = before;
        }
        Ok(trace.judge(self, session, here, evidence.now))
    }
}

impl Trace {
    fn judge(
        &mut self,
        rule: &ImpossibleTravel,
        session: &Session,
        here: Place,
        now: DateTime<Utc>,
    ) -> Option<SuspicionAction> {
        self.raised.retain(|raised| now < after(raised.at, QUIET));
        let (action, near) = (rule.action, rule.near);
        let mut again = None;
        for raised in &mut self.raised {
            let is_back = raised.is_known && raised.from.distance(here) < near;
            if raised.place.distance(here) >= near && !is_back {
                continue;
            }
            let is_its_own = raised.session == session.id;
            raised.is_known |= action == SuspicionAction::Record
                || (is_its_own && action == SuspicionAction::StepUp && session.authentication.at > raised.at);
            if raised.is_known {
                self.last = Some((here, now));
                return None;
            }
            if is_its_own {
                // It stays suspicious where it is until the user answers; what was asked for is asked for until it shows.
                again = Some((!is_carried_out(session, action, raised.at)).then_some(action));
            }
        }
        if let Some(again) = again {
            return again;
        }
        let faster_than_possible = self.last.filter(|(there, then)| {
            let distance = there.distance(here) - there.accuracy - here.accuracy;
            let hours = f64::from(u32::try_from((now - *then).num_seconds().max(1)).unwrap_or(u32::MAX)) / 3600.0;
            distance >= near && distance / hours > rule.fastest
        });
        let Some((from, _)) = faster_than_possible else {
            self.last = Some((here, now));
            return None;
        };
        if self.raised.len() >= PLACES {
            self.raised.remove(0);
        }
        let is_known = action == SuspicionAction::Record;
        self.raised.push(Raised { place: here, from, at: now, session: session.id, is_known });
        if is_known {
            self.last = Some((here, now));
        }
        Some(action)
    }
}

impl Place {
    /// In kilometres, along the great circle, by the haversine formula.
    fn distance(self, other: Self) -> f64 {
        let [from, to] = [self.latitude, other.latitude].map(f64::to_radians);
        let (latitudes, longitudes) = (to - from, (other.longitude - self.longitude).to_radians());
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let haversine = half(latitudes) + from.cos() * to.cos() * half(longitudes);
        2.0 * EARTH * haversine.clamp(0.0, 1.0).sqrt().asin()
    }
}

impl fmt::Debug for ImpossibleTravel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpossibleTravel")
            .field("action", &self.action)
            .field("fastest", &self.fastest)
            .field("near", &self.near)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_globe() {
        let place = |latitude, longitude| Place { latitude, longitude, accuracy: 0.0 };
        let (berlin, tokyo) = (place(52.52, 13.405), place(35.68, 139.69));
        assert!((berlin.distance(tokyo) - 8918.0).abs() < 30.0, "{}", berlin.distance(tokyo));
        assert!((tokyo.distance(berlin) - berlin.distance(tokyo)).abs() < 0.001);
        assert!(berlin.distance(berlin) < 0.001);
        let (east, west) = (place(0.0, 179.9), place(0.0, -179.9));
        assert!(east.distance(west) < 25.0, "over the date line");
        assert!((place(90.0, 0.0).distance(place(-90.0, 0.0)) - 20015.0).abs() < 1.0);
    }
}
