//! Guessing passwords: ten failures from one origin lock (account, origin) for an hour, with growing delays before; failures
//! from everywhere only slow the account down.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::user::time;
use super::{DeviceToken, EmailAddress, Fault};
use crate::sql::{self, Pool, retried};

const LIMIT: u32 = 10;
const LOCKED_MILLIS: i64 = 60 * 60 * 1000;
/// Failures older than this are forgotten.
const MEMORY_MILLIS: i64 = 60 * 60 * 1000;
/// From this failure on an origin, or an account as a whole, is slowed down.
const ORIGIN_PATIENCE: u32 = 3;
const ACCOUNT_PATIENCE: u32 = LIMIT;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// The origin under which failures from everywhere are counted.
const EVERYWHERE: &str = "*";

/// The account that somebody tries to enter, whether it exists or not.
#[derive(Clone, Debug)]
pub(super) struct Target(Vec<u8>);

impl Target {
    pub(super) fn new(email: &EmailAddress) -> Self {
        Self(Sha256::digest(email.as_str()).to_vec())
    }
}

/// From where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An address block: /24 or /48.
    Block(IpNet),
    /// A device that the account knows: it has ten guesses of its own, and neither the failures of its block nor those of
    /// everywhere touch it, so that nobody can lock out another.
    Device(String),
}

impl Source {
    pub(super) fn block(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { 24 } else { 48 };
        Self::Block(IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc()))
    }

    pub(super) fn device(device: &DeviceToken) -> Self {
        Self::Device(format!("device:{}", URL_SAFE_NO_PAD.encode(device.hash())))
    }

    fn key(&self) -> String {
        match self {
            Self::Block(network) => network.to_string(),
            Self::Device(key) => key.clone(),
        }
    }
}

/// Whether somebody may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes; the answer is held back so long, right or wrong.
    Open {
        delay: Duration,
    },
    Locked {
        until: DateTime<Utc>,
    },
}

/// Counts failures.
#[derive(Clone, Debug)]
pub(super) struct Lockout {
    pool: Pool,
}

impl Lockout {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Asked before the password is looked at.
    pub(super) async fn admit(&self, target: &Target, source: &Source, now: DateTime<Utc>) -> Result<Admission, Fault> {
        let key = source.key();
        let rows = sql::query(
            "SELECT origin, count, locked_until FROM login_failures \
             WHERE account = ? AND origin IN (?, ?) AND last_failure_at > ?",
        )
        .bind(&target.0)
        .bind(&key)
        .bind(EVERYWHERE)
        .bind(now.timestamp_millis() - MEMORY_MILLIS)
        .fetch_all(&self.pool)
        .await?;
        let mut delay = Duration::ZERO;
        for row in rows {
            let (origin, count): (String, i64) = (row.try_get("origin")?, row.try_get("count")?);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            if origin == key {
                if let Some(until) = row.try_get::<Option<i64>>("locked_until")?
                    && until > now.timestamp_millis()
                {
                    return Ok(Admission::Locked { until: time(until)? });
                }
                delay = delay.max(delay_after(count, ORIGIN_PATIENCE));
            } else if matches!(source, Source::Block(_)) {
                delay = delay.max(delay_after(count, ACCOUNT_PATIENCE));
            }
        }
        Ok(Admission::Open { delay })
    }

