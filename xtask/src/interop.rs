//! What nobody here wrote: tokens and key sets exchanged with `PyJWT`, joserfc and jose for Node.js, and the reference service connected to an
//! authorization server, oidc-provider.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    checks,
    process::{Failure, Outcome, Program},
    tools,
};

const PYTHON: [&str; 2] = ["pyjwt[crypto]==2.15.1", "joserfc==1.8.0"];
const NODE: [&str; 2] = ["jose@6.2.18", "oidc-provider@8.8.1"];

/// We make tokens, the others verify them and make their own, and we verify those; then our service gets tokens from another's.
pub(crate) fn run(root: &Path) -> Outcome {
    let folder = root.join("target").join("interop");
    let exchange = folder.join("exchange");
    // What an earlier run left would be verified as if it were new.
    if exchange.exists() {
        fs::remove_dir_all(&exchange).map_err(|error| unwritable(&exchange, &error))?;
    }
    fs::create_dir_all(exchange.join("theirs")).map_err(|error| unwritable(&exchange, &error))?;
    let python = python(root, &folder)?;
    let node = node(root, &folder)?;

    ours(root, "make", &exchange)?;
    Program::new(python, root).arg("tests/interop/check.py").arg(&exchange).run()?;
    Program::new("node", root).arg("tests/interop/check.mjs").arg(&exchange).arg(&node).run()?;
    ours(root, "verify", &exchange)?;
    provider(root, &folder, &node)
}

/// The reference service as a client of oidc-provider.
fn provider(root: &Path, folder: &Path, node: &Path) -> Outcome {
    if Program::new("openssl", root).arg("version").answer().is_none() {
        return Err(Failure::Missing(
            "openssl is missing; it makes the certificate of the authorization server".to_owned(),
        ));
    }
    let work = folder.join("provider");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(|error| unwritable(&work, &error))?;
    }
    fs::create_dir_all(&work).map_err(|error| unwritable(&work, &error))?;
    let server = checks::build_server(root)?;
    Program::new("node", root).arg("tests/interop/provider.mjs").arg(&work).arg(node).arg(server).run()
}

fn ours(root: &Path, what: &str, exchange: &Path) -> Outcome {
    Program::cargo(root)
        .args(["run", "--quiet", "--package=session-manager-backend-jwt", "--features=dpop", "--example=interop"])
        .args(["--", what])
        .arg(exchange)
        .run()
}

/// The Python of an environment of its own that has the libraries.
fn python(root: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let python = folder.join("python").join("bin").join("python");
    let wanted = PYTHON.join("\n");
    let installed = folder.join("python").join("installed");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    Program::new("python3", root).args(["-m", "venv", "--clear"]).arg(folder.join("python")).run()?;
    Program::new(&python, root)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PYTHON)
        .run()?;
    fs::write(&installed, wanted).map_err(|error| unwritable(&installed, &error))?;
    Ok(python)
}

/// The folder in which Node.js finds the library.
fn node(root: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.join("node");
    tools::node(root)?;
    let wanted = NODE.join("\n");
    let installed = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    Program::new("npm", root)
        .args(["install", "--no-fund", "--no-audit", "--no-update-notifier", "--prefix"])
        .arg(&folder)
        .args(NODE)
        .run()?;
    fs::write(&installed, wanted).map_err(|error| unwritable(&installed, &error))?;
    Ok(folder)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Missing(format!("cannot write {}: {error}", path.display()))
}
