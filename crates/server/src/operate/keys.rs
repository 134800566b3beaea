//! `keys`: further keys for tokens and providers, and the end of one that has leaked.

use std::time::Duration;

use serde::Serialize;
use session_manager_core::{Clock as _, SystemClock};

use super::table::{Rows, time};
use super::{failed, misspelt, say};
use crate::cli::{KeyKinds, KeysCommand, Output};
use crate::config::Settings;
use crate::data;
use crate::exit::StartError;
use crate::keys::{Keys, Kind, Named, Overlap, State};
use crate::serve::READ_KEYS_EVERY;

/// Whoever caches the published keys for longer has to be told by hand.
const LONGEST_LEAD: Duration = Duration::from_hours(30 * 24);

pub(super) async fn run(settings: &Settings, command: KeysCommand) -> Result<(), StartError> {
    let (overlap, now) = (Overlap::of(&settings.policy), SystemClock.now());
    match command {
        KeysCommand::List(output) => {
            let keys = data::keys(settings).await?;
            list(&keys.named(overlap, now), output)
        }
        KeysCommand::Rotate { kinds, lead } => {
            if lead > LONGEST_LEAD {
                return Err(misspelt("the lead", "it is 0s to 30d"));
            }
            let KeyKinds { access, refresh, providers } = kinds;
            let kinds = [(access, Kind::Access), (refresh, Kind::Refresh)];
            let kinds: Vec<_> = kinds.into_iter().filter(|(is_meant, _)| *is_meant).map(|(_, kind)| kind).collect();
            let changed = data::change_keys(settings, |mut keys, folder| {
                for kind in &kinds {
                    keys = keys.with_token_key(folder, *kind, now + lead, (overlap, now))?;
                }
                if providers { keys.with_provider_key(folder) } else { Ok(keys) }
            });
            let keys = changed.await?;
            for kind in kinds {
                say(&announced(&keys, kind, (overlap, now)))?;
            }
            if lead < READ_KEYS_EVERY && (access || refresh) {
                say("whoever has not read the file refuses its tokens until then: a longer lead spares them that\n")?;
            }
            if providers {
                let count = keys.provider_keys().len();
                say(&format!(
                    "the key file has {count} keys of providers; the newest is used from the next start on\n"
                ))?;
            }
            Ok(())
        }
        KeysCommand::Revoke { name } => {
            let mut found = Kind::Access;
            let changed = data::change_keys(settings, |keys, _| {
                let (keys, kind) = keys.without_token_key(&name, (overlap, now))?;
                found = kind;
                Ok(keys)
            });
            let keys = changed.await?;
            say(&revocation(&keys, found, &name, (overlap, now)))
        }
    }
}

fn announced(keys: &Keys, kind: Kind, at: (Overlap, chrono::DateTime<chrono::Utc>)) -> String {
    let newest = keys.named(at.0, at.1).into_iter().rfind(|named| named.kind == kind);
    let Some(newest) = newest else { return String::new() };
    let (since, by) = match newest.state {
        State::Announced { from } => {
            (format!("from {} on; it is accepted, and published, from now on", time(from)), "before that")
        }
        _ => ("from now on".to_owned(), "at once"),
    };
    format!(
        "{} key {} makes tokens {since}\nrunning servers read the file within 30s, and at once by SIGHUP; servers with a copy of the \
         file need the new one {by}\n",
        kind.word(),
        newest.name
    )
}

fn revocation(keys: &Keys, kind: Kind, name: &str, at: (Overlap, chrono::DateTime<chrono::Utc>)) -> String {
    let current = keys.named(at.0, at.1).into_iter().find(|named| named.kind == kind && named.state == State::Current);
    let current = current.map_or_else(String::new, |named| named.name);
    let effect = match kind {
        Kind::Access => "clients get new ones by refreshing",
        Kind::Refresh => "whoever has one signs in again",
    };
    format!(
        "{} key {name} is gone: its tokens are refused by each server as soon as it has read the file, within 30s, or at once by SIGHUP; \
         {effect}\n{} key {current} makes tokens now\n",
        kind.word(),
        kind.word(),
    )
}

#[derive(Serialize)]
struct Row<'a> {
    kind: &'a str,
    name: &'a str,
    state: &'a str,
    at: Option<chrono::DateTime<chrono::Utc>>,
}

fn list(keys: &[Named], output: Output) -> Result<(), StartError> {
    let mut rows = Rows::new(&["KIND", "NAME", "STATE"]);
    for Named { kind, name, state } in keys {
        let (word, at) = match *state {
            State::Announced { from } => ("announced", Some(from)),
            State::Current => ("current", None),
            State::Succeeded { until } => ("succeeded", Some(until)),
            State::Over => ("over", None),
        };
        if output.json {
            let row = Row { kind: kind.word(), name, state: word, at };
            let line = serde_json::to_string(&row).map_err(|error| failed("it cannot be written", error))?;
            say(&format!("{line}\n"))?;
            continue;
        }
        let told = match *state {
            State::Announced { from } => format!("makes tokens from {} on", time(from)),
            State::Current => "makes tokens".to_owned(),
            State::Succeeded { until } => format!("its tokens are accepted until {}", time(until)),
            State::Over => "none of its tokens is accepted".to_owned(),
        };
        rows.add(&[kind.word().to_owned(), name.clone(), told]);
    }
    if output.json { Ok(()) } else { say(&rows.into_text()) }
}
