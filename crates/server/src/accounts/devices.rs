//! Devices that signed in to an account before, known by a secret in their cookie.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::user::lock;
use super::{Accounts, Fault};
use crate::random;
use crate::sql::{self, retried};

/// So many devices of a user are remembered; the longest unused is forgotten first.
const KEPT: usize = 50;

/// The secret of a device. It proves nothing but that the device was here before. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceToken(Zeroizing<String>);

impl DeviceToken {
    /// A new one, for the cookie of a device that has none.
    pub(crate) fn generate() -> Result<Self, Fault> {
        let bytes = Zeroizing::new(random::bytes::<32>()?);
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// The one from a cookie; nothing when it has not the form of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let ours = URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
        ours.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text for the cookie.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }
}

/// Makes the secrets of devices that keep no cookie: programs, which are known by their user agent.
///
/// # Security
/// The secret never leaves the server. Without the key nobody can make one up, so that naming a program's user agent gives nobody the
/// guesses of a known device.
#[derive(Clone)]
pub(crate) struct DeviceKey(hmac::Key);

impl DeviceKey {
    /// From the installation's secret.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The secret for a user's programs with this user agent.
    pub(crate) fn of_program(&self, user: Uuid, user_agent: &str) -> DeviceToken {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [b"session-manager-server/program/1".as_slice(), user.as_bytes(), user_agent.as_bytes()] {
            context.update(part);
        }
        DeviceToken(Zeroizing::new(URL_SAFE_NO_PAD.encode(context.sign())))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(***)")
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken(***)")
    }
}

impl Accounts {
    /// Whether the user signed in on this device before.
    pub(crate) async fn knows_device(&self, user: Uuid, device: &DeviceToken) -> Result<bool, Fault> {
        let found = sql::query("SELECT 1 FROM known_devices WHERE user_id = ? AND hash = ?")
            .bind(user.to_string())
            .bind(device.hash())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    /// Remembers the device after a sign-in. Returns whether it is new to an account that knows other devices: then the
    /// owner is to be mailed.
    pub(crate) async fn remember_device(
        &self,
        user: Uuid,
        device: &DeviceToken,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        retried!(self.remember_device_once(user, device, now))
    }

    async fn remember_device_once(&self, user: Uuid, device: &DeviceToken, now: DateTime<Utc>) -> Result<bool, Fault> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, user).await?;
        let inserted = sql::query(
            "INSERT INTO known_devices (user_id, hash, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3) \
             ON CONFLICT (user_id, hash) DO NOTHING",
        )
        .mysql("INSERT IGNORE INTO known_devices (user_id, hash, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3)")
        .bind(user.to_string())
        .bind(device.hash())
        .bind(now.timestamp_millis())
        .execute(&mut transaction)
        .await?;
        let is_new = inserted == 1;
        if !is_new {
            sql::query("UPDATE known_devices SET last_seen = ?3 WHERE user_id = ?1 AND hash = ?2 AND last_seen < ?3")
                .bind(user.to_string())
                .bind(device.hash())
                .bind(now.timestamp_millis())
                .execute(&mut transaction)
                .await?;
        }
        let known = sql::query("SELECT hash FROM known_devices WHERE user_id = ? ORDER BY last_seen DESC")
            .bind(user.to_string())
            .fetch_all(&mut transaction)
            .await?;
        for row in known.iter().skip(KEPT) {
            sql::query("DELETE FROM known_devices WHERE user_id = ? AND hash = ?")
                .bind(user.to_string())
                .bind(row.only::<Vec<u8>>()?)
                .execute(&mut transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(is_new && known.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::test_support::{Bench, at};

    #[test]
    fn only_our_own_form_is_read() {
        let token = DeviceToken::generate().unwrap();
        assert_eq!(DeviceToken::parse(token.expose()), Some(token.clone()));
        for text in ["", "x", &"A".repeat(42), &"A".repeat(44), &format!("{}=", token.expose())] {
            assert_eq!(DeviceToken::parse(text), None);
        }
        assert_eq!(format!("{token:?}"), "DeviceToken(***)");
    }

    #[tokio::test]
    async fn the_first_device_is_no_news_the_second_is() {
        let bench = Bench::new().await;
        let user = bench.verified_user("a@b.example").await;
        let devices: Vec<_> = (0..3).map(|_| DeviceToken::generate().unwrap()).collect();
        assert!(!bench.accounts.knows_device(user.id, &devices[0]).await.unwrap());
        for (device, time, news) in
            [(0, 1, false), (0, 2, false), (1, 3, true), (1, 4, false), (0, 5, false), (2, 6, true)]
        {
            assert_eq!(bench.accounts.remember_device(user.id, &devices[device], at(time)).await.unwrap(), news);
        }
        assert!(bench.accounts.knows_device(user.id, &devices[0]).await.unwrap());
        let other = bench.verified_user("c@d.example").await;
        assert!(!bench.accounts.knows_device(other.id, &devices[0]).await.unwrap(), "known per user");
    }

    #[tokio::test]
    async fn the_longest_unused_is_forgotten() {
        let bench = Bench::new().await;
        let user = bench.verified_user("a@b.example").await;
        let devices: Vec<_> = (0..=KEPT).map(|_| DeviceToken::generate().unwrap()).collect();
        for (time, device) in (0..).zip(&devices) {
            bench.accounts.remember_device(user.id, device, at(time)).await.unwrap();
        }
        assert!(!bench.accounts.knows_device(user.id, &devices[0]).await.unwrap());
        assert!(bench.accounts.knows_device(user.id, &devices[1]).await.unwrap());
    }
}
