//! Places from databases that the tests make, and from MaxMind's own test databases, sound and broken.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed unwrap is a failed test, and one that does not run says so"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mmdb_writer::Writer;
use serde_json::{Value, json};
use session_manager_core::{ClientInfo, Enrichment, ErrorKind, Location, ManualClock, SessionEnricher};
use session_manager_enricher_geoip::{DatabaseError, GeoIpEnricher, Language, ReloadOutcome};
use tempfile::TempDir;

/// Writes a database of this type and age beside its place, and renames it into it.
fn write(path: &Path, database_type: &str, built: u64, records: &[(&str, Value)]) {
    let mut writer = Writer::builder(database_type)
        .description(&[("en", "A test")])
        .build_epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(built))
        .build();
    for (network, record) in records {
        writer.insert(network.parse::<ipnet::IpNet>().unwrap(), &Typed("", record)).unwrap();
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, writer.to_bytes().unwrap()).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn city(country: &str, name: &str) -> Value {
    json!({
        "country": { "iso_code": country },
        "city": { "names": { "en": name, "de": format!("{name} auf Deutsch") } },
        "subdivisions": [{ "names": { "en": "The Region" } }],
        "location": { "latitude": 52.5, "longitude": 13.4, "accuracy_radius": 20 },
    })
}

/// A record whose numbers have the types that such databases give them.
struct Typed<'a>(&'a str, &'a Value);

impl serde::Serialize for Typed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, Typed(name, value))))
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(|value| Typed(self.0, value))),
            Value::Number(number) => match number.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) if self.0 == "accuracy_radius" => serializer.serialize_u16(u16::try_from(number).unwrap()),
                Some(number) => serializer.serialize_u32(number),
                None => serializer.serialize_f64(number.as_f64().unwrap()),
            },
            other => other.serialize(serializer),
        }
    }
}

struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        write(
            &lab.path("city"),
            "Test-City",
            1_000,
            &[("81.2.69.0/24", city("de", "Berlin")), ("2a02:d280::/32", city("CZ", "Brno"))],
        );
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.mmdb"))
    }

    fn open(&self) -> GeoIpEnricher {
        GeoIpEnricher::builder().database(self.path("city")).open().unwrap()
    }
}

fn place(geoip: &GeoIpEnricher, address: &str) -> Option<Location> {
    geoip.locate(address.parse().unwrap()).unwrap()
}

fn city_of(geoip: &GeoIpEnricher, address: &str) -> Option<String> {
    place(geoip, address).and_then(|place| place.city)
}

#[tokio::test]
async fn an_address_has_a_place() {
    let lab = Lab::new();
    let geoip = lab.open();
    let mut enrichment = Enrichment::default();
    geoip.enrich(&ClientInfo::new().ip("81.2.69.142".parse().unwrap()), &mut enrichment).await.unwrap();
    let place = enrichment.location.unwrap();
    assert_eq!(place.to_string(), "Berlin, DE");
    assert_eq!(
        (place.region.as_deref(), place.latitude, place.longitude, place.accuracy_km),
        (Some("The Region"), Some(52.5), Some(13.4), Some(20))
    );
    // Mapped and translated addresses, IPv6, and those of which nothing is known.
    for (address, expected) in [
        ("::ffff:81.2.69.1", Some("Berlin")),
        ("64:ff9b::81.2.69.1", Some("Berlin")),
        ("2a02:d280::7", Some("Brno")),
        ("81.2.70.1", None),
        ("2a03::1", None),
    ] {
        assert_eq!(city_of(&geoip, address).as_deref(), expected, "{address}");
    }
    let mut nothing = Enrichment::default();
    geoip.enrich(&ClientInfo::new(), &mut nothing).await.unwrap();
    assert_eq!(nothing, Enrichment::default());
    assert!(geoip.maintenance().is_none());
}

#[test]
fn private_and_reserved_addresses_have_none_whatever_a_database_says() {
    let lab = Lab::new();
    write(&lab.path("city"), "Test-City", 1_000, &[("0.0.0.0/0", city("DE", "Everywhere"))]);
    let geoip = lab.open();
    assert!(place(&geoip, "81.2.69.142").is_some());
    for address in
        ["10.0.0.1", "127.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"]
    {
        assert_eq!(place(&geoip, address), None, "{address}");
    }
}

