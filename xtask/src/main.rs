//! Every maintainer task of the workspace: `cargo xtask help` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its terminal")]

mod browser;
mod checks;
mod ci;
mod fuzz;
mod guarantees;
mod interop;
mod process;
mod schemathesis;
mod services;
mod tidy;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use process::{Failure, Outcome, Program};
use session_manager_services::Services;

const HELP: &str = "\
Maintainer tasks of session-manager

Usage: cargo xtask <task>

  ci              every check below in order, with a table of their times; goes on after a failure
                  and lists them all
  tools           install the tools that are missing (into target/tools) and print where they are
  fmt             format every crate; `fmt --check` only looks
  clippy          lint every target with all features; a warning is an error
  tidy            the project's own rules: layout, manifests, who depends on whom, sources, pages
  test [ARGS]     all tests, then the doc tests; with ARGS only `cargo nextest run ARGS`. Starts a server
                  of each kind before, unless the environment names them; `test --no-services [ARGS]`
                  starts none, and tests that need one are skipped
  services DO     up: start a server of each kind, print where they are, and stop them at Ctrl-C;
                  check: say which are installed; install: install the missing ones (Debian, as root)
  guarantees      write the page of the book that says what the last `ci` proved of each storage
  bench [ARGS]    what operations cost beside bare commands and statements, as ratios; ARGS are
                  `--quick`, `--sessions N` and groups: memory, sqlite, postgres, redis, bytes, growth
  features        every crate by itself: no feature, each feature alone, all features
  doc             rustdoc of every crate; a warning is an error
  book            build the book in docs into target/book; a warning is an error
  markdown        lint every Markdown file
  interop         exchange tokens and key sets with PyJWT, joserfc and jose for Node.js, and connect the
                  reference service to oidc-provider (installs them into target/interop)
  schemathesis    ask every endpoint of the server for what its OpenAPI document allows, and for what it
                  does not (installs Schemathesis into target/schemathesis)
  browser         drive the server's pages in Chromium and check them with axe-core; pictures of them are in
                  target/browser/screenshots (installs the libraries into target/browser)
  fuzz [ARGS]     feed every parser with what a fuzzer makes up (needs a nightly toolchain); ARGS are
                  `--seconds N` for each target (60), `--runs N` instead, and names of targets
  deny            licences, banned crates, sources and lock files of all dependencies
  nightly-checks  what is too slow or too unstable for `ci`: schemathesis, browser, interop, every pair of
                  features, the oldest dependencies that the manifests allow, and every fuzz target for ten
                  minutes (needs a nightly toolchain)

Exit code: 0 all is well, 1 a check failed, 2 this machine lacks something (the message says what).
";

