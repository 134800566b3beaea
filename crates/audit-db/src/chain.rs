//! The chain: what each row's MAC and commitments are made of. Pure functions; nothing here touches the database.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use session_manager_core::{Error, ErrorKind, Random, Result};
use sha2::{Digest, Sha256};

use crate::field::Field;
use crate::record::Record;

type Prepared = Hmac<Sha256>;

/// The bytes of a MAC, a salt and one commitment.
pub(crate) const WIDTH: usize = 32;

/// The key of a chain.
///
/// # Security
/// Whoever has it can forge the chain: it lives elsewhere than the database. It never shows in `Debug`, and is wiped with its last copy.
#[derive(Clone)]
pub struct ChainKey {
    newest: Prepared,
    older: Vec<Prepared>,
}

impl ChainKey {
    /// A key of at least 32 random bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a shorter one, and for one that is one byte over and over.
    pub fn new(secret: &[u8]) -> Result<Self> {
        Ok(Self { newest: prepared(secret)?, older: Vec::new() })
    }

    /// Also takes what this older key has signed; new rows are signed with the newest.
    ///
    /// # Errors
    /// As [`ChainKey::new`].
    pub fn accepting(mut self, older: &[u8]) -> Result<Self> {
        self.older.push(prepared(older)?);
        Ok(self)
    }

    fn sign(&self, message: &[u8]) -> [u8; WIDTH] {
        self.newest.clone().chain_update(message).finalize().into_bytes().into()
    }

    fn signed(&self, message: &[u8], mac: &[u8]) -> bool {
        let matches = |key: &Prepared| key.clone().chain_update(message).verify_slice(mac).is_ok();
        std::iter::once(&self.newest).chain(&self.older).any(matches)
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainKey").field("older", &self.older.len()).finish_non_exhaustive()
    }
}

fn prepared(secret: &[u8]) -> Result<Prepared> {
    let wrong = |why| Error::new(ErrorKind::Misconfigured, "audit chain").because(why);
    if secret.len() < WIDTH {
        return Err(wrong("a chain's key has at least 32 bytes"));
    }
    if secret.iter().all(|byte| secret.first() == Some(byte)) {
        return Err(wrong("a chain's key must be random"));
    }
    Prepared::new_from_slice(secret).map_err(|_| wrong("a chain's key must be usable"))
}

/// A place in a chain: what to keep outside the database, so that nobody who changes it can cut the chain's tail unseen.
///
/// Its text form is `<number of the row>:<MAC in hexadecimal>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The number of the last row, from 1; 0 while there is none.
    pub seq: u64,
    /// Its MAC.
    pub mac: [u8; WIDTH],
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (seq, mac) = text.trim().split_once(':')?;
            if mac.len() != WIDTH * 2 || !mac.is_ascii() {
                return None;
            }
            let mut bytes = [0; WIDTH];
            for (number, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(mac.get(number * 2..number * 2 + 2)?, 16).ok()?;
            }
            Some(Self { seq: seq.parse().ok()?, mac: bytes })
        };
        parse().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "audit head").because("a head is <number>:<64 hex digits>")
        })
    }
}

impl Head {
    /// The head of a chain without rows.
    pub(crate) fn genesis() -> Self {
        Self { seq: 0, mac: Sha256::digest(b"sm-audit-genesis/1").into() }
    }
}

/// What is erased together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    /// Whose session it is.
    Subject,
    /// Who acted, and from where.
    Client,
    /// Free texts, which may be about either.
    Text,
}

impl Group {
    pub(crate) const ALL: [Self; 3] = [Self::Subject, Self::Client, Self::Text];

    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Subject => 's',
            Self::Client => 'c',
            Self::Text => 't',
        }
    }

    pub(crate) const fn salt(self) -> Field {
        match self {
            Self::Subject => Field::SubjectSalt,
            Self::Client => Field::ClientSalt,
            Self::Text => Field::TextSalt,
        }
    }

    pub(crate) const fn fields(self) -> &'static [Field] {
        match self {
            Self::Subject => &[Field::UserId],
            Self::Client => &[
                Field::Actor,
                Field::IpAddress,
                Field::UserAgent,
                Field::DeviceName,
                Field::Application,
                Field::Hints,
                Field::RequestId,
            ],
            Self::Text => &[Field::Reason, Field::Details],
        }
    }
}

/// The key, and where salts come from.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) key: ChainKey,
    pub(crate) random: Arc<dyn Random>,
}

