//! Signing in with address and password.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::lockout::{self, Admission, Source, Target};
use super::user::{by_email, by_id_locked};
use super::{Accounts, DeviceToken, EmailAddress, Fault, User};
use crate::passwords::Password;

/// From where somebody tries.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    /// The secret of the device's cookie, when it sent one.
    pub(crate) device: Option<DeviceToken>,
}

/// An attempt to sign in.
#[derive(Clone, Debug)]
pub(crate) struct SignInAttempt {
    pub(crate) email: EmailAddress,
    pub(crate) password: Password,
    pub(crate) origin: Origin,
}

/// The right password of an account that may sign in.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) user: User,
    /// What the password was checked against.
    checked: CheckedHash,
    /// The account knows the device that was named.
    #[cfg_attr(not(test), expect(dead_code, reason = "the audit trail of sign-ins will tell it"))]
    pub(crate) device_known: bool,
}

/// A stored hash. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
struct CheckedHash(String);

impl fmt::Debug for CheckedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckedHash(***)")
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Unknown address or wrong password: one text, same time.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    #[error("too many failed attempts from here, try again later")]
    Locked { retry_after: Duration },
    /// The password was right.
    #[error("the e-mail address is not confirmed yet")]
    NotVerified,
    /// The password was right.
    #[error("the account is disabled")]
    Disabled,
}

/// An answer, and how long to hold it back.
#[derive(Clone, Debug)]
#[must_use = "wait for `delay` before the outcome is told"]
pub(crate) struct Attempted<T, E = Refusal> {
    /// Grows with the failures; the same whether the password is right or wrong.
    pub(crate) delay: Duration,
    pub(crate) outcome: Result<T, E>,
}

impl Accounts {
    /// Checks address and password.
    ///
    /// # Behaviour
    /// - An unknown address costs the same queries and a password hash, and counts towards a lock like a known one.
    /// - That the account is disabled or not confirmed is told only after the right password.
    /// - A dropped future may leave the attempt uncounted when it is dropped before the password was checked.
    pub(crate) async fn sign_in(
        &self,
        attempt: SignInAttempt,
        now: DateTime<Utc>,
    ) -> Result<Attempted<SignedIn>, Fault> {
        let SignInAttempt { email, password, origin } = attempt;
        let stored = by_email(&self.pool, &email).await?;
        let (hash, user) = match stored {
            Some(stored) => (Some(stored.password_hash.clone()), Some(stored.into_user(&self.admins))),
            None => (None, None),
        };
        let source = self.source(user.as_ref(), &origin).await?;
        let device_known = matches!(source, Source::Device(_));
        let Attempted { delay, outcome } =
            self.try_password(&Target::new(&email), &source, hash.as_deref(), password, now).await?;
        let outcome = outcome.and_then(|()| match (user, hash) {
            (Some(user), _) if user.disabled_at.is_some() => Err(Refusal::Disabled),
            (Some(user), _) if user.email_verified_at.is_none() => Err(Refusal::NotVerified),
            (Some(user), Some(hash)) => Ok(SignedIn { user, checked: CheckedHash(hash), device_known }),
            _ => Err(Refusal::WrongCredentials),
        });
        Ok(Attempted { delay, outcome })
    }

    /// Asked once the session of a sign-in exists: whether the password is still the stored one, and the account open.
    ///
    /// # Security
    /// Between the check of the password and the beginning of the session lie a password hash and a delay. A change that ended the
    /// account's sessions in between has not ended this one, which began after it: the caller ends it when this says no. Whoever changes an
    /// account holds its lock from before the end of the sessions to the commit, and so the answer waits for that lock.
    pub(crate) async fn still_admits(&self, signed_in: &SignedIn) -> Result<Result<(), Refusal>, Fault> {
        let mut transaction = self.pool.begin().await?;
        let stored = by_id_locked(&mut transaction, signed_in.user.id).await?;
        transaction.rollback().await?;
        let Some(stored) = stored.filter(|stored| stored.password_hash == signed_in.checked.0) else {
            return Ok(Err(Refusal::WrongCredentials));
        };
        let disabled = stored.into_user(&self.admins).disabled_at.is_some();
        Ok(if disabled { Err(Refusal::Disabled) } else { Ok(()) })
    }

    /// Checks the password of a signed-in user again (step-up, password change), with the same lockout: a stolen session
    /// must not become a way to guess.
    pub(crate) async fn check_password(
        &self,
        user: &User,
        password: Password,
        origin: &Origin,
        now: DateTime<Utc>,
    ) -> Result<Attempted<()>, Fault> {
        let stored = by_email(&self.pool, &user.email).await?;
        let hash = stored.map(|stored| stored.password_hash);
        let source = self.source(Some(user), origin).await?;
        self.try_password(&Target::new(&user.email), &source, hash.as_deref(), password, now).await
    }

    /// An unknown address asks what a known one asks, of an account that nobody has: otherwise whoever sends a device along could tell the two
    /// apart by the time.
    async fn source(&self, user: Option<&User>, origin: &Origin) -> Result<Source, Fault> {
        let Some(device) = &origin.device else { return Ok(Source::block(origin.address)) };
        let is_known = self.knows_device(user.map_or(Uuid::nil(), |user| user.id), device).await?;
        Ok(if is_known && user.is_some() { Source::device(device) } else { Source::block(origin.address) })
    }

    async fn try_password(
        &self,
        target: &Target,
        source: &Source,
        hash: Option<&str>,
        password: Password,
        now: DateTime<Utc>,
    ) -> Result<Attempted<()>, Fault> {
        let locked = |until| Refusal::Locked { retry_after: lockout::remaining(until, now) };
        let delay = match self.lockout.admit(target, source, now).await? {
            Admission::Open { delay } => delay,
            Admission::Locked { until } => {
                return Ok(Attempted { delay: Duration::ZERO, outcome: Err(locked(until)) });
            }
        };
        let outcome = if self.passwords.verify(password, hash).await? {
            match self.lockout.succeeded(target, source, now).await? {
                Some(until) => Err(locked(until)),
                None => Ok(()),
            }
        } else {
            // The tenth failure is told as one; the lock shows from the next attempt on.
            match self.lockout.failed(target, source, now).await? {
                Some(until) => Err(locked(until)),
                None => Err(Refusal::WrongCredentials),
            }
        };
        Ok(Attempted { delay, outcome })
    }
}

#[cfg(test)]
#[path = "sign_in_tests.rs"]
mod tests;