    /// Counts a failure. Returns the end of the lock when other guesses, made at the same time, had locked the origin before:
    /// of any number of guesses made at once the eleventh learns nothing.
    pub(super) async fn failed(
        &self,
        target: &Target,
        source: &Source,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Fault> {
        if !self.count(target, &source.key(), LIMIT, now).await? {
            return match self.admit(target, source, now).await? {
                Admission::Locked { until } => Ok(Some(until)),
                Admission::Open { .. } => Ok(None),
            };
        }
        if matches!(source, Source::Block(_)) {
            self.count(target, EVERYWHERE, u32::MAX, now).await?;
        }
        Ok(None)
    }

    /// Adds one, and the lock at the limit, while nobody else counts the same. Returns `false` when it is locked already.
    async fn count(&self, target: &Target, origin: &str, limit: u32, now: DateTime<Utc>) -> Result<bool, Fault> {
        retried!(self.count_once(target, origin, limit, now))
    }

    async fn count_once(&self, target: &Target, origin: &str, limit: u32, now: DateTime<Utc>) -> Result<bool, Fault> {
        let mut transaction = self.pool.begin().await?;
        // Makes the row where it is missing, and holds it in either case.
        sql::query(
            "INSERT INTO login_failures (account, origin, count, last_failure_at) VALUES (?1, ?2, 0, ?3) \
             ON CONFLICT (account, origin) DO UPDATE SET origin = excluded.origin",
        )
        .mysql(
            "INSERT INTO login_failures (account, origin, count, last_failure_at) VALUES (?1, ?2, 0, ?3) \
             ON DUPLICATE KEY UPDATE origin = ?2",
        )
        .bind(&target.0)
        .bind(origin)
        .bind(now.timestamp_millis())
        .execute(&mut transaction)
        .await?;
        // The order matters to MySQL, where each assignment sees those before it.
        let done = sql::query(
            "UPDATE login_failures SET \
               count = CASE WHEN locked_until IS NOT NULL OR last_failure_at <= ?4 THEN 1 ELSE count + 1 END, \
               locked_until = CASE WHEN locked_until IS NULL AND last_failure_at > ?4 AND count + 1 >= ?5 THEN ?6 END, \
               last_failure_at = ?3 \
             WHERE account = ?1 AND origin = ?2 AND (locked_until IS NULL OR locked_until <= ?3)",
        )
        .mysql(
            "UPDATE login_failures SET \
               count = CASE WHEN locked_until IS NOT NULL OR last_failure_at <= ?4 THEN 1 ELSE count + 1 END, \
               locked_until = CASE WHEN locked_until IS NULL AND last_failure_at > ?4 AND count >= ?5 THEN ?6 END, \
               last_failure_at = ?3 \
             WHERE account = ?1 AND origin = ?2 AND (locked_until IS NULL OR locked_until <= ?3)",
        )
        .bind(&target.0)
        .bind(origin)
        .bind(now.timestamp_millis())
        .bind(now.timestamp_millis() - MEMORY_MILLIS)
        .bind(limit)
        .bind(now.timestamp_millis() + LOCKED_MILLIS)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(done > 0)
    }

    /// Forgets the failures of the origin after the right password. Returns the end of the lock when guesses that ran
    /// beside it locked the origin meanwhile: then the right password counts as a guess too.
    pub(super) async fn succeeded(
        &self,
        target: &Target,
        source: &Source,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Fault> {
        if let Admission::Locked { until } = self.admit(target, source, now).await? {
            return Ok(Some(until));
        }
        // Mostly there is nothing to forget, and then there is no write either.
        sql::query(
            "DELETE FROM login_failures WHERE account = ?1 AND origin = ?2 AND (locked_until IS NULL OR locked_until <= ?3)",
        )
        .bind(&target.0)
        .bind(source.key())
        .bind(now.timestamp_millis())
        .execute(&self.pool)
        .await?;
        Ok(None)
    }

    /// Removes failures that are forgotten anyway.
    pub(super) async fn purge(&self, limit: u32, now: DateTime<Utc>) -> Result<u64, Fault> {
        let done = sql::query(
            "DELETE FROM login_failures WHERE (account, origin) IN (SELECT account, origin FROM login_failures \
             WHERE last_failure_at <= ?1 AND coalesce(locked_until, 0) <= ?2 ORDER BY last_failure_at LIMIT ?3) \
             AND last_failure_at <= ?1",
        )
        .mysql(
            "DELETE FROM login_failures WHERE last_failure_at <= ?1 AND coalesce(locked_until, 0) <= ?2 \
             ORDER BY last_failure_at LIMIT ?3",
        )
        .bind(now.timestamp_millis() - MEMORY_MILLIS)
        .bind(now.timestamp_millis())
        .bind(limit)
        .execute(&self.pool)
        .await?;
        Ok(done)
    }
}

/// Nothing up to `patience` failures, then twice as long with each.
fn delay_after(failures: u32, patience: u32) -> Duration {
    let Some(beyond) = failures.checked_sub(patience) else { return Duration::ZERO };
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST_DELAY)
}

/// How long a lock lasts, for messages.
pub(super) fn remaining(until: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (until - now).max(TimeDelta::zero()).to_std().unwrap_or_default()
}

#[cfg(test)]
#[path = "lockout_tests.rs"]
mod tests;
