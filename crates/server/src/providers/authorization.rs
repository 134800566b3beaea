//! Authorisations under way: a random state, good once and for ten minutes, and the secret of PKCE that belongs to it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use session_manager_core::SessionId;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::connection::time;
use super::vault::{Field, Place};
use super::{Connections, Fault};
use crate::random;
use crate::sql::{self, Row, retried};

/// Long enough to sign in at the provider, with a second factor that has to be looked for.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// An authorisation that has just begun. `Debug` hides its secrets.
pub(crate) struct Begun {
    /// Travels through the browser.
    pub(crate) state: String,
    /// Stays here until the code comes (RFC 7636).
    pub(crate) verifier: Zeroizing<String>,
}

/// An authorisation that waits for its end. `Debug` hides the verifier.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) connection: Uuid,
    pub(crate) user: Uuid,
    /// The session that asked.
    pub(crate) session: SessionId,
    /// Whether that session is one of cookies.
    pub(crate) by_browser: bool,
    pub(crate) verifier: Zeroizing<String>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun(***)")
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Connections {
    /// Begins an authorisation for a session of the connection's user. One that was under way before is over.
    pub(crate) async fn begin(
        &self,
        connection: Uuid,
        user: Uuid,
        session: SessionId,
        by_browser: bool,
        now: DateTime<Utc>,
    ) -> Result<Begun, Fault> {
        let text = || Ok::<_, Fault>(URL_SAFE_NO_PAD.encode(*Zeroizing::new(random::bytes::<32>()?)));
        let begun = Begun { state: text()?, verifier: Zeroizing::new(text()?) };
        sql::query(
            "INSERT INTO provider_authorizations \
             (connection_id, state_hash, user_id, session_id, by_browser, verifier, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (connection_id) DO UPDATE SET \
             state_hash = ?2, user_id = ?3, session_id = ?4, by_browser = ?5, verifier = ?6, expires_at = ?7",
        )
        .mysql(
            "INSERT INTO provider_authorizations \
             (connection_id, state_hash, user_id, session_id, by_browser, verifier, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON DUPLICATE KEY UPDATE \
             state_hash = ?2, user_id = ?3, session_id = ?4, by_browser = ?5, verifier = ?6, expires_at = ?7",
        )
        .bind(connection.to_string())
        .bind(hash(&begun.state))
        .bind(user.to_string())
        .bind(session.to_string())
        .bind(by_browser)
        .bind(self.vault.seal(Place { connection, field: Field::Verifier }, &begun.verifier)?)
        .bind((now + LIFETIME).timestamp_millis())
        .execute(&self.pool)
        .await?;
        Ok(begun)
    }

    /// Uses a state up. Its row is locked before it is read, so that of two that come at once one finds nothing. Nothing also when it is too
    /// old.
    pub(crate) async fn take(&self, state: &str, now: DateTime<Utc>) -> Result<Option<Pending>, Fault> {
        let row = retried!(self.take_once(state))?;
        self.pending(row.as_ref(), now)
    }

    async fn take_once(&self, state: &str) -> Result<Option<Row>, Fault> {
        let mut transaction = self.pool.begin().await?;
        let row = sql::query("SELECT * FROM provider_authorizations WHERE state_hash = ? FOR UPDATE").bind(hash(state));
        let row = row.fetch_optional(&mut transaction).await?;
        if row.is_some() {
            let used = sql::query("DELETE FROM provider_authorizations WHERE state_hash = ?").bind(hash(state));
            used.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(row)
    }

    /// Looks at what belongs to a state, which stays good.
    pub(crate) async fn look(&self, state: &str, now: DateTime<Utc>) -> Result<Option<Pending>, Fault> {
        let row = sql::query("SELECT * FROM provider_authorizations WHERE state_hash = ?")
            .bind(hash(state))
            .fetch_optional(&self.pool)
            .await?;
        self.pending(row.as_ref(), now)
    }

    /// Removes up to `limit` authorisations that nobody has finished in time. Returns how many.
    pub(crate) async fn purge(&self, limit: u32, now: DateTime<Utc>) -> Result<u64, Fault> {
        // One that was begun anew at this moment is looked at again under its lock.
        let done = sql::query(
            "DELETE FROM provider_authorizations WHERE connection_id IN \
             (SELECT connection_id FROM provider_authorizations WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) \
             AND expires_at <= ?1",
        )
        .mysql("DELETE FROM provider_authorizations WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2")
        .bind(now.timestamp_millis())
        .bind(limit)
        .execute(&self.pool)
        .await?;
        Ok(done)
    }

    fn pending(&self, row: Option<&Row>, now: DateTime<Utc>) -> Result<Option<Pending>, Fault> {
        let Some(row) = row else { return Ok(None) };
        if time(row.try_get("expires_at")?)? <= now {
            return Ok(None);
        }
        let id = |column| {
            let text: String = row.try_get(column)?;
            text.parse().map_err(|_| sqlx::Error::Decode("an id of an authorisation is not a UUID".into()))
        };
        let (connection, user, session): (Uuid, _, Uuid) = (id("connection_id")?, id("user_id")?, id("session_id")?);
        let verifier =
            self.vault.open(Place { connection, field: Field::Verifier }, &row.try_get::<Vec<u8>>("verifier")?)?;
        let by_browser = row.try_get("by_browser")?;
        Ok(Some(Pending { connection, user, session: session.into(), by_browser, verifier }))
    }
}

fn hash(state: &str) -> Vec<u8> {
    Sha256::digest(state).to_vec()
}
