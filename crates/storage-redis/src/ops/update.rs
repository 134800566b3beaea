//! The compare-and-set of a live session: read, patched by core, written if the version is still the same.

use session_manager_core::storage::{Update, UpdateOutcome};
use session_manager_core::{LivePolicy, Snapshot};

use super::refresh::Replaced;
use crate::error::{Failure, Outcome};
use crate::storage::RedisStorage;

impl RedisStorage {
    pub(crate) async fn update_session(&self, request: &Update) -> Outcome<UpdateOutcome> {
        let Some(found) = self.reading(&request.key).await? else { return Ok(UpdateOutcome::Missing) };
        if let Some(outcome) = refused(request, &found) {
            return Ok(outcome);
        }
        let patched = request.patch.apply(&found.record(), request.now);
        match self.replace(&found.key(), request.expected_version, &patched, true, request.now).await? {
            Replaced::Done(after) => Ok(UpdateOutcome::Updated(after)),
            Replaced::Missing => Ok(UpdateOutcome::Missing),
            Replaced::Moved(now) => {
                refused(request, &now).ok_or(Failure::Answer("a script and core judge differently"))
            }
        }
    }
}

fn refused(request: &Update, found: &Snapshot) -> Option<UpdateOutcome> {
    let state = found.state(request.now, LivePolicy::TRACKED);
    if !state.is_live() {
        return Some(UpdateOutcome::Ended(state, found.clone()));
    }
    (found.control.version != request.expected_version).then(|| UpdateOutcome::Conflict(found.clone()))
}
