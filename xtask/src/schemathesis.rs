//! The server's own description of its API, held against the server by a program that nobody here wrote.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    checks,
    process::{Failure, Outcome, Program},
};

const PYTHON: &str = "schemathesis==4.32.5";

/// Serves on a free port and asks every endpoint for what the document allows, and for what it does not.
pub(crate) fn run(root: &Path) -> Outcome {
    let folder = root.join("target").join("schemathesis");
    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|error| unwritable(&data, &error))?;
    }
    fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    let programs = programs(root, &folder)?;
    let server = checks::build_server(root)?;
    let check = root.join("tests").join("schemathesis").join("check.py");
    Program::new(programs.join("python"), root)
        .arg(check)
        .arg(server)
        .arg(data)
        .arg(programs.join("schemathesis"))
        .run()
}

/// The programs of an environment of its own that has Schemathesis.
fn programs(root: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let programs = folder.join("python").join("bin");
    let installed = folder.join("python").join("installed");
    if fs::read_to_string(&installed).is_ok_and(|text| text == PYTHON) {
        return Ok(programs);
    }
    Program::new("python3", root).args(["-m", "venv", "--clear"]).arg(folder.join("python")).run()?;
    Program::new(programs.join("python"), root)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON])
        .run()?;
    fs::write(&installed, PYTHON).map_err(|error| unwritable(&installed, &error))?;
    Ok(programs)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Missing(format!("cannot write {}: {error}", path.display()))
}
