//! The checks themselves: each is one call of another program, so that its command can also be typed by hand.

use std::{ffi::OsStr, path::Path};

use crate::{
    process::{Failure, Outcome, Program},
    tools,
};

pub(crate) fn fmt(root: &Path) -> Outcome {
    Program::cargo(root).args(["fmt", "--all", "--check"]).run()
}

pub(crate) fn clippy(root: &Path) -> Outcome {
    Program::cargo(root)
        .args(["clippy", "--workspace", "--all-targets", "--all-features", "--keep-going", "--", "-D", "warnings"])
        .run()
}

/// What a run of every test is called with.
pub(crate) const ALL_TESTS: [&str; 2] = ["--workspace", "--all-features"];

/// The variable by which `session_manager_tests::server` is told where the server's program is.
pub(crate) const SERVER_VARIABLE: &str = "SESSION_MANAGER_TEST_SERVER";

const SERVER: &str = "session-manager-server";

/// Builds all tests, and returns where the server's program is, which the server's own tests build with them.
///
/// The call is the one by which nextest builds, so that nothing is built twice: the server by itself would be built with fewer
/// features of its dependencies, and so would most of these.
pub(crate) fn build_tests(root: &Path) -> Result<String, Failure> {
    build(Program::cargo(root).args(["test", "--no-run"]).args(ALL_TESTS))
}

/// Builds the server as `cargo run` does, for tests of some crates only.
pub(crate) fn build_server(root: &Path) -> Result<String, Failure> {
    build(Program::cargo(root).args(["build", "--package", SERVER]))
}

fn build(cargo: Program) -> Result<String, Failure> {
    let said = cargo.args(["--message-format", "json-render-diagnostics"]).run_keeping_output()?;
    program_in(&said).ok_or_else(|| Failure::Check("cargo does not say where it put the server".to_owned()))
}

/// The server's program among what cargo says that it has built. Its unit tests are a program too, of a longer name.
fn program_in(messages: &str) -> Option<String> {
    let programs = messages.lines().filter_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    let programs = programs.map(|path| path.replace("\\\\", "\\"));
    programs.into_iter().find(|path| Path::new(path).file_stem().is_some_and(|stem| stem == SERVER))
}

