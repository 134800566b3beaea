//! The server's pages in a real browser: Chromium, driven by playwright-core, and checked by axe-core.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    checks,
    process::{Failure, Outcome, Program},
    tools,
};

/// Where the tests are, with the list of the libraries that they use.
const TESTS: &str = "tests/browser";
/// By the same names in that folder and where the libraries are installed.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

/// What the browser is called, and what Debian's package is.
const CHROMIUM: &str = "chromium";
/// Where the browser is looked for. One that a snap or a script of another system stands for is not driven.
const PLACES: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/// The letters of the pictures: a browser without any draws boxes.
const FONTS: &str = "fonts-dejavu-core";

pub(crate) fn run(root: &Path) -> Outcome {
    let folder = root.join("target").join("browser");
    let browser = browser(root)?;
    let libraries = libraries(root, &folder)?;
    let server = checks::build_server(root)?;
    Program::new("node", root)
        .arg(format!("{TESTS}/run.mjs"))
        .arg(server)
        .arg(browser)
        .arg(libraries)
        .arg(folder.join("screenshots"))
        .run()
}

/// The browser: from Debian's packages when we may install them. Nothing is downloaded from elsewhere.
fn browser(root: &Path) -> Result<PathBuf, Failure> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    tools::install_packages(root, &[CHROMIUM, FONTS])?;
    installed().ok_or_else(|| {
        Failure::Missing(format!(
            "this check needs a browser; on Debian: apt-get install --no-install-recommends {CHROMIUM} {FONTS}"
        ))
    })
}

fn installed() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|place| place.exists())
}

/// The folder in which Node.js finds the libraries, which are those of the lock file.
fn libraries(root: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.join("node");
    tools::node(root)?;
    let tests = root.join(TESTS);
    if same(&tests, &folder.join("installed")) {
        return Ok(folder);
    }
    copy(&tests, &folder).map_err(|error| unwritable(&folder, &error))?;
    // No script of a package runs: one of them would be the download of a browser.
    Program::new("npm", root)
        .args(["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--no-update-notifier", "--prefix"])
        .arg(&folder)
        .run()?;
    copy(&tests, &folder.join("installed")).map_err(|error| unwritable(&folder, &error))?;
    Ok(folder)
}

fn same(one: &Path, other: &Path) -> bool {
    LISTS.iter().all(|list| {
        let text = |folder: &Path| fs::read(folder.join(list)).ok();
        text(one).is_some_and(|wanted| text(other) == Some(wanted))
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    LISTS.iter().try_for_each(|list| fs::copy(from.join(list), to.join(list)).map(drop))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Missing(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_are_installed_again_when_their_list_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (tests, installed) = (folder.path().join("tests"), folder.path().join("installed"));
        fs::create_dir_all(&tests).unwrap();
        assert!(!same(&tests, &installed), "without lists nothing is as it should be");
        for list in LISTS {
            fs::write(tests.join(list), "{}").unwrap();
        }
        assert!(!same(&tests, &installed));
        copy(&tests, &installed).unwrap();
        assert!(same(&tests, &installed));
        fs::write(tests.join(LISTS[1]), "{ }").unwrap();
        assert!(!same(&tests, &installed));
    }

    #[test]
    fn the_lock_file_names_versions_and_no_place() {
        let lock = include_str!("../../tests/browser/package-lock.json");
        assert!(lock.contains("\"node_modules/playwright-core\"") && lock.contains("\"integrity\""));
        assert!(!lock.contains("\"resolved\"") && !lock.contains("://"), "it names a registry");
    }
}
