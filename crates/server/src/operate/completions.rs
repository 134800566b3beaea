//! Completions for shells.

use clap::CommandFactory as _;

use super::say;
use crate::cli::Cli;
use crate::exit::StartError;

pub(super) fn print(shell: clap_complete::Shell) -> Result<(), StartError> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "session-manager-server", &mut text);
    say(&String::from_utf8_lossy(&text))
}
