//! One database: read whole, examined, and only then used.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use maxminddb::geoip2::{Asn, City, Country};
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use session_manager_core::Location;

use crate::error::DatabaseError;
use crate::place::{Language, add_city, add_country, add_system};

/// What a database tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// Cities, and all above them.
    City,
    /// Countries.
    Country,
    /// Autonomous systems.
    System,
}

impl Kind {
    fn of(database_type: &str) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|name| database_type.contains(name));
        match database_type {
            _ if is(&["City", "Enterprise"]) => Some(Self::City),
            _ if is(&["Country"]) => Some(Self::Country),
            _ if is(&["ASN", "ISP"]) => Some(Self::System),
            _ => None,
        }
    }
}

/// What a file's metadata say, to see whether it was replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Result<Self, DatabaseError> {
        let metadata =
            std::fs::metadata(path).map_err(|source| DatabaseError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self { modified: metadata.modified().ok(), length: metadata.len() })
    }
}

/// A database in memory.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) built: u64,
    pub(crate) stamp: Stamp,
    reader: Reader<Vec<u8>>,
}

impl Database {
    /// Reads and examines a file.
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        // Before the file: one that is replaced while it is read is looked at again.
        let stamp = Stamp::of(path)?;
        let bytes =
            std::fs::read(path).map_err(|source| DatabaseError::Unreadable { path: path.to_owned(), source })?;
        let damaged = |reason: String| DatabaseError::Damaged { path: path.to_owned(), reason };
        let wrong = |error: MaxMindDbError| damaged(error.to_string());
        let reader = Reader::from_source(bytes).map_err(wrong)?;
        verify(&reader).map_err(wrong)?;
        let metadata = reader.metadata();
        // A time that nobody can have built it at makes every later one look outdated.
        metadata.build_time().map_err(wrong)?;
        let (found, built) = (metadata.database_type.clone(), metadata.build_epoch);
        let Some(kind) = Kind::of(&found) else {
            return Err(DatabaseError::OtherType { path: path.to_owned(), found });
        };
        if i64::try_from(built).is_err() || metadata.node_count == 0 {
            return Err(damaged("its metadata are beyond reason".to_owned()));
        }
        let database = Self { kind, built, stamp, reader };
        database.examine().map_err(wrong)?;
        Ok(database)
    }

    /// Decodes every record once as what look-ups will take it for, so that none of them fails.
    fn examine(&self) -> Result<(), MaxMindDbError> {
        let mut seen = HashSet::new();
        let mut place = Location::default();
        // A tree has one leaf more than nodes. One that leads back into itself has no end of them.
        let most = u64::from(self.reader.metadata().node_count).saturating_mul(4).saturating_add(1_000);
        let networks = self.reader.networks(WithinOptions::default().include_networks_without_data())?;
        for (number, network) in (0_u64..).zip(networks) {
            if number > most {
                return Err(MaxMindDbError::invalid_database(
                    "the search tree has more leaves than its nodes can have",
                ));
            }
            let network = network?;
            if network.offset().is_some_and(|offset| seen.insert(offset)) {
                self.add(&mut place, &network, Language::English)?;
            }
        }
        Ok(())
    }

    /// Adds what it knows of an address.
    pub(crate) fn look_up(
        &self,
        address: IpAddr,
        place: &mut Location,
        language: Language,
    ) -> Result<(), MaxMindDbError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(());
        }
        let found = self.reader.lookup(address)?;
        self.add(place, &found, language)
    }

    fn add(
        &self,
        place: &mut Location,
        found: &LookupResult<'_, Vec<u8>>,
        language: Language,
    ) -> Result<(), MaxMindDbError> {
        match self.kind {
            Kind::City => {
                if let Some(record) = found.decode::<City<'_>>()? {
                    add_city(place, &record, language);
                }
            }
            Kind::Country => {
                if let Some(record) = found.decode::<Country<'_>>()? {
                    add_country(place, &record);
                }
            }
            Kind::System => {
                if let Some(record) = found.decode::<Asn<'_>>()? {
                    add_system(place, &record);
                }
            }
        }
        Ok(())
    }

    /// Whether `newer`, read from `path`, may take its place.
    pub(crate) fn gives_way_to(&self, newer: &Self, path: &Path) -> Result<(), DatabaseError> {
        let path = || -> PathBuf { path.to_owned() };
        if newer.kind != self.kind {
            return Err(DatabaseError::OtherKind { path: path() });
        }
        if newer.built < self.built {
            return Err(DatabaseError::Older { path: path(), seconds: self.built - newer.built });
        }
        Ok(())
    }
}

/// The structure of tree and records. The check begins with the metadata, and takes a database without a description, as some writers make
/// them, for broken: such a one is only examined.
fn verify(reader: &Reader<Vec<u8>>) -> Result<(), MaxMindDbError> {
    match reader.verify() {
        Err(_) if reader.metadata().description.is_empty() => Ok(()),
        outcome => outcome,
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("kind", &self.kind).field("built", &self.built).finish_non_exhaustive()
    }
}
