//! Fuzzing: every parser is fed with what libFuzzer makes up, guided by the branches that it reaches.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::process::{Failure, Outcome, Program};

const TARGETS: [&str; 8] =
    ["refresh_token", "opaque_token", "jwt", "jwks", "dpop_proof", "cookie", "forwarded", "bearer"];

/// What cargo-fuzz has rustc do, but for the address sanitizer: there is no unsafe code of ours to watch, and it halves the speed.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

/// How long each target runs, and which ones.
#[derive(Debug, PartialEq)]
struct Request {
    limit: String,
    targets: Vec<&'static str>,
}

impl Request {
    fn parse(args: &[String]) -> Option<Self> {
        let mut request = Self { limit: "-max_total_time=60".to_owned(), targets: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || args.next()?.parse::<u64>().ok();
            match arg.as_str() {
                "--seconds" => request.limit = format!("-max_total_time={}", number()?),
                "--runs" => request.limit = format!("-runs={}", number()?),
                name => request.targets.push(TARGETS.into_iter().find(|target| *target == name)?),
            }
        }
        if request.targets.is_empty() {
            request.targets = TARGETS.to_vec();
        }
        Some(request)
    }
}

/// Whether `fuzz` can be called so.
pub(crate) fn is_request(args: &[String]) -> bool {
    Request::parse(args).is_some()
}

/// Builds the targets and runs them one after the other; the first crash ends it, and libFuzzer says what led to it.
pub(crate) fn run(root: &Path, args: &[String]) -> Outcome {
    let request = Request::parse(args).ok_or_else(|| Failure::Missing("see `cargo xtask help`".to_owned()))?;
    let programs = build(root)?;
    for target in request.targets {
        println!("\n=== {target} ===");
        let found = root.join("target").join("fuzz").join("corpus").join(target);
        fs::create_dir_all(&found)
            .map_err(|error| Failure::Missing(format!("cannot make {}: {error}", found.display())))?;
        let artifacts = format!("-artifact_prefix={}/target/fuzz/crash-{target}-", root.display());
        let seeds = format!("tests/fuzz/seeds/{target}");
        Program::new(programs.join(target), root)
            .arg(&found)
            .args(root.join(&seeds).exists().then_some(seeds))
            .args(["-max_len=4096", "-timeout=10", "-print_final_stats=1", "-verbosity=0"])
            .arg(artifacts)
            .arg(request.limit.as_str())
            .run()?;
    }
    Ok(())
}

/// Ten minutes a target.
pub(crate) fn for_long(root: &Path) -> Outcome {
    run(root, &["--seconds".to_owned(), "600".to_owned()])
}

/// Builds all targets; returns the folder with their programs. With a target named, the flags are kept from build scripts.
fn build(root: &Path) -> Result<PathBuf, Failure> {
    let nightly = |program: &str| Program::new(program, root).env("RUSTUP_TOOLCHAIN", "nightly");
    let Some(version) = nightly("rustc").arg("-vV").answer() else {
        return Err(Failure::Missing(
            "a nightly toolchain is needed: run `rustup toolchain install nightly`".to_owned(),
        ));
    };
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Failure::Check("rustc does not say its host".to_owned()))?;
    nightly("cargo")
        .env("RUSTFLAGS", FLAGS)
        .args(["build", "--release", "--locked", "--bins", "--manifest-path=tests/fuzz/Cargo.toml"])
        .args(["--target-dir=target/fuzz", "--target", host])
        .run()?;
    Ok(root.join("target").join("fuzz").join(host).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<Request> {
        Request::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn targets_and_limits_are_told_apart() {
        let request = |limit: &str, targets: &[&'static str]| {
            Some(Request { limit: limit.to_owned(), targets: targets.to_vec() })
        };
        assert_eq!(parse(&[]), request("-max_total_time=60", &TARGETS));
        assert_eq!(parse(&["--seconds", "5", "jwt", "cookie"]), request("-max_total_time=5", &["jwt", "cookie"]));
        assert_eq!(parse(&["bearer", "--runs", "1000"]), request("-runs=1000", &["bearer"]));
        for args in [&["--seconds"][..], &["--seconds", "x"], &["nothing"], &["--runs", "-1"]] {
            assert_eq!(parse(args), None, "{args:?}");
        }
    }

    #[test]
    fn every_target_is_built_and_has_its_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("tests").join("fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(folder.join("fuzz_targets").join(format!("{target}.rs")).exists(), "{target}");
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }
}
