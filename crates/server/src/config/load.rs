//! Layers of the configuration: defaults, file, environment, `--set`, `--listen` and `--data`; the last one wins.
//!
//! The `config` crate merges them: it is maintained, keeps the origin of every value, and needs TOML only.

use std::collections::BTreeMap;
use std::path::Path;

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::{Settings, print};
use crate::cli::Options;
use crate::exit::{StartError, reason};

/// The variables of the process, or of a test.
pub(crate) type Environment = std::collections::HashMap<String, String>;

/// Reads all layers and checks the whole.
///
/// # Errors
/// An unreadable file, an unknown key, a bad value (each names the key), or a value this build cannot serve.
pub(crate) fn load(options: &Options, environment: Environment) -> Result<Settings, StartError> {
    let merged = merge(options, environment)?;
    refuse_unknown_keys(&merged)?;
    let settings: Settings = serde_path_to_error::deserialize(merged).map_err(|error| bad_value(&error))?;
    super::check(&settings)?;
    Ok(settings)
}

fn merge(options: &Options, environment: Environment) -> Result<config::Config, StartError> {
    let mut builder = config::Config::builder();
    if let Some(path) = &options.config {
        builder = builder.add_source(File::from_str(&read_file(path)?, FileFormat::Toml));
        // Parsed once by itself, so that a syntax error is told from everything else and its text (which may hold a
        // secret) is not shown.
        let file = File::from_str(&read_file(path)?, FileFormat::Toml);
        file.collect().map_err(|error| syntax_error(path, &error))?;
    }
    builder = builder.add_source(
        config::Environment::with_prefix("SESSION_MANAGER")
            .prefix_separator("__")
            .separator("__")
            .source(Some(environment)),
    );
    let mut set = |key: &str, value: &str, origin: &str| {
        let value = Value::new(Some(&origin.to_owned()), ValueKind::String(value.to_owned()));
        let replaced = std::mem::take(&mut builder).set_override(key, value);
        builder = replaced.map_err(|_| unknown_key(&[(key.to_owned(), format!("on the command line ({origin})"))]))?;
        Ok::<_, StartError>(())
    };
    for (key, value) in &options.set {
        set(key, value, "--set")?;
    }
    if let Some(listen) = &options.listen {
        set("listen", listen, "--listen")?;
    }
    if let Some(data) = &options.data {
        set("data", &data.to_string_lossy(), "--data")?;
    }
    builder.build().map_err(|error| {
        StartError::config("the configuration cannot be read", plain(&error), "Correct it and start again.")
    })
}

fn read_file(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|error| {
        StartError::config(
            format!("the config file {} cannot be read", path.display()),
            reason(&error),
            "Check the path given with --config and the permissions of the file.",
        )
    })
}

fn syntax_error(path: &Path, error: &ConfigError) -> StartError {
    let text = error.to_string();
    // The parser quotes the faulty line; only its position is told, since the line may hold a password.
    let place = text.lines().find(|line| line.contains("line ") && line.contains("column "));
    let place = place.and_then(|line| line.find("line ").map(|start| line.split_at(start).1.to_owned()));
    StartError::config(
        format!("the config file {} is not valid TOML", path.display()),
        place.map_or_else(|| "it cannot be parsed".to_owned(), |place| format!("syntax error at {place}")),
        "Correct the line; the keys are listed by `session-manager-server config print`.",
    )
}

fn refuse_unknown_keys(merged: &config::Config) -> Result<(), StartError> {
    let tree = merged.collect().unwrap_or_default();
    let mut unknown = Vec::new();
    visit(&tree, "", &mut |key, value| {
        let is_table = matches!(value.kind, ValueKind::Table(_));
        if !(print::is_key(key) || is_table && print::is_section(key)) {
            unknown.push((key.to_owned(), origin(value)));
        }
    });
    if unknown.is_empty() { Ok(()) } else { Err(unknown_key(&unknown)) }
}

/// Calls `seen` for every key; does not look below a key that is unknown by its section.
fn visit(table: &Map<String, Value>, prefix: &str, seen: &mut dyn FnMut(&str, &Value)) {
    let sorted: BTreeMap<_, _> = table.iter().collect();
    for (name, value) in sorted {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        seen(&key, value);
        if let ValueKind::Table(inner) = &value.kind
            && (print::is_key(&key) || print::is_section(&key))
        {
            visit(inner, &key, seen);
        }
    }
}

fn origin(value: &Value) -> String {
    // A section has no origin of its own, but what is in it has.
    let inner = match &value.kind {
        ValueKind::Table(inner) => inner.values().next(),
        _ => None,
    };
    if let Some(inner) = inner {
        return origin(inner);
    }
    match value.origin() {
        Some(option) if option.starts_with("--") => format!("on the command line ({option})"),
        Some(other) => format!("in {other}"),
        None => "in the config file".to_owned(),
    }
}

fn unknown_key(unknown: &[(String, String)]) -> StartError {
    let list: Vec<_> = unknown.iter().map(|(key, origin)| format!("`{key}` {origin}")).collect();
    let what = if list.len() == 1 { "unknown config key" } else { "unknown config keys" };
    StartError::config(
        what,
        list.join(", "),
        "Correct the name; every known key is listed by `session-manager-server config print`.",
    )
}

fn bad_value(error: &serde_path_to_error::Error<ConfigError>) -> StartError {
    StartError::config(
        format!("bad value for config key `{}`", error.path()),
        plain(error.inner()),
        "Correct the value and start again.",
    )
}

/// The error in words, without the value: it may be a secret.
fn plain(error: &ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => plain(error),
        ConfigError::Type { expected, .. } => format!("it must be {expected}"),
        ConfigError::Message(message) => message.replace('\n', " "),
        ConfigError::NotFound(key) => format!("`{key}` is missing"),
        _ => "it cannot be parsed".to_owned(),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
