//! Accounts: registration, mail tokens, sign-in with lockout, profile. Time is always an argument.

mod credentials;
mod devices;
mod email;
mod lockout;
mod name;
mod profile;
mod registration;
mod rotations;
mod search;
mod sign_in;
mod tokens;
mod user;

use chrono::{DateTime, Utc};
pub(crate) use credentials::{ChangeRefusal, NewPassword, PasswordRefusal};
pub(crate) use devices::{DeviceKey, DeviceToken};
pub(crate) use email::EmailAddress;
pub(crate) use name::{PersonName, is_unprintable};
pub(crate) use profile::EmailChange;
pub(crate) use registration::Registration;
pub(crate) use rotations::GlobalRotation;
pub(crate) use search::{UserPage, UserSearch};
pub(crate) use sign_in::{Attempted, Origin, Refusal, SignInAttempt};
pub(crate) use tokens::InvalidToken;
pub(crate) use user::{AdminRule, Role, User};

use crate::mail::{MailError, Mailer};
use crate::passwords::{HashingFailed, Passwords};
use crate::random::NoRandomness;
use crate::sql::{self, Overtaken, Pool};
use lockout::Lockout;

/// The accounts of the service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pool: Pool,
    passwords: Passwords,
    mailer: Mailer,
    admins: AdminRule,
    lockout: Lockout,
}

/// Something that is nobody's mistake: storage, mail, randomness. Answered with 5xx; holds no secret in its `Display`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the account storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("the mail could not be sent")]
    Mail(#[from] MailError),
    #[error(transparent)]
    Hashing(#[from] HashingFailed),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl Overtaken for Fault {
    fn is_overtaken(&self) -> bool {
        if let Self::Storage(error) = self { error.is_overtaken() } else { false }
    }
}

impl Accounts {
    /// Accounts in a migrated database.
    pub(crate) fn new(pool: Pool, passwords: Passwords, mailer: Mailer, admins: AdminRule) -> Self {
        Self { lockout: Lockout::new(pool.clone()), pool, passwords, mailer, admins }
    }

    /// The pool, to look at what is stored.
    #[cfg(test)]
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        sql::query("SELECT 1 FROM users LIMIT 1").fetch_all(&self.pool).await?;
        Ok(())
    }

    /// Removes up to `limit` each of what has no meaning any more: expired mail tokens, accounts that were never confirmed and have no link
    /// left, old failures. Returns how many.
    pub(crate) async fn purge(&self, limit: u32, now: DateTime<Utc>) -> Result<u64, Fault> {
        // The tokens first: an account goes when its last one has gone.
        let tokens = tokens::purge(&self.pool, limit, now).await?;
        let accounts = self.purge_unconfirmed(limit, now).await?;
        Ok(tokens + accounts + self.lockout.purge(limit, now).await?)
    }
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod test_support;
