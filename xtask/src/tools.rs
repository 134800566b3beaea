//! The programs that the checks need: which versions, whether they are there, and how they are installed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::process::{Failure, Outcome, Program};

/// A program that is a crate, and is installed into `target/tools` when it is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// The package, and the name of its program.
    name: &'static str,
    version: &'static str,
    /// Features to build it with; what we do not use costs build time.
    features: &'static [&'static str],
    /// How it is asked for its version.
    ask: &'static [&'static str],
    /// Whether any version found on the path will do.
    any_version: bool,
}

pub(crate) const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.143",
    features: &["--no-default-features", "--features=default-no-update"],
    ask: &["--version"],
    any_version: true,
};
pub(crate) const HACK: Tool =
    Tool { name: "cargo-hack", version: "0.6.46", features: &[], ask: &["hack", "--version"], any_version: false };
pub(crate) const DENY: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", features: &[], ask: &["--version"], any_version: false };
pub(crate) const MDBOOK: Tool = Tool {
    name: "mdbook",
    version: "0.5.4",
    features: &["--no-default-features", "--features=search"],
    ask: &["--version"],
    any_version: false,
};

/// The newest version that supports the Node.js of Debian's current release.
const MARKDOWNLINT: &str = "0.22.1";
/// What that version asks for.
const NODE: u32 = 20;

/// Installs whatever is missing and prints where everything is.
pub(crate) fn install_all(root: &Path) -> Outcome {
    components(root)?;
    for tool in [NEXTEST, HACK, DENY, MDBOOK] {
        println!("{} {}: {}", tool.name, tool.version, tool.path(root)?.display());
    }
    println!("markdownlint-cli2 {MARKDOWNLINT}: {}", markdownlint(root)?.display());
    Ok(())
}

/// rustfmt and clippy come with the toolchain; installing them is the maintainer's business.
pub(crate) fn components(root: &Path) -> Outcome {
    let missing: Vec<_> = ["fmt", "clippy"]
        .into_iter()
        .filter(|component| Program::cargo(root).args([component, "--version"]).answer().is_none())
        .map(|component| if component == "fmt" { "rustfmt" } else { component })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(Failure::Missing(format!("the toolchain lacks {missing}: run `rustup component add {missing}`")))
}

impl Tool {
    /// The program, installed first if need be.
    pub(crate) fn path(self, root: &Path) -> Result<PathBuf, Failure> {
        let ours = folder(root).join("bin").join(self.name);
        if self.is_right(Program::new(&ours, root), false) {
            return Ok(ours);
        }
        if self.is_right(Program::new(self.name, root), self.any_version) {
            return Ok(self.name.into());
        }
        self.install(root)?;
        Ok(ours)
    }

    fn is_right(self, program: Program, any_version: bool) -> bool {
        let names_ours = |text: &str| text.split_whitespace().any(|word| word.trim_start_matches('v') == self.version);
        program.args(self.ask).answer().is_some_and(|text| any_version || names_ours(&text))
    }

    /// Unoptimised and without debug information: measured as the fastest way to a program that works for seconds only.
    fn install(self, root: &Path) -> Outcome {
        let started = Instant::now();
        let folder = folder(root);
        Program::cargo(root)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .args(["install", "--quiet", "--locked", "--debug", "--force"])
            .arg("--root")
            .arg(&folder)
            // One folder for all of them, so that what they have in common is built once.
            .arg("--target-dir")
            .arg(folder.join("build"))
            .args(self.features)
            .arg(format!("{}@{}", self.name, self.version))
            .run()?;
        println!("installed {} in {:.0} s", self.name, started.elapsed().as_secs_f64());
        Ok(())
    }
}

/// The markdown linter, installed first if need be.
pub(crate) fn markdownlint(root: &Path) -> Result<PathBuf, Failure> {
    let folder = folder(root).join("npm");
    let modules = folder.join("node_modules");
    let program = modules.join(".bin").join("markdownlint-cli2");
    let manifest = fs::read_to_string(modules.join("markdownlint-cli2").join("package.json"));
    if program.exists() && manifest.is_ok_and(|text| text.contains(&format!("\"version\": \"{MARKDOWNLINT}\""))) {
        return node(root).map(|()| program);
    }
    node(root)?;
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::Missing(format!("cannot make {}: {error}", folder.display())))?;
    Program::new("npm", root)
        .args(["install", "--no-fund", "--no-audit", "--no-update-notifier", "--prefix"])
        .arg(&folder)
        .arg(format!("markdownlint-cli2@{MARKDOWNLINT}"))
        .run()?;
    Ok(program)
}

/// Node.js and npm: from Debian's packages when we may install them, otherwise a list of what is missing.
pub(crate) fn node(root: &Path) -> Outcome {
    if missing_node(root).is_none() {
        return Ok(());
    }
    install_packages(root, &["nodejs", "npm"])?;
    match missing_node(root) {
        None => Ok(()),
        Some(missing) => Err(Failure::Missing(format!("this check needs {missing}"))),
    }
}

/// Installs packages of Debian where we may, and otherwise does nothing.
pub(crate) fn install_packages(root: &Path, packages: &[&str]) -> Outcome {
    let is_root = Program::new("id", root).arg("-u").answer().is_some_and(|id| id == "0");
    if !is_root || Program::new("apt-get", root).arg("--version").answer().is_none() {
        return Ok(());
    }
    Program::new("apt-get", root).args(["-q", "update"]).run()?;
    Program::new("apt-get", root)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "install", "--yes", "--no-install-recommends"])
        .args(packages)
        .run()
}

fn missing_node(root: &Path) -> Option<String> {
    let mut missing = Vec::new();
    match Program::new("node", root).arg("--version").answer() {
        Some(version) if major(&version) >= NODE => {}
        Some(version) => missing.push(format!("Node.js {NODE} or newer (found {version})")),
        None => missing.push(format!("Node.js {NODE} or newer")),
    }
    if Program::new("npm", root).arg("--version").answer().is_none() {
        missing.push("npm".to_owned());
    }
    (!missing.is_empty()).then(|| missing.join(" and "))
}

fn major(version: &str) -> u32 {
    let digits = version.trim_start_matches('v').split('.').next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn folder(root: &Path) -> PathBuf {
    root.join("target").join("tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_node_prints() {
        for (text, expected) in [("v20.20.2", 20), ("v8.0.0", 8), ("22", 22), ("", 0), ("unknown", 0)] {
            assert_eq!(major(text), expected, "{text}");
        }
    }

    #[test]
    fn another_version_of_a_tool_is_not_taken_for_ours() {
        let says = |text: &str| Program::new("sh", Path::new(".")).args(["-c", &format!("echo {text} #")]);
        assert!(HACK.is_right(says("cargo-hack 0.6.46"), false));
        assert!(!HACK.is_right(says("cargo-hack 0.6.4"), false));
        assert!(!HACK.is_right(says("cargo-hack 10.6.46"), false));
        assert!(MDBOOK.is_right(says("mdbook v0.5.4"), false));
        assert!(NEXTEST.is_right(says("cargo-nextest 0.9.150"), true));
        assert!(!NEXTEST.is_right(Program::new("no-such-program", Path::new(".")), true));
    }
}
