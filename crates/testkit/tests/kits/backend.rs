//! Token backends: the plain one, and broken ones.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::{
    BackendCapabilities, Control, IssueContext, Presented, Rejection, Result, SessionBackend, Snapshot, TokenKind,
    TokenPair, Verified,
};
use session_manager_testkit::conformance::{backend, run_kit};
use session_manager_testkit::{ReferenceBackend, backend_conformance};

use crate::fails;

backend_conformance!(reference, async || ReferenceBackend::default());

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    AnyKind,
    RelabelledKind,
    NoProof,
    NoControl,
    Trimming,
    Renewing,
    Unlimited,
    LongLived,
    OtherGeneration,
    Talkative,
}

/// The plain backend with one fault.
struct Broken {
    fault: Fault,
    backend: ReferenceBackend,
    issued: std::sync::Mutex<Vec<String>>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { fault, backend: ReferenceBackend::default(), issued: std::sync::Mutex::default() }
    }

    fn either<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        let other = if kind == TokenKind::Access { TokenKind::Refresh } else { TokenKind::Access };
        self.backend.parse(kind, token).or_else(|_| self.backend.parse(other, token))
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Talkative => write!(f, "Broken({:?})", self.issued.lock().unwrap()),
            _ => f.write_str("Broken"),
        }
    }
}

#[async_trait]
impl SessionBackend for Broken {
    fn capabilities(&self) -> BackendCapabilities {
        self.backend.capabilities()
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        match self.fault {
            Fault::AnyKind => self.either(kind, token),
            Fault::Trimming => self.backend.parse(kind, token.trim()),
            Fault::Unlimited => self.backend.parse(kind, token).map_err(|_| Rejection::Malformed),
            _ => self.backend.parse(kind, token),
        }
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        let reference = presented.reference.as_ref().ok_or(Rejection::Malformed)?;
        let unproven = Verified::new(reference.key(), reference.generation());
        match self.fault {
            Fault::NoProof => control.map(|_| unproven).ok_or(Rejection::UnknownSession),
            Fault::NoControl if control.is_none() => Ok(unproven),
            Fault::RelabelledKind => {
                let presented = self.either(presented.kind, presented.raw)?;
                self.backend.verify(&presented, control, now)
            }
            Fault::OtherGeneration => self.backend.verify(presented, control, now).map(|mut verified| {
                verified.generation += 1;
                verified
            }),
            _ => self.backend.verify(presented, control, now),
        }
    }

    async fn issue(&self, snapshot: &Snapshot, context: &IssueContext) -> Result<TokenPair> {
        let (mut snapshot, mut context) = (snapshot.clone(), context.clone());
        match self.fault {
            // Every issue begins a generation of its own.
            Fault::Renewing => {
                snapshot.control.generation = u64::try_from(context.now.timestamp_millis()).unwrap();
            }
            Fault::LongLived => context.access_expires_at += TimeDelta::seconds(1),
            _ => {}
        }
        let pair = self.backend.issue(&snapshot, &context).await?;
        self.issued.lock().unwrap().push(pair.refresh.expose().to_owned());
        Ok(pair)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

macro_rules! caught {
    ($($test:ident: $fault:ident by $($check:ident),+;)*) => { $(
        #[test]
        fn $test() {
            $(
                let failed = fails(|| {
                    run_kit(async || Broken::new(Fault::$fault), async |backend| {
                        backend::$check(std::sync::Arc::new(backend)).await;
                    });
                });
                assert!(failed, "{} did not see it", stringify!($check));
            )+
        }
    )* };
}

caught! {
    either_kind: AnyKind by one_kind_is_never_the_other;
    kind_changed_after_parsing: RelabelledKind by one_kind_is_never_the_other;
    mac_not_compared: NoProof by every_changed_byte_is_refused, proof_needs_what_is_declared;
    proven_without_its_session: NoControl by proof_needs_what_is_declared;
    spaces_ignored: Trimming by every_changed_byte_is_refused;
    another_token_every_time: Renewing by refresh_token_of_a_generation_is_the_same;
    no_limit: Unlimited by long_text_is_refused_as_such;
    longer_than_asked: LongLived by expiry_is_exact, issued_tokens_are_proven;
    wrong_generation: OtherGeneration by issued_tokens_are_proven;
    talkative_debug: Talkative by debug_text_holds_no_token;
}
