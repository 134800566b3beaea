//! Changes of the key file: further keys, keys that are taken away, and what has become of each.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{AccessKey, FILE, Keys, MAX_PROVIDER_KEYS, MAX_TOKEN_KEYS, RefreshSecret, cannot_be_made, new_key};
use crate::config::Policy;
use crate::exit::StartError;

/// Keys that nothing is accepted of any more stay in the file for so long, for clocks that are behind.
const KEPT: Duration = Duration::from_hours(1);

/// What a key makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access,
    Refresh,
}

/// How long the tokens of a key are accepted after its successor has taken over: until the last of them has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlap {
    pub(super) access: Duration,
    pub(super) refresh: Duration,
}

/// What has become of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It makes tokens from then on; those that others make with it are accepted already.
    Announced { from: DateTime<Utc> },
    /// It makes tokens now.
    Current,
    /// Its tokens are accepted until then, and it makes no more.
    Succeeded { until: DateTime<Utc> },
    /// None of its tokens is accepted.
    Over,
}

/// A key by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) state: State,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

impl Overlap {
    /// Access tokens live as long as the policy says, and refresh tokens as long as a session at most.
    pub(crate) fn of(policy: &Policy) -> Self {
        let policy = policy.nested();
        Self { access: policy.access_token_lifetime, refresh: policy.absolute_lifetime }
    }

    pub(super) const fn of_kind(self, kind: Kind) -> Duration {
        match kind {
            Kind::Access => self.access,
            Kind::Refresh => self.refresh,
        }
    }
}

impl Keys {
    /// The keys of tokens, those of access tokens first, each kind in the order in which they take over.
    pub(crate) fn named(&self, overlap: Overlap, now: DateTime<Utc>) -> Vec<Named> {
        let of_kind = |kind| {
            let names = self.names(kind);
            let froms: Vec<_> = names.iter().map(|(_, from)| *from).collect();
            let state = move |index: usize| state(&froms, index, overlap.of_kind(kind), now);
            names.into_iter().enumerate().map(move |(index, (name, _))| Named { kind, name, state: state(index) })
        };
        of_kind(Kind::Access).chain(of_kind(Kind::Refresh)).collect()
    }

    /// Adds a key under which the tokens of providers are stored from now on. The older keys stay: what they encrypted can still be read. A
    /// server that is running uses the new key after its next start.
    ///
    /// # Errors
    /// There are as many keys as fit.
    pub(crate) fn with_provider_key(mut self, folder: &Path) -> Result<Self, StartError> {
        if self.for_providers.len() >= MAX_PROVIDER_KEYS {
            let why = "it holds as many keys of providers as fit";
            let remedy =
                "Connections that are made anew or refreshed use the newest key; the others need the older ones.";
            return Err(StartError::environment(cannot_be_added(folder), why, remedy));
        }
        self.for_providers.push(new_key().map_err(cannot_be_made)?);
        Ok(self)
    }

    /// Announces a key of tokens that takes over at `from`, and forgets those that nothing is accepted of any more.
    ///
    /// # Errors
    /// One is announced already, or there are as many keys as fit.
    pub(crate) fn with_token_key(
        mut self,
        folder: &Path,
        kind: Kind,
        from: DateTime<Utc>,
        (overlap, now): (Overlap, DateTime<Utc>),
    ) -> Result<Self, StartError> {
        let is_announced = |named: &Named| named.kind == kind && matches!(named.state, State::Announced { .. });
        if let Some(named) = self.named(overlap, now).into_iter().find(is_announced) {
            return Err(StartError::environment(
                cannot_be_added(folder),
                format!("one for {} tokens is announced already: {}", kind.word(), named.name),
                "Wait until it has taken over, or take it back with `keys revoke NAME`.",
            ));
        }
        self.forget(overlap, now);
        if self.names(kind).len() >= MAX_TOKEN_KEYS {
            let why = format!("it holds as many for {} tokens as fit", kind.word());
            let remedy = "The oldest goes when the last of its tokens has ended: `keys list` says when.";
            return Err(StartError::environment(cannot_be_added(folder), why, remedy));
        }
        self.push(kind, from.timestamp())?;
        Ok(self)
    }