#[test]
fn several_databases_complete_each_other() {
    let lab = Lab::new();
    write(
        &lab.path("asn"),
        "Test-ASN",
        1,
        &[(
            "81.2.64.0/18",
            json!({ "autonomous_system_number": 64512, "autonomous_system_organization": "Example Net" }),
        )],
    );
    write(&lab.path("country"), "Test-Country", 1, &[("81.0.0.0/8", json!({ "country": { "iso_code": "GB" } }))]);
    let builder = ["asn", "city", "country"]
        .iter()
        .fold(GeoIpEnricher::builder(), |builder, name| builder.database(lab.path(name)));
    let geoip = builder.language(Language::German).open().unwrap();
    let found = place(&geoip, "81.2.69.142").unwrap();
    assert_eq!((found.asn, found.organisation.as_deref()), (Some(64512), Some("Example Net")));
    assert_eq!((found.country.as_deref(), found.city.as_deref()), (Some("DE"), Some("Berlin auf Deutsch")));
    assert_eq!(place(&geoip, "81.3.0.1").unwrap().to_string(), "GB");
}

#[test]
fn nonsense_in_records_is_left_out() {
    let lab = Lab::new();
    let records = [
        ("81.2.69.0/24", json!({ "country": { "iso_code": "DEU" }, "city": { "names": { "en": "a\nb" } } })),
        (
            "81.2.70.0/24",
            json!({ "location": { "latitude": 91.0, "longitude": 13.4 }, "city": { "names": { "en": "x".repeat(201) } } }),
        ),
        ("81.2.71.0/24", json!({ "location": { "latitude": 52.5 } })),
    ];
    write(&lab.path("city"), "Test-City", 1_000, &records);
    let geoip = lab.open();
    for address in ["81.2.69.1", "81.2.70.1", "81.2.71.1"] {
        assert_eq!(place(&geoip, address), None, "{address}");
    }
}

#[test]
fn a_newer_file_takes_over_and_no_other() {
    let lab = Lab::new();
    let geoip = lab.open();
    let outcome = |geoip: &GeoIpEnricher| geoip.reload().into_iter().next().unwrap().outcome;
    assert!(matches!(outcome(&geoip), ReloadOutcome::Unchanged));
    write(&lab.path("city"), "Test-City", 2_000, &[("81.2.69.0/24", city("DE", "Potsdam"))]);
    assert!(matches!(outcome(&geoip), ReloadOutcome::Replaced));
    assert_eq!(city_of(&geoip, "81.2.69.1").as_deref(), Some("Potsdam"));

    write(&lab.path("city"), "Test-City", 1_999, &[("81.2.69.0/24", city("DE", "Old"))]);
    assert!(matches!(outcome(&geoip), ReloadOutcome::Kept(DatabaseError::Older { seconds: 1, .. })));
    write(&lab.path("city"), "Test-Country", 3_000, &[("81.2.69.0/24", json!({ "country": { "iso_code": "DE" } }))]);
    assert!(matches!(outcome(&geoip), ReloadOutcome::Kept(DatabaseError::OtherKind { .. })));
    write(&lab.path("city"), "Test-Domain", 3_000, &[("81.2.69.0/24", json!({ "domain": "example" }))]);
    assert!(matches!(outcome(&geoip), ReloadOutcome::Kept(DatabaseError::OtherType { .. })));
    // A record of another shape than look-ups take it for.
    write(&lab.path("city"), "Test-City", 3_000, &[("81.2.69.0/24", json!({ "city": "Berlin" }))]);
    assert!(matches!(outcome(&geoip), ReloadOutcome::Kept(DatabaseError::Damaged { .. })));
    std::fs::write(lab.path("city"), "no database").unwrap();
    assert!(matches!(outcome(&geoip), ReloadOutcome::Kept(DatabaseError::Damaged { .. })));
    std::fs::remove_file(lab.path("city")).unwrap();
    assert!(matches!(outcome(&geoip), ReloadOutcome::Kept(DatabaseError::Unreadable { .. })));

    assert_eq!(city_of(&geoip, "81.2.69.1").as_deref(), Some("Potsdam"), "the old one stays");
    let status = geoip.status().pop().unwrap();
    assert!(status.problem.unwrap().contains("cannot be read"));
    assert_eq!(status.built, SystemTime::UNIX_EPOCH + Duration::from_secs(2_000));
    let status = geoip.status().pop().unwrap();
    let later = status.built + Duration::from_secs(100);
    assert!(
        status.is_older_than(Duration::from_secs(99), later) && !status.is_older_than(Duration::from_secs(100), later)
    );

    write(&lab.path("city"), "Test-City", 2_000, &[("81.2.69.0/24", city("DE", "Again"))]);
    assert!(matches!(outcome(&geoip), ReloadOutcome::Replaced));
    assert_eq!(geoip.status().pop().unwrap().problem, None);
}

#[test]
fn a_start_without_a_sound_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = GeoIpEnricher::builder().database(folder.path().join("absent.mmdb")).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("absent.mmdb"), "{error}");
}

