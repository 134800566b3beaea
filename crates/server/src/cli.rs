//! The command line: `serve` (also without a word), and what operators do beside it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The reference service of session-manager.
#[derive(Debug, Parser)]
#[command(name = "session-manager-server", version, about, long_about = None)]
#[command(after_help = "Every key of the config file can be set by --set key=value or by environment, for example \
    SESSION_MANAGER__POLICY__REFRESH_GRACE=2s. Order: file, environment, --set, --listen and --data; the last one wins.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options that every command takes, before or after its name.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Options {
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,
    /// Folder for the database, the keys and the spooled mail; made when missing [default: ./data]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Config file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one config key; may be given again
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service (the default)
    Serve,
    /// Show or check the configuration without starting
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Find accounts, close them and open them again
    #[command(subcommand)]
    Users(UsersCommand),
    /// List and end sessions
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// End sessions by raising an epoch: every token issued before is refused
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Search, check, export and shorten the audit trail (needs `audit.sinks` with `db`)
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List, rotate and revoke the keys of tokens and providers
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Move to another storage
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Check everything that the service depends on; exit status 1 where something is wrong
    Doctor(Output),
    /// Print the completions of a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective configuration as TOML, secrets masked
    Print,
    /// Say whether the configuration is valid; exit status 0 or 2
    Check,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Output {
    /// JSON for scripts, one object a line, instead of a table for people
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List accounts, newest first
    List {
        /// Only those whose e-mail address contains this
        text: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Close an account to sign-in, and end its sessions
    Disable {
        /// E-mail address or id
        user: String,
    },
    /// Open an account again
    Enable {
        /// E-mail address or id
        user: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List sessions, newest first: a user's, or everybody's
    List {
        /// E-mail address or id of the account
        user: Option<String>,
        /// Ended sessions too
        #[arg(long)]
        include_ended: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// End sessions by their ids, or all of a user's
    Revoke {
        /// Ids of sessions
        #[arg(required_unless_present = "user")]
        ids: Vec<String>,
        /// All sessions of this account (e-mail address or id)
        #[arg(long, conflicts_with = "ids")]
        user: Option<String>,
        /// For the audit trail
        #[arg(long, default_value = "revoked_by_admin")]
        reason: String,
    },
    /// Write every session as a line of JSON, without its secrets
    Export,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Raise a user's epoch, or everybody's
    Rotate {
        /// The account (e-mail address or id)
        #[arg(long, required_unless_present = "everybody", conflicts_with = "everybody")]
        user: Option<String>,
        /// Everybody
        #[arg(long)]
        everybody: bool,
        /// For the audit trail
        #[arg(long)]
        reason: String,
        /// How long everybody's sessions live on, at most 1h; without it they end at once
        #[arg(long, default_value = "0s", requires = "everybody", value_parser = humantime::parse_duration)]
        grace: std::time::Duration,
    },
}

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EventFilter {
    /// Only about this account (e-mail address or id)
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only about this session
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Only of this kind (created, refreshed, revoked, …); may be given again
    #[arg(long)]
    pub(crate) kind: Vec<String>,
    /// Only of this time (RFC 3339) or later
    #[arg(long)]
    pub(crate) since: Option<chrono::DateTime<chrono::Utc>>,
    /// Only before this time (RFC 3339)
    #[arg(long)]
    pub(crate) until: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show events, newest first
    Search {
        #[command(flatten)]
        filter: EventFilter,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Check every row of the chain; exit status 1 where it is broken
    Verify {
        /// The head that an earlier check printed
        #[arg(long)]
        head: Option<String>,
    },
    /// Write events as lines of JSON, oldest first
    Export {
        #[command(flatten)]
        filter: EventFilter,
    },
    /// Remove events older than this; the chain goes on from a signed checkpoint
    Purge {
        /// For example 90d
        #[arg(long, value_parser = humantime::parse_duration)]
        older_than: std::time::Duration,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Copy every session from one storage to another; repeat it until nothing is written any more
    #[command(after_help = "A storage is a kind, with its URL after an equals sign where it has one:\n\n  \
        migrate storage --from sqlx --to redis=redis://127.0.0.1:6379\n\n\
        An interrupted copy goes on where it was when it is called again with the same storages.")]
    Storage {
        /// KIND[=URL]: sqlx, redis, redis-cluster or redis-sentinel
        #[arg(long)]
        from: String,
        /// KIND[=URL], as for --from
        #[arg(long)]
        to: String,
        /// At most so many sessions a second
        #[arg(long)]
        per_second: Option<std::num::NonZeroU32>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Show the keys of tokens by their names, and what has become of each
    List(Output),
    /// Add a key: of tokens, announced now and taking over after the lead; of providers, used from the next start on
    Rotate {
        #[command(flatten)]
        kinds: KeyKinds,
        /// For how long a key of tokens is announced before it takes over: all servers, and whoever caches the published keys, have to know
        /// it by then
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        lead: std::time::Duration,
    },
    /// Take a key of tokens away that has leaked: its tokens are refused
    Revoke {
        /// As `keys list` shows it
        // One name in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        name: String,
    },
}

/// Which keys.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct KeyKinds {
    /// The key that signs access tokens
    #[arg(long)]
    pub(crate) access: bool,
    /// The secret of refresh tokens, and of opaque access tokens
    #[arg(long)]
    pub(crate) refresh: bool,
    /// The key under which the tokens of providers are stored
    #[arg(long)]
    pub(crate) providers: bool,
}

fn key_value(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write it as key=value, for example policy.refresh_grace=2s".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("session-manager-server").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_may_be_called_anything_that_base64_can_spell() {
        assert!(parse("keys revoke -8ZTqoUe0Jg70KKew5x4kUx9XrnaTQwbURq25gAO9Js").is_ok());
        assert!(parse("keys revoke").is_err());
    }

    #[test]
    fn serve_is_the_default_and_options_stand_on_either_side() {
        assert!(parse("").unwrap().command.is_none());
        for line in
            ["--listen 127.0.0.1:0 serve --set a.b=c --set d=e=f", "serve --listen 127.0.0.1:0 --set a.b=c --set d=e=f"]
        {
            let cli = parse(line).unwrap();
            assert!(matches!(cli.command, Some(Command::Serve)), "{line}");
            assert_eq!(cli.options.listen.as_deref(), Some("127.0.0.1:0"));
            assert_eq!(cli.options.set, [("a.b".into(), "c".into()), ("d".into(), "e=f".into())]);
        }
        assert!(matches!(parse("config check").unwrap().command, Some(Command::Config(ConfigCommand::Check))));
        let rotate = parse("keys rotate --providers --access").unwrap().command;
        let Some(Command::Keys(KeysCommand::Rotate { kinds, .. })) = rotate else { panic!("{rotate:?}") };
        assert!(kinds.access && kinds.providers && !kinds.refresh);
        assert!(parse("keys rotate").is_err(), "which?");
    }

    #[test]
    fn a_set_without_key_or_value_is_refused() {
        for line in ["--set policy", "--set =x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