/// What a row has beside its event.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) mac: Vec<u8>,
    pub(crate) commitments: Vec<u8>,
    pub(crate) salts: [Option<Vec<u8>>; 3],
}

impl Chain {
    /// Links a record to what is before it.
    pub(crate) fn link(&self, before: &Head, record: &Record) -> Result<(Link, Head)> {
        let mut salts = [const { None }; 3];
        let mut commitments = Vec::with_capacity(WIDTH * Group::ALL.len());
        for (group, salt) in Group::ALL.into_iter().zip(&mut salts) {
            let mut bytes = vec![0; WIDTH];
            self.random.fill(&mut bytes)?;
            commitments.extend(commitment(group, &bytes, record));
            *salt = Some(bytes);
        }
        let seq = before.seq + 1;
        let mac = self.key.sign(&row_message(&before.mac, seq, record, &commitments));
        Ok((Link { seq, mac: mac.to_vec(), commitments, salts }, Head { seq, mac }))
    }

    /// Whether a row is the one that follows `before`.
    pub(crate) fn follows(&self, before: &Head, record: &Record, link: &Link) -> bool {
        self.key.signed(&row_message(&before.mac, link.seq, record, &link.commitments), &link.mac)
    }

    pub(crate) fn prove(&self, mark: &str, head: &Head) -> [u8; WIDTH] {
        self.key.sign(&mark_message(mark, head))
    }

    pub(crate) fn proven(&self, mark: &str, head: &Head, proof: &[u8]) -> bool {
        self.key.signed(&mark_message(mark, head), proof)
    }
}

/// What a group's columns are committed to.
pub(crate) fn commitment(group: Group, salt: &[u8], record: &Record) -> [u8; WIDTH] {
    let mut digest =
        Sha256::new().chain_update(b"sm-audit-commitment/1").chain_update([u8::try_from(group.letter()).unwrap_or(0)]);
    digest.update(salt);
    for field in group.fields() {
        let mut bytes = Vec::new();
        optional(&mut bytes, record.texts.get(field).map(String::as_bytes));
        digest.update(bytes);
    }
    digest.finalize().into()
}

fn row_message(before: &[u8; WIDTH], seq: u64, record: &Record, commitments: &[u8]) -> Vec<u8> {
    let mut bytes = b"sm-audit-row/1".to_vec();
    bytes.extend(before);
    bytes.extend(seq.to_be_bytes());
    bytes.extend(record.id.as_bytes());
    optional(&mut bytes, Some(record.kind.as_bytes()));
    bytes.extend(record.at.timestamp_millis().to_be_bytes());
    optional(&mut bytes, record.session_id.as_ref().map(|id| id.as_bytes().as_slice()));
    optional(&mut bytes, Some(commitments));
    bytes
}

fn mark_message(mark: &str, head: &Head) -> Vec<u8> {
    let mut bytes = b"sm-audit-mark/1".to_vec();
    optional(&mut bytes, Some(mark.as_bytes()));
    bytes.extend(head.seq.to_be_bytes());
    bytes.extend(head.mac);
    bytes
}

/// Whether there is a value, its length and itself: no two lists of values look the same.
fn optional(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => bytes.push(0),
        Some(value) => {
            bytes.push(1);
            bytes.extend(u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_random_and_do_not_show() {
        assert!(ChainKey::new(&[7; 31]).is_err() && ChainKey::new(&[7; 32]).is_err());
        let key = ChainKey::new(b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(format!("{key:?}"), "ChainKey { older: 0, .. }");
    }

    #[test]
    fn heads_round_trip_and_nonsense_is_refused() {
        let head = Head { seq: 42, mac: [0xab; 32] };
        assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        for bad in ["", "42", "42:", "x:00", &format!("42:{}", "0".repeat(63)), &format!("42:{}", "é".repeat(32))] {
            assert!(bad.parse::<Head>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_of_values_do_not_run_into_each_other() {
        let bytes = |values: &[Option<&[u8]>]| {
            let mut bytes = Vec::new();
            for value in values {
                optional(&mut bytes, *value);
            }
            bytes
        };
        assert_ne!(bytes(&[Some(b"ab"), Some(b"")]), bytes(&[Some(b"a"), Some(b"b")]));
        assert_ne!(bytes(&[None, Some(b"")]), bytes(&[Some(b""), None]));
    }
}
