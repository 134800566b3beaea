//! The user's earlier sessions.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use session_manager_core::storage::{Query, SessionFilter};
use session_manager_core::{Location, Result, RevocationReason, Session, SessionId, SessionStorage, Snapshot};

/// How many sign-ins are remembered, so that several rules read once.
const SIGN_INS: usize = 256;

/// The user's earlier sessions, those that have ended and are still stored included: what a sign-in is compared with.
///
/// # Behaviour
/// - A sign-in costs one list, whatever the number of rules that share it.
/// - Sessions that suspicion ended, and those whose step-up was never answered, vouch for nothing and are left out.
/// - It reaches as far back as the policy's retention keeps ended sessions.
#[derive(Clone)]
pub struct History {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn SessionStorage>,
    sign_ins: Cache<SessionId, Arc<[Earlier]>>,
}

/// What is compared of an earlier session.
pub(crate) struct Earlier {
    pub(crate) device: Option<String>,
    pub(crate) location: Option<Location>,
    pub(crate) created_at: DateTime<Utc>,
}

impl History {
    /// From the storage of the session manager.
    pub fn new(storage: Arc<dyn SessionStorage>) -> Self {
        Self { inner: Arc::new(Inner { storage, sign_ins: Cache::new(SIGN_INS) }) }
    }

    /// The user's sessions from before this one, newest first; at most 200.
    pub(crate) async fn before(&self, session: &Session, now: DateTime<Utc>) -> Result<Arc<[Earlier]>> {
        if let Some(found) = self.inner.sign_ins.get(&session.id) {
            return Ok(found);
        }
        let query = Query::of(session.user_id.clone(), now)
            .filtered(SessionFilter::including_ended())
            .limited(Query::MAX_LIMIT);
        let page = self.inner.storage.list(&query).await?;
        let found = page.sessions.into_iter().filter(|snapshot| snapshot.session.id != session.id && vouches(snapshot));
        let found: Arc<[Earlier]> = found.map(|snapshot| Earlier::of(&snapshot.session)).collect();
        self.inner.sign_ins.insert(session.id, Arc::clone(&found));
        Ok(found)
    }

    /// Whether the user has sessions from before this one, and none of them on such a device: the owner is to be told, by mail for example.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn is_new_device(&self, session: &Session, now: DateTime<Utc>) -> Result<bool> {
        let Some(device) = device(session) else { return Ok(false) };
        let earlier = self.before(session, now).await?;
        Ok(!earlier.is_empty() && earlier.iter().all(|other| other.device.as_deref() != Some(device)))
    }
}

impl Earlier {
    fn of(session: &Session) -> Self {
        Self {
            device: device(session).map(str::to_owned),
            location: session.location.clone(),
            created_at: session.created_at,
        }
    }
}

fn vouches(snapshot: &Snapshot) -> bool {
    let authentication = &snapshot.session.authentication;
    let is_answered = authentication.step_up_since.is_none_or(|since| since < authentication.at);
    let suspicious = snapshot.control.revocation.as_ref().map(|revocation| &revocation.reason);
    is_answered && suspicious != Some(&RevocationReason::SUSPICIOUS)
}

/// What recognises the device: the enricher's fingerprint, or else the user agent as it is.
fn device(session: &Session) -> Option<&str> {
    let fingerprint = session.device.as_ref().and_then(|device| device.fingerprint.as_deref());
    fingerprint.or(session.user_agent.as_deref())
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("storage", &self.inner.storage).finish_non_exhaustive()
    }
}
