#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod audit;
mod backend;
mod bus;
mod cache;
mod client;
pub mod clock;
mod control;
mod duration;
mod enricher;
mod epoch;
mod error;
mod id;
mod manager;
mod policy;
mod possession;
mod presets;
mod random;
pub mod refresh;
mod session;
mod snapshot;
pub mod storage;
mod suspicion;
mod telemetry;
pub mod token;
mod user;

pub use audit::{AuditBackend, AuditEvent, AuditKind, Delivery, NoopAudit, SessionObserver};
pub use backend::{
    BackendCapabilities, ClaimedEpoch, ClaimedEpochs, IssueContext, Presented, SessionBackend, TokenPair, Verified,
};
pub use bus::{BusEvent, BusRelay, InvalidationBus, LocalBus};
pub use cache::{SharedCache, SharedFill, SharedLook, SharedSubject, SharedTicket};
pub use client::{ClientInfo, Device, DeviceKind, Location};
pub use clock::{Clock, ManualClock, SystemClock};
pub use control::{Actor, Control, Revocation, RevocationReason, Seed};
pub use enricher::{Enrichment, SessionEnricher};
pub use epoch::{Admission, Epoch, Epochs, GlobalEpoch, Stamp};
pub use error::{Error, ErrorKind, Rejection, Result};
pub use id::{SessionId, SessionKey};
pub use manager::{
    AfterCommit, Authenticated, Created, Forgotten, Introspection, NewSession, Presence, RefreshReplay, Refreshed,
    RequestContext, Rotated, Rotation, ScopedManager, SessionChange, SessionManager, SessionManagerBuilder,
    SessionPage, SessionView, Verification,
};
pub use policy::{FieldLimits, IpRecording, PolicyOverrides, SessionPolicy};
pub use possession::{Possession, PossessionVerifier, PresentedProof};
pub use random::{Random, SystemRandom};
pub use session::{Authentication, Binding, ExternalId, Session};
pub use snapshot::{EpochTracking, LivePolicy, SessionRecord, Snapshot, State};
pub use storage::SessionStorage;
pub use suspicion::{Evidence, Occasion, SuspicionAction, SuspicionRule};
pub use telemetry::{Incident, NoopTelemetry, OPERATION_TARGET, Operation, Telemetry};
pub use token::{Token, TokenKind};
pub use user::{Locator, Shard, UserId};
