//! The command line: `serve` (also without a word), `config print`, `config check`, `keys rotate`.

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
    /// Work on the key file
    #[command(subcommand)]
    Keys(KeysCommand),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective configuration as TOML, secrets masked
    Print,
    /// Say whether the configuration is valid; exit status 0 or 2
    Check,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Add a key under which the tokens of providers are stored from the next start on; the older ones still decrypt
    Rotate,
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
        assert!(matches!(parse("keys rotate").unwrap().command, Some(Command::Keys(KeysCommand::Rotate))));
    }

    #[test]
    fn a_set_without_key_or_value_is_refused() {
        for line in ["--set policy", "--set =x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
