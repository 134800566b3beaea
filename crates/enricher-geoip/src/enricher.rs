//! The enricher.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use session_manager_core::{
    ClientInfo, Clock, Enrichment, Error, ErrorKind, Location, Result, SessionEnricher, SystemClock,
};

use crate::address::asked_for;
use crate::database::{Database, Stamp};
use crate::error::DatabaseError;
use crate::place::Language;
use crate::watch::Watch;

/// Which databases, and how they are read.
#[derive(Debug, Default)]
pub struct GeoIpBuilder {
    paths: Vec<PathBuf>,
    language: Language,
    watch: Option<Watch>,
    clock: Option<Arc<dyn Clock>>,
}

impl GeoIpBuilder {
    /// A database file: of cities, countries or autonomous systems, as its own metadata say. One of each kind at most makes sense; where two tell
    /// the same, the first one named wins.
    pub fn database(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// The language of cities and regions; English by default. Countries are codes.
    pub const fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// Looks every so often whether the files were replaced, in [`maintenance`](SessionEnricher::maintenance), and then reads them by `run`,
    /// which is the application's way to do work that blocks, and must run it: with tokio
    /// `|work| { tokio::task::spawn_blocking(work); }`.
    pub fn watching<F>(mut self, every: Duration, run: F) -> Self
    where
        F: Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static,
    {
        self.watch = Some(Watch::new(every, run));
        self
    }

    /// Takes the time between looks from this clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Reads and examines all databases. It blocks: for a city database of the usual size some seconds, most of it the examination.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for the first file that cannot be used; [`Error::source`](std::error::Error::source) is a
    /// [`DatabaseError`].
    pub fn open(self) -> Result<GeoIpEnricher> {
        let mut slots = Vec::new();
        for path in self.paths {
            let database = Database::open(&path)?;
            slots.push(Slot { path, database: RwLock::new(Arc::new(database)), problem: Mutex::new(None) });
        }
        let parts = Parts { slots, language: self.language, reloading: Mutex::new(()) };
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        Ok(GeoIpEnricher { parts: Arc::new(parts), watch: self.watch, clock })
    }
}

/// Tells where an address lies: country, region, city, coordinates, autonomous system.
///
/// # Behaviour
/// - A look-up is in memory and waits for nothing, also while a database is being replaced: it has the old one or the new one.
/// - An address that is private, reserved or unknown has no place, and that is no error.
pub struct GeoIpEnricher {
    pub(crate) parts: Arc<Parts>,
    watch: Option<Watch>,
    clock: Arc<dyn Clock>,
}

/// What look-ups and reloads share.
pub(crate) struct Parts {
    slots: Vec<Slot>,
    language: Language,
    /// One reload at a time.
    reloading: Mutex<()>,
}

/// A file and the database that was read from it.
struct Slot {
    path: PathBuf,
    database: RwLock<Arc<Database>>,
    /// The stamp of the file that was refused, and why.
    problem: Mutex<Option<(Option<Stamp>, String)>>,
}

/// What became of one file when it was looked at again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reload {
    /// Which file.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: ReloadOutcome,
}

/// What became of a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadOutcome {
    /// It is the one in use.
    Unchanged,
    /// It is in use from now on.
    Replaced,
    /// It cannot be used; the one before stays in use.
    Kept(DatabaseError),
}

/// A database in use.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// Its file.
    pub path: PathBuf,
    /// When it was built.
    pub built: SystemTime,
    /// Why the file that is there now is not in use.
    pub problem: Option<String>,
}

impl DatabaseStatus {
    /// Whether it was built longer ago than that.
    pub fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        now.duration_since(self.built).is_ok_and(|old| old > age)
    }
}

impl GeoIpEnricher {
    /// To be given files.
    pub fn builder() -> GeoIpBuilder {
        GeoIpBuilder::default()
    }

    /// Where an address lies; `None` where nothing is known.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when a database is damaged in a way that its examination did not find.
    pub fn locate(&self, address: IpAddr) -> Result<Option<Location>> {
        self.parts.locate(address)
    }