#[test]
fn no_look_up_fails_while_files_are_replaced() {
    let lab = Lab::new();
    let geoip = Arc::new(lab.open());
    let (over, looked_up) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let found = city_of(&geoip, "81.2.69.1").unwrap();
                    assert!(found == "Berlin" || found == "Potsdam", "{found}");
                    looked_up.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..40_u64 {
            let name = if round % 2 == 0 { "Potsdam" } else { "Berlin" };
            write(&lab.path("city"), "Test-City", 2_000 + round, &[("81.2.69.0/24", city("DE", name))]);
            // Every fourth time a broken one in between.
            if round % 4 == 0 {
                std::fs::write(lab.path("city"), [0; 100]).unwrap();
            }
            let kept = matches!(geoip.reload().pop().unwrap().outcome, ReloadOutcome::Kept(_));
            assert_eq!(kept, round % 4 == 0);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(looked_up.into_inner() > 100);
}

#[tokio::test]
async fn by_itself_as_the_application_does_work_that_blocks() {
    let lab = Lab::new();
    let clock = Arc::new(ManualClock::default());
    let builder = GeoIpEnricher::builder().database(lab.path("city")).clock(clock.clone());
    let every = Duration::from_hours(1);
    let geoip = builder.watching(every, |work| drop(tokio::task::spawn_blocking(work))).open().unwrap();
    let mut watching = geoip.maintenance().unwrap();
    let mut a_moment = async || assert!(tokio::time::timeout(Duration::from_millis(30), &mut watching).await.is_err());
    write(&lab.path("city"), "Test-City", 2_000, &[("81.2.69.0/24", city("DE", "Potsdam"))]);
    a_moment().await;
    assert_eq!(city_of(&geoip, "81.2.69.1").as_deref(), Some("Berlin"), "not before its time");
    clock.advance(every);
    for _ in 0..100 {
        a_moment().await;
        if city_of(&geoip, "81.2.69.1").as_deref() == Some("Potsdam") {
            return;
        }
    }
    panic!("the newer file was not read");
}

/// The folder of test data that the project does not carry.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("SESSION_MANAGER_TEST_DATA").filter(|folder| !folder.is_empty());
    if folder.is_none() {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("SKIPPED {name}: SESSION_MANAGER_TEST_DATA is not set");
    }
    folder.map(|folder| PathBuf::from(folder).join("mmdb"))
}

#[test]
fn maxminds_test_databases_are_read() {
    let Some(data) = data() else { return };
    let builder = GeoIpEnricher::builder();
    let geoip = builder
        .database(data.join("GeoLite2-City-Test.mmdb"))
        .database(data.join("GeoLite2-ASN-Test.mmdb"))
        .open()
        .unwrap();
    let london = place(&geoip, "81.2.69.142").unwrap();
    assert_eq!((london.to_string().as_str(), london.region.as_deref()), ("London, GB", Some("England")));
    let sweden = place(&geoip, "::ffff:89.160.20.112").unwrap();
    assert_eq!((sweden.to_string().as_str(), sweden.asn), ("Linköping, SE", Some(29518)));
    assert_eq!(place(&geoip, "2001:218::1").unwrap().country.as_deref(), Some("JP"));
    let countries = GeoIpEnricher::builder().database(data.join("GeoLite2-Country-Test.mmdb")).open().unwrap();
    assert_eq!(place(&countries, "81.2.69.142").unwrap().to_string(), "GB");
}

#[test]
fn every_broken_database_is_reported() {
    let Some(data) = data() else { return };
    let lab = Lab::new();
    let geoip = lab.open();
    let mut broken: Vec<_> = std::fs::read_dir(data.join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    broken.push(data.join("GeoIP2-City-Test-Broken-Double-Format.mmdb"));
    broken.push(data.join("GeoIP2-City-Test-Invalid-Node-Count.mmdb"));
    assert!(broken.len() >= 15, "{broken:?}");
    let mut accepted = Vec::new();
    for path in broken {
        let begun = std::time::Instant::now();
        std::fs::copy(&path, lab.path("beside")).unwrap();
        std::fs::rename(lab.path("beside"), lab.path("city")).unwrap();
        let outcome = geoip.reload().pop().unwrap().outcome;
        if !matches!(outcome, ReloadOutcome::Kept(_)) || GeoIpEnricher::builder().database(&path).open().is_ok() {
            accepted.push(path);
        }
        assert_eq!(city_of(&geoip, "81.2.69.1").as_deref(), Some("Berlin"), "the old one stays");
        assert!(begun.elapsed() < Duration::from_secs(20), "a small file takes no time");
    }
    assert!(accepted.is_empty(), "{accepted:?}");
}
