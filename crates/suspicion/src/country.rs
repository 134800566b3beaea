//! A country that is new.

use std::time::Duration;

use async_trait::async_trait;
use session_manager_core::{Evidence, Location, Occasion, Result, SuspicionAction, SuspicionRule};

use crate::changes::Changes;
use crate::history::History;

/// The user comes from another country than before.
///
/// # Behaviour
/// - Within a session the country is compared with that of the sign-in. Another one is raised when it lasts: when the session is still
///   seen there after half a minute, without having come back meanwhile. Each is raised once in thirty days.
/// - A sign-in is compared with the user's earlier sessions where there is a [`History`], and raised at once.
/// - Where the country is not known, nothing is raised. An enricher such as `session-manager-enricher-geoip` tells it.
#[derive(Debug)]
pub struct NewCountry {
    action: SuspicionAction,
    history: Option<History>,
    changes: Changes,
}

impl Default for NewCountry {
    fn default() -> Self {
        Self { action: SuspicionAction::Record, history: None, changes: Changes::lasting(Duration::from_secs(30)) }
    }
}

impl NewCountry {
    /// The rule, which records.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done about it.
    pub const fn action(mut self, action: SuspicionAction) -> Self {
        self.action = action;
        self
    }

    /// Compares a sign-in with the user's earlier sessions too.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// How long a session must be seen in another country before it is raised; zero is at once.
    pub const fn lasting(mut self, lasting: Duration) -> Self {
        self.changes.lasting = lasting;
        self
    }
}

#[async_trait]
impl SuspicionRule for NewCountry {
    fn name(&self) -> &'static str {
        "new_country"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let (Some(session), Some(here)) = (evidence.session, country(evidence.known.location.as_ref())) else {
            return Ok(None);
        };
        if evidence.occasion != Occasion::SignIn {
            let Some(there) = country(session.location.as_ref()) else { return Ok(None) };
            let change = (here != there).then(|| here.to_owned());
            return Ok(self.changes.judge(session, change, self.action, evidence.now));
        }
        let Some(history) = &self.history else { return Ok(None) };
        let earlier = history.before(session, evidence.now).await?;
        let mut known = earlier.iter().filter_map(|other| country(other.location.as_ref())).peekable();
        let is_new = known.peek().is_some() && known.all(|there| there != here);
        Ok(is_new.then_some(self.action))
    }
}

fn country(location: Option<&Location>) -> Option<&str> {
    location.and_then(|location| location.country.as_deref())
}
