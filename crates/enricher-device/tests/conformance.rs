//! The kit's suite for enrichers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use session_manager_enricher_device::DeviceEnricher;
use session_manager_testkit::enricher_conformance;

enricher_conformance!(device, async || DeviceEnricher::new().unwrap());