    /// Reads those files again that have changed, and replaces what is in use by those that are sound and no older. It blocks, as
    /// [`GeoIpBuilder::open`] does; look-ups go on meanwhile.
    ///
    /// # Behaviour
    /// Replace a file by renaming a complete one over it. One that is being written in place is found damaged, and looked at again when it has
    /// changed.
    pub fn reload(&self) -> Vec<Reload> {
        self.parts.reload()
    }

    /// The databases in use, for readiness pages and alerts on their age.
    pub fn status(&self) -> Vec<DatabaseStatus> {
        let one = |slot: &Slot| DatabaseStatus {
            path: slot.path.clone(),
            built: UNIX_EPOCH + Duration::from_secs(slot.database().built),
            problem: slot.problem().as_ref().map(|(_, reason)| reason.clone()),
        };
        self.parts.slots.iter().map(one).collect()
    }
}

impl Parts {
    fn locate(&self, address: IpAddr) -> Result<Option<Location>> {
        let Some(address) = asked_for(address) else { return Ok(None) };
        let mut place = Location::default();
        for slot in &self.slots {
            let mut found = Location::default();
            let looked_up = slot.database().look_up(address, &mut found, self.language);
            looked_up.map_err(|source| Error::new(ErrorKind::Internal, "geoip").with_source(source))?;
            merge(&mut place, found);
        }
        Ok((place != Location::default()).then_some(place))
    }

    pub(crate) fn reload(&self) -> Vec<Reload> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |slot: &Slot| Reload { path: slot.path.clone(), outcome: slot.reload() };
        self.slots.iter().map(one).collect()
    }

    /// Whether any file has another stamp than when it was last looked at.
    pub(crate) fn is_outdated(&self) -> bool {
        self.slots.iter().any(|slot| !slot.is_current(Stamp::of(&slot.path).ok()))
    }
}

impl Slot {
    fn database(&self) -> Arc<Database> {
        Arc::clone(&self.database.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn problem(&self) -> std::sync::MutexGuard<'_, Option<(Option<Stamp>, String)>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a file of this stamp is the one in use, or was refused already.
    fn is_current(&self, stamp: Option<Stamp>) -> bool {
        match &*self.problem() {
            Some((refused, _)) => *refused == stamp,
            None => stamp == Some(self.database().stamp),
        }
    }

    fn reload(&self) -> ReloadOutcome {
        let current = self.database();
        let stamp = Stamp::of(&self.path);
        if stamp.as_ref().is_ok_and(|stamp| *stamp == current.stamp) {
            *self.problem() = None;
            return ReloadOutcome::Unchanged;
        }
        let newer = Database::open(&self.path);
        let newer = newer.and_then(|newer| current.gives_way_to(&newer, &self.path).map(|()| newer));
        match newer {
            Ok(newer) => {
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
                *self.problem() = None;
                ReloadOutcome::Replaced
            }
            Err(error) => {
                tracing::warn!(%error, "a location database is not used; the one before stays in use");
                *self.problem() = Some((stamp.ok(), error.to_string()));
                ReloadOutcome::Kept(error)
            }
        }
    }
}

/// Adds what is not known yet. Names and coordinates of a city belong together.
fn merge(place: &mut Location, found: Location) {
    let mapped = place.city.is_some() || place.region.is_some() || place.latitude.is_some();
    if !mapped {
        (place.region, place.city) = (found.region, found.city);
        (place.latitude, place.longitude, place.accuracy_km) = (found.latitude, found.longitude, found.accuracy_km);
    }
    place.country = place.country.take().or(found.country);
    if place.asn.is_none() {
        (place.asn, place.organisation) = (found.asn, place.organisation.take().or(found.organisation));
    }
}

#[async_trait]
impl SessionEnricher for GeoIpEnricher {
    fn name(&self) -> &'static str {
        "geoip"
    }

    async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
        if let Some(address) = client.ip_address
            && let Some(place) = self.locate(address)?
        {
            enrichment.location.get_or_insert(place);
        }
        Ok(())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        let watch = self.watch.as_ref()?;
        Some(watch.over(&self.parts, &*self.clock).boxed())
    }
}

impl fmt::Debug for GeoIpEnricher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let databases: Vec<_> = self.parts.slots.iter().map(Slot::database).collect();
        f.debug_struct("GeoIpEnricher").field("databases", &databases).finish_non_exhaustive()
    }
}