    /// Takes a key of tokens away: its tokens are refused by every server that has read the file. If it is the one that makes tokens, the one
    /// that is announced takes over at once, or a new one.
    ///
    /// # Errors
    /// There is no key of this name.
    pub(crate) fn without_token_key(
        mut self,
        name: &str,
        (overlap, now): (Overlap, DateTime<Utc>),
    ) -> Result<(Self, Kind), StartError> {
        let Some(found) = self.named(overlap, now).into_iter().find(|named| named.name == name) else {
            return Err(StartError::environment(
                format!("there is no key {name} of tokens in the key file"),
                "it was taken away before, or is written otherwise",
                "`keys list` shows all names.",
            ));
        };
        // What is over by now must not come back because the key that followed it goes.
        self.forget(overlap, now + KEPT);
        let names = self.names(found.kind);
        let Some(index) = names.iter().position(|(known, _)| known == name) else { return Ok((self, found.kind)) };
        let from = names.get(index).map_or(i64::MAX, |(_, from)| *from).min(now.timestamp());
        match found.kind {
            Kind::Access => drop(self.access.remove(index)),
            Kind::Refresh => drop(self.refresh.remove(index)),
        }
        match found.state {
            State::Announced { .. } => {}
            _ => self.follows(found.kind, index, from)?,
        }
        Ok((self, found.kind))
    }

    /// What followed the key that was at this place takes over when that one did, so that the one before it ends when it would have; or a new one.
    fn follows(&mut self, kind: Kind, index: usize, since: i64) -> Result<(), StartError> {
        let next = match kind {
            Kind::Access => self.access.get_mut(index).map(|key| &mut key.from),
            Kind::Refresh => self.refresh.get_mut(index).map(|key| &mut key.from),
        };
        match next {
            Some(from) => {
                *from = since.min(*from);
                Ok(())
            }
            None => self.push(kind, since),
        }
    }

    fn push(&mut self, kind: Kind, from: i64) -> Result<(), StartError> {
        match kind {
            Kind::Access => self.access.push(AccessKey::generate(from).map_err(cannot_be_made)?),
            Kind::Refresh => self.refresh.push(RefreshSecret::generate(from).map_err(cannot_be_made)?),
        }
        Ok(())
    }

    fn forget(&mut self, overlap: Overlap, now: DateTime<Utc>) {
        let over: Vec<_> =
            self.named(overlap, now - KEPT).into_iter().filter(|named| named.state == State::Over).collect();
        let is_over = |kind: Kind, name: &str| over.iter().any(|named| named.kind == kind && named.name == name);
        self.access.retain(|key| !is_over(Kind::Access, key.kid()));
        self.refresh.retain(|key| !is_over(Kind::Refresh, &key.name));
    }

    fn names(&self, kind: Kind) -> Vec<(String, i64)> {
        match kind {
            Kind::Access => self.access.iter().map(|key| (key.kid().to_owned(), key.from)).collect(),
            Kind::Refresh => self.refresh.iter().map(|key| (key.name.clone(), key.from)).collect(),
        }
    }
}

/// Of the key at this place, where each takes over from the one before it.
pub(super) fn state(froms: &[i64], index: usize, overlap: Duration, now: DateTime<Utc>) -> State {
    let from = froms.get(index).copied().map_or(now, time);
    if from > now {
        // The first one makes tokens whatever its time: a clock may be behind.
        return if index == 0 { State::Current } else { State::Announced { from } };
    }
    match froms.get(index.saturating_add(1)).copied().map(time) {
        Some(next) if next <= now => {
            let until = next + overlap;
            if now < until { State::Succeeded { until } } else { State::Over }
        }
        _ => State::Current,
    }
}

pub(super) fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::UNIX_EPOCH)
}

fn cannot_be_added(folder: &Path) -> String {
    format!("no key can be added to {}", folder.join(FILE).display())
}