/// Every test but the doc tests, as `args` says, with the addresses of servers for them in `variables`.
pub(crate) fn nextest<A: AsRef<OsStr>>(
    root: &Path,
    args: impl IntoIterator<Item = A>,
    variables: &[(&'static str, String)],
) -> Outcome {
    let program = Program::new(tools::NEXTEST.path(root)?, root).args(["nextest", "run"]);
    program.args(args).known_env(variables).run()
}

pub(crate) fn doctest(root: &Path) -> Outcome {
    Program::cargo(root).args(["test", "--quiet", "--doc"]).args(ALL_TESTS).run()
}

/// Every crate by itself with no feature, each of its features, and all of them.
///
/// Clippy instead of check, because it can refuse warnings without `RUSTFLAGS`, which would build every dependency anew.
/// Development dependencies need no `--no-dev-deps` (which rewrites manifests): without test targets they are not built,
/// and the workspace's resolver keeps their features out.
pub(crate) fn features(root: &Path) -> Outcome {
    hack(root, &["--each-feature"])
}

/// As [`features`], for every pair of features.
pub(crate) fn feature_pairs(root: &Path) -> Outcome {
    hack(root, &["--feature-powerset", "--depth", "2"])
}

/// What is not published and has no features: `clippy` has seen it already.
const UNPUBLISHED: [&str; 3] = ["xtask", "session-manager-tests", "session-manager-services"];

fn hack(root: &Path, sets: &[&str]) -> Outcome {
    Program::new(tools::HACK.path(root)?, root)
        .args(["hack", "clippy", "--quiet", "--workspace", "--keep-going"])
        .args(UNPUBLISHED.iter().flat_map(|package| ["--exclude", package]))
        .args(sets)
        .args(["--", "-D", "warnings"])
        .run()
}

pub(crate) fn doc(root: &Path) -> Outcome {
    Program::cargo(root)
        .env("RUSTDOCFLAGS", "-D warnings")
        .args(["doc", "--workspace", "--all-features", "--no-deps"])
        .run()
}

/// mdBook ends well whatever it warned about, so its warnings are looked for.
pub(crate) fn book(root: &Path) -> Outcome {
    let said = Program::new(tools::MDBOOK.path(root)?, root).args(["build", "docs"]).run_keeping_errors()?;
    let warnings = said.lines().filter(|line| is_warning(line)).count();
    if warnings == 0 {
        return Ok(());
    }
    Err(Failure::Check(format!("mdBook gave {warnings} warning(s), see above")))
}

fn is_warning(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.any(|word| word == "WARN" || word == "ERROR")
}

pub(crate) fn markdown(root: &Path) -> Outcome {
    Program::new(tools::markdownlint(root)?, root).run()
}

/// Licences, bans and sources. Not the advisories: their database is not a package of a registry.
pub(crate) fn deny(root: &Path) -> Outcome {
    // The fuzz targets have a workspace of their own, which no other check resolves.
    Program::cargo(root).args(["fetch", "--quiet", "--locked", "--manifest-path=tests/fuzz/Cargo.toml"]).run()?;
    Program::new(tools::DENY.path(root)?, root)
        .args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
        .run()
}

/// Whether the manifests' lower bounds are true: the direct dependencies at the oldest versions that they allow.
pub(crate) fn minimal_versions(root: &Path) -> Outcome {
    let lock = root.join("target").join("minimal-versions").join("Cargo.lock");
    let nightly = || {
        Program::new("cargo", root)
            .env("RUSTUP_TOOLCHAIN", "nightly")
            // A lock file of its own, so that the workspace's stays as it is.
            .env("CARGO_RESOLVER_LOCKFILE_PATH", &lock.to_string_lossy())
    };
    if Program::new("cargo", root).args(["+nightly", "--version"]).answer().is_none() {
        return Err(Failure::Missing(
            "a nightly toolchain is needed: run `rustup toolchain install nightly`".to_owned(),
        ));
    }
    nightly().args(["generate-lockfile", "-Zdirect-minimal-versions"]).run()?;
    nightly().args(["check", "--workspace", "--all-features", "--locked", "-Zdirect-minimal-versions"]).run()
}

/// On a clean clone nothing that ran may have changed a file that is checked in, above all not `Cargo.lock`.
pub(crate) fn unchanged(root: &Path) -> Outcome {
    // A clone may belong to another user than the one who checks it.
    let changes = Program::new("git", root).args(["-c", "safe.directory=*", "status", "--porcelain"]).answer();
    match changes.as_deref() {
        Some("") => Ok(()),
        Some(changes) => Err(Failure::Check(format!("the checks changed the work tree:\n{changes}"))),
        None => Err(Failure::Missing("`git status` does not work here".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_program_is_found_among_what_cargo_says() {
        let said = [
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"session-manager-core"},"executable":null,"fresh":true}"#,
            r#"{"target":{"kind":["bin"]},"executable":"/a/target/debug/deps/session_manager_server-0a1b","fresh":true}"#,
            r#"{"target":{"kind":["bin"]},"executable":"/a/target/debug/session-manager-server","fresh":true}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(program_in(&said.join("\n")).as_deref(), Some("/a/target/debug/session-manager-server"));
        assert_eq!(program_in(&said[..2].join("\n")), None);
    }

    #[test]
    fn a_warning_of_mdbook_is_told_from_its_progress() {
        assert!(is_warning(" WARN unclosed HTML tag `<b>` found in `guide/a.md`"));
        assert!(is_warning("ERROR Chapter file not found"));
        assert!(!is_warning(" INFO Book building has started"));
        assert!(!is_warning(" INFO Running the html backend for WARNINGS.md"));
    }
}
