//! The kit's suite for enrichers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use mmdb_writer::Writer;
use serde_json::json;
use session_manager_enricher_geoip::GeoIpEnricher;
use session_manager_testkit::enricher_conformance;

async fn geoip() -> GeoIpEnricher {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("country.mmdb");
    let mut writer = Writer::new("Test-Country");
    let record = json!({ "country": { "iso_code": "DE" } });
    writer.insert("81.2.69.0/24".parse::<ipnet::IpNet>().unwrap(), &record).unwrap();
    std::fs::write(&path, writer.to_bytes().unwrap()).unwrap();
    GeoIpEnricher::builder().database(path).open().unwrap()
}

enricher_conformance!(places, geoip);