fn main() -> ExitCode {
    let outcome = Task::parse(lexopt::Parser::from_env()).and_then(|task| task.run(&workspace_root()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Cargo tells where this crate is; a binary that is called by itself knows where it was built.
fn workspace_root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// The servers are stopped as soon as the tests that use them have ended, however these ended.
fn test(root: &Path, args: &[String]) -> Outcome {
    let (start, args) = match args.split_first() {
        Some((first, args)) if first == "--no-services" => (false, args),
        _ => (true, args),
    };
    // Before any server is started: a build takes longer than the tests may.
    let server = match args {
        [] => Some(checks::build_tests(root)?),
        args if may_run_the_server(args) => Some(checks::build_server(root)?),
        _ => None,
    };
    let servers = if start && !services::are_known() { Some(services::start(root)?) } else { None };
    if servers.is_none() && !services::are_known() {
        println!("SKIPPED: every test that needs a server, since none is started");
    }
    let mut variables = servers.as_ref().map(Services::environment).unwrap_or_default();
    variables.extend(server.map(|server| (checks::SERVER_VARIABLE, server)));
    if !args.is_empty() {
        return checks::nextest(root, args, &variables);
    }
    checks::nextest(root, checks::ALL_TESTS, &variables)?;
    drop(servers);
    checks::doctest(root)
}

/// Whether the tests that nextest is told to run may be some of the crate that runs the server.
fn may_run_the_server(args: &[String]) -> bool {
    let mut packages = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-p" | "--package" => packages.extend(args.next().map(String::as_str)),
            arg => packages.extend(arg.strip_prefix("--package=").or_else(|| arg.strip_prefix("-p"))),
        }
    }
    packages.is_empty() || packages.iter().any(|name| *name == "session-manager-tests" || name.contains(['*', '?']))
}

/// The program starts the servers that its groups need, so here they only have to be installed.
fn bench(root: &Path, args: &[String]) -> Outcome {
    services::install(root)?;
    Program::cargo(root)
        .args(["run", "--release", "--package=session-manager-tests", "--bin=session-manager-bench", "--"])
        .args(args)
        .run()
}

#[derive(Debug, PartialEq)]
struct Task {
    name: String,
    rest: Vec<String>,
}

impl Task {
    fn parse(mut parser: lexopt::Parser) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Missing(format!("{error}; see `cargo xtask help`"));
        let name = match parser.next().map_err(|error| wrong(&error))? {
            None | Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")) => "help".to_owned(),
            Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
            Some(other) => return Err(wrong(&other.unexpected())),
        };
        let rest = parser.raw_args().map_err(|error| wrong(&error))?;
        let rest: Vec<_> = rest.map(|arg| arg.to_string_lossy().into_owned()).collect();
        let fits = match name.as_str() {
            "test" | "bench" => true,
            "fuzz" => fuzz::is_request(&rest),
            "services" => services::is_action(&rest),
            "fmt" => rest.is_empty() || rest == ["--check"],
            _ => rest.is_empty(),
        };
        if !fits {
            return Err(wrong(&format!("`{name}` cannot be called with {rest:?}")));
        }
        Ok(Self { name, rest })
    }

    fn run(&self, root: &Path) -> Outcome {
        match self.name.as_str() {
            "help" => {
                print!("{HELP}");
                Ok(())
            }
            "ci" => ci::run(root),
            "tools" => tools::install_all(root),
            "fmt" if self.rest.is_empty() => Program::cargo(root).args(["fmt", "--all"]).run(),
            "fmt" => checks::fmt(root),
            "clippy" => checks::clippy(root),
            "tidy" => tidy::run(root),
            "test" => test(root, &self.rest),
            "services" => services::run(root, &self.rest),
            "bench" => bench(root, &self.rest),
            "features" => checks::features(root),
            "doc" => checks::doc(root),
            "book" => checks::book(root),
            "markdown" => checks::markdown(root),
            "interop" => interop::run(root),
            "schemathesis" => schemathesis::run(root),
            "browser" => browser::run(root),
            "fuzz" => fuzz::run(root, &self.rest),
            "deny" => checks::deny(root),
            "guarantees" => guarantees::write(root),
            "nightly-checks" => ci::nightly(root),
            other => Err(Failure::Missing(format!("there is no task `{other}`; see `cargo xtask help`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Task, Failure> {
        Task::parse(lexopt::Parser::from_args(args))
    }

    #[test]
    fn tasks_and_their_arguments_are_told_apart() {
        for (args, name, rest) in [
            (&[][..], "help", &[][..]),
            (&["--help"], "help", &[]),
            (&["tidy"], "tidy", &[]),
            (&["fmt", "--check"], "fmt", &["--check"]),
            (&["services", "up"], "services", &["up"]),
            (&["bench", "growth", "--sessions", "1000000"], "bench", &["growth", "--sessions", "1000000"]),
            (&["test", "-p", "xtask", "--", "--nocapture"], "test", &["-p", "xtask", "--", "--nocapture"]),
        ] {
            let task = parse(args).unwrap();
            assert_eq!((task.name.as_str(), task.rest.iter().map(String::as_str).collect()), (name, rest.to_vec()));
        }
        for args in [&["--nonsense"][..], &["tidy", "now"], &["fmt", "--all"], &["services"], &["services", "down"]] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn the_server_is_built_for_tests_that_may_run_it() {
        for (args, expected) in [
            (&["smoke"][..], true),
            (&["-p", "session-manager-tests"], true),
            (&["-p", "session-manager-core", "--package", "session-manager-tests"], true),
            (&["--package=session-manager-tests", "smoke"], true),
            (&["-psession-manager-tests"], true),
            (&["-p", "session-manager-*"], true),
            (&["-p", "session-manager-core"], false),
            (&["--package=session-manager-core"], false),
            (&["-psession-manager-core", "--all-features"], false),
        ] {
            let args: Vec<_> = args.iter().map(ToString::to_string).collect();
            assert_eq!(may_run_the_server(&args), expected, "{args:?}");
        }
    }

    #[test]
    fn every_task_in_the_help_exists() {
        let names = HELP.lines().filter_map(|line| line.strip_prefix("  ")?.split([' ', '[']).next());
        let source = include_str!("main.rs");
        let mut count = 0;
        for name in names.filter(|name| !name.is_empty()) {
            assert!(source.contains(&format!("\"{name}\" ")), "`{name}` is in the help only");
            count += 1;
        }
        assert_eq!(count, 19);
    }
}
