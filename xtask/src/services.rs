//! Real servers for the tests: what is installed, all of them up for a developer, all of them up for one run of the tests.

mod install;

use std::{path::Path, time::Instant};

use session_manager_services::{Error, Package, Service, Services, missing};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::process::{Failure, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Up,
    Check,
    Install,
}

/// Whether `args` say something that [`run`] can do.
pub(crate) fn is_action(args: &[String]) -> bool {
    Action::parse(args).is_some()
}

pub(crate) fn run(root: &Path, args: &[String]) -> Outcome {
    match Action::parse(args) {
        Some(Action::Up) => up(root),
        Some(Action::Check) => check(),
        Some(Action::Install) => install::run(root).and_then(|()| check()),
        None => Err(Failure::Missing("up, check or install?".to_owned())),
    }
}

impl Action {
    fn parse(args: &[String]) -> Option<Self> {
        match args {
            [word] if word == "up" => Some(Self::Up),
            [word] if word == "check" => Some(Self::Check),
            [word] if word == "install" => Some(Self::Install),
            _ => None,
        }
    }
}

/// Installs what is missing, where that is possible.
pub(crate) fn install(root: &Path) -> Outcome {
    install::run(root)
}

/// Starts all servers, after installing what is missing, and prints how long that took and where they are.
pub(crate) fn start(root: &Path) -> Result<Services, Failure> {
    install::run(root)?;
    let begun = Instant::now();
    let services = Services::start().map_err(|error| match error {
        Error::Missing { .. } => Failure::Missing(error.to_string()),
        _ => Failure::Check(error.to_string()),
    })?;
    let times = services.times().iter().map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64()));
    let times: Vec<_> = times.collect();
    println!("# servers ready after {:.1} s: {}", begun.elapsed().as_secs_f64(), times.join(", "));
    for (variable, value) in services.environment() {
        println!("export {variable}={value}");
    }
    Ok(services)
}

/// Whether the environment names every server already, as after `cargo xtask services up` in another terminal.
pub(crate) fn are_known() -> bool {
    Service::ALL.into_iter().all(|service| std::env::var(service.variable()).is_ok_and(|value| !value.is_empty()))
}

/// Even a signal that is not waited for here, `SIGKILL` among them, ends the servers.
fn up(root: &Path) -> Outcome {
    let cannot = |error: std::io::Error| Failure::Missing(format!("signals cannot be waited for: {error}"));
    let services = start(root)?;
    // Only from here on: whoever loses patience during the start ends it at once.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(cannot)?;
    println!("# Ctrl-C stops them");
    signals.forever().next();
    drop(services);
    println!("# stopped");
    Ok(())
}

fn check() -> Outcome {
    for package in Package::ALL {
        match package.find() {
            Ok(programs) => {
                let programs: Vec<_> = programs.iter().map(|path| path.display().to_string()).collect();
                println!("{package}: {}", programs.join(" "));
            }
            Err(error) => println!("{package}: {error}"),
        }
    }
    lacks(&missing())
}

fn lacks(packages: &[Package]) -> Outcome {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = packages.iter().map(ToString::to_string).collect();
    Err(Failure::Missing(format!(
        "servers for the tests are missing; on Debian: apt-get install --no-install-recommends {}",
        names.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_single_words() {
        let parse = |args: &[&str]| Action::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (args, expected) in [
            (&["up"][..], Some(Action::Up)),
            (&["check"], Some(Action::Check)),
            (&["install"], Some(Action::Install)),
            (&[], None),
            (&["down"], None),
            (&["up", "now"], None),
        ] {
            assert_eq!(parse(args), expected, "{args:?}");
        }
    }

    #[test]
    fn what_is_missing_is_listed_as_one_command() {
        assert!(lacks(&[]).is_ok());
        let failure = lacks(&Package::ALL).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let text = failure.to_string();
        assert!(text.ends_with("postgresql pgbouncer mariadb-server redis-server memcached valgrind"), "{text}");
    }
}
